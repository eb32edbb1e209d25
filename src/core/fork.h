/*
 * Forks: in which process of a line of them this is, so that what a child has inherited can be told from its own.
 *
 * Provides: rsci_forks
 * Uses:     POSIX threads
 * Threads:  any
 */
#ifndef RSCI_FORK_H
#define RSCI_FORK_H

#include <stdatomic.h>
#include <stdbool.h>

extern _Atomic unsigned rsci_fork_count;

/* Has forks counted from here on; may be said again. False: out of memory. */
bool rsci_forks_watch(void);

/* How many forks lead to this process from the one that began to count. What is made is stamped with it. */
static inline unsigned rsci_forks(void) {
  return atomic_load_explicit(&rsci_fork_count, memory_order_relaxed);
}

/* Why what was inherited ends. */
extern const char rsci_forked[];

#endif
