#include "stop_signal.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>

static _Thread_local volatile rsci_stop_target target;
static int stop_signal; /* written once */

static void handle(int number) {
  (void)number;
  int saved = errno;
  void (*interrupted)(void *user) = target.interrupted;
  if (interrupted)
    interrupted(target.user);
  errno = saved;
}

static void install(void) {
  for (int number = SIGRTMIN; number <= SIGRTMAX && stop_signal == 0; number++) {
    struct sigaction there;
    if (sigaction(number, NULL, &there) != 0 || (there.sa_flags & SA_SIGINFO) || there.sa_handler != SIG_DFL)
      continue;
    struct sigaction ours = {.sa_handler = handle, .sa_flags = SA_RESTART};
    (void)sigemptyset(&ours.sa_mask);
    if (sigaction(number, &ours, NULL) == 0)
      stop_signal = number;
  }
}

int rsci_stop_signal(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  (void)pthread_once(&once, install);
  return stop_signal;
}

rsci_stop_target rsci_stop_set_target(rsci_stop_target fresh) {
  rsci_stop_target before = {target.interrupted, target.user};
  target.interrupted = NULL; /* never one's function with the other's user */
  target.user = fresh.user;
  target.interrupted = fresh.interrupted;
  return before;
}

bool rsci_stop_send(rsci_thread thread) {
  int number = rsci_stop_signal();
  return number && pthread_kill(thread, number) == 0;
}

void rsci_stop_take_blocked(void) {
  sigset_t blocked, ours;
  (void)sigemptyset(&ours);
  (void)sigaddset(&ours, rsci_stop_signal());
  if (pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0 && sigismember(&blocked, rsci_stop_signal()) == 1) {
    const struct timespec now = {0, 0};
    if (sigtimedwait(&ours, NULL, &now) > 0)
      handle(0);
  }
}
