#include "thread.h"

#include <signal.h>
#include <stddef.h>

void rsci_lock_inherit(rsci_lock *lock) {
  unsigned forks = atomic_load(&lock->forks);
  while (forks != rsci_forks()) {
    if (forks != RSCI_LOCK_CHANGES && atomic_compare_exchange_strong(&lock->forks, &forks, RSCI_LOCK_CHANGES)) {
      (void)pthread_mutex_init(&lock->mutex, NULL);
      atomic_store_explicit(&lock->forks, rsci_forks(), memory_order_release);
    }
    forks = atomic_load(&lock->forks);
  }
}

bool rsci_thread_start(rsci_thread *thread, const char *name, int let_through, void *(*main)(void *), void *user) {
  static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
  sigset_t blocked, before;
  (void)sigfillset(&blocked);
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
    (void)sigdelset(&blocked, faults[i]);
  if (let_through)
    (void)sigdelset(&blocked, let_through);
  /* A thread inherits the mask of the one that starts it. */
  (void)pthread_sigmask(SIG_SETMASK, &blocked, &before);
  bool started = pthread_create(thread, NULL, main, user) == 0;
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (started)
    (void)pthread_setname_np(*thread, name);
  return started;
}
