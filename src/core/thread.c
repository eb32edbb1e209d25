#include "thread.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What it guards takes less time than going to sleep does: one that waits spins a little first. */
static bool make_mutex(pthread_mutex_t *mutex) {
  pthread_mutexattr_t attributes;
  if (pthread_mutexattr_init(&attributes) != 0)
    return false;
#ifdef PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP
  (void)pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP);
#endif
  bool made = pthread_mutex_init(mutex, &attributes) == 0;
  (void)pthread_mutexattr_destroy(&attributes);
  return made;
}

bool rsci_lock_init(rsci_lock *lock) {
  atomic_init(&lock->forks, rsci_forks());
  return make_mutex(&lock->mutex);
}

void rsci_lock_inherit(rsci_lock *lock) {
  unsigned forks = atomic_load(&lock->forks);
  while (forks != rsci_forks()) {
    if (forks != RSCI_LOCK_CHANGES && atomic_compare_exchange_strong(&lock->forks, &forks, RSCI_LOCK_CHANGES)) {
      (void)make_mutex(&lock->mutex);
      atomic_store_explicit(&lock->forks, rsci_forks(), memory_order_release);
    }
    forks = atomic_load(&lock->forks);
  }
}

unsigned rsci_processors(void) {
  static atomic_uint counted;
  unsigned count = atomic_load_explicit(&counted, memory_order_relaxed);
  if (count == 0) {
    cpu_set_t usable;
    count = sched_getaffinity(0, sizeof usable, &usable) == 0 ? (unsigned)CPU_COUNT(&usable) : 1;
    atomic_store_explicit(&counted, count, memory_order_relaxed);
  }
  return count;
}

bool rsci_thread_sleep(_Atomic uint32_t *word, uint32_t value, uint64_t until_ns) {
  /* Always with a time: without one a handler that was installed with SA_RESTART would not end it. */
  const uint64_t far_ns = INT32_MAX * RSCI_NS_PER_SECOND;
  if (until_ns > far_ns)
    until_ns = far_ns;
  const struct timespec until = {.tv_sec = (time_t)(until_ns / RSCI_NS_PER_SECOND),
                                 .tv_nsec = (long)(until_ns % RSCI_NS_PER_SECOND)};
  return syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, &until, NULL, FUTEX_BITSET_MATCH_ANY) == 0 ||
         errno != EINTR;
}

void rsci_thread_wake(_Atomic uint32_t *word) {
  (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void rsci_thread_be_punctual(void) {
  (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
}

bool rsci_thread_start(rsci_thread *thread, int let_through, void *(*main)(void *), void *user) {
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
  return started;
}
