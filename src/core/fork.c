#include "fork.h"

#include <pthread.h>

_Atomic unsigned rsci_fork_count;

const char rsci_forked[] = "the process was forked meanwhile";

static bool watched;

static void in_child(void) {
  (void)atomic_fetch_add_explicit(&rsci_fork_count, 1, memory_order_relaxed);
}

static void watch(void) {
  watched = pthread_atfork(NULL, NULL, in_child) == 0;
}

bool rsci_forks_watch(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  (void)pthread_once(&once, watch);
  return watched;
}
