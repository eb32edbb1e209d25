/*
 * A notifier: wakes the thread that waits for something to do; and a descriptor that a host's loop can watch, readable
 * while there is.
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
  _Atomic uint32_t waiting; /* 1: our own wait is about to block on this word, or blocks */
  _Atomic int woken_on;     /* the processor that ended the last wait; -1: none did */
  _Atomic int fd;           /* -1 until asked for */
  atomic_bool watched;      /* somebody outside has the descriptor, for good */
  atomic_bool raised;       /* readable, or about to be */
  _Atomic unsigned forks;   /* the process that the descriptor is of */
} rsci_notifier;

void rsci_notifier_init(rsci_notifier *notifier);
void rsci_notifier_fini(rsci_notifier *notifier);

/* The descriptor, for a host to watch; -1 where the process has none left. Raises are heard from here on: whoever has
 * something to do already raises it. */
int rsci_notifier_watch(rsci_notifier *notifier);

/* Wakes who waits, and makes the descriptor readable if anybody has it. Call after publishing what there is to do. */
void rsci_notifier_raise(rsci_notifier *notifier);

/* Makes the descriptor unreadable. Call before looking for what there is to do. */
void rsci_notifier_clear(rsci_notifier *notifier);

/* Announces a wait: a raise from here on ends it. */
void rsci_notifier_prepare(rsci_notifier *notifier);

/* Blocks until raised, a signal handler ran, or it is `until_ns` (UINT64_MAX: never); ends the announced wait. Returns
 * false if a signal interrupted it. */
bool rsci_notifier_wait(rsci_notifier *notifier, uint64_t until_ns);

/* Whether the wait was ended from the processor that the thread runs on: it could not have come sooner. */
bool rsci_notifier_is_shared(rsci_notifier *notifier);

/* Ends an announced wait without blocking. */
void rsci_notifier_abandon(rsci_notifier *notifier);

#endif
