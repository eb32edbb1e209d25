/*
 * A notifier: a descriptor that a host's loop can watch, readable while there is something to do.
 *
 * Provides: rsci_notifier_*
 * Uses:     thread.h, fork.h
 * Threads:  raise: any. The others: the thread that steps.
 *
 * The descriptor is made when it is first asked for: who never watches it never pays a system call. The child of a fork
 * has one of its own, of the same number where that still is what it was.
 */
#ifndef RSCI_NOTIFIER_H
#define RSCI_NOTIFIER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct rsci_notifier {
  _Atomic int fd;         /* -1 until asked for */
  atomic_bool watched;    /* somebody outside has the descriptor, for good */
  atomic_bool waiting;    /* our own wait is about to block, or blocks */
  atomic_bool raised;     /* readable, or about to be */
  _Atomic unsigned forks; /* the process that the descriptor is of */
} rsci_notifier;

void rsci_notifier_init(rsci_notifier *notifier);
void rsci_notifier_fini(rsci_notifier *notifier);

/* The descriptor, for a host to watch; -1 where the process has none left. Raises are heard from here on: whoever has
 * something to do already raises it. */
int rsci_notifier_watch(rsci_notifier *notifier);

/* Makes the descriptor readable if anybody looks at it. Call after publishing what there is to do. */
void rsci_notifier_raise(rsci_notifier *notifier);

/* Makes the descriptor unreadable. Call before looking for what there is to do. */
void rsci_notifier_clear(rsci_notifier *notifier);

/* Announces a wait: from here on raise is heard. False where there is no descriptor to be had. */
bool rsci_notifier_prepare(rsci_notifier *notifier);

/* Blocks until raised, a signal handler ran, or `timeout_ns` (UINT64_MAX: none) passed; ends the announced wait.
 * Returns false if a signal interrupted it. */
bool rsci_notifier_wait(rsci_notifier *notifier, uint64_t timeout_ns);

/* Ends an announced wait without blocking. */
void rsci_notifier_abandon(rsci_notifier *notifier);

#endif
