#include "thread.h"

#include <signal.h>
#include <stddef.h>

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
