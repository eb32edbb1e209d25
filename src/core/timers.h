/*
 * Timers: a heap ordered by due time.
 *
 * Provides: rsci_timers_*
 * Uses:     nothing
 * Threads:  the thread that steps; not synchronised
 */
#ifndef RSCI_TIMERS_H
#define RSCI_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lives inside what it wakes; all zero is "not set". */
typedef struct rsci_timer {
  uint64_t due_ns;
  size_t place; /* position in the heap plus one; 0: not set */
} rsci_timer;

typedef struct rsci_timers {
  rsci_timer **heap;
  size_t count, capacity;
} rsci_timers; /* all zero is empty */

void rsci_timers_fini(rsci_timers *timers);

/* False: out of memory, and nothing changed. A timer that is set already may not be added again. */
bool rsci_timers_add(rsci_timers *timers, rsci_timer *timer, uint64_t due_ns);

/* Harmless on a timer that is not set. */
void rsci_timers_remove(rsci_timers *timers, rsci_timer *timer);

/* Takes out the earliest timer if it is due at `now_ns`; else NULL. */
rsci_timer *rsci_timers_take_due(rsci_timers *timers, uint64_t now_ns);

/* When the earliest timer is due; UINT64_MAX where there is none. */
uint64_t rsci_timers_next_ns(const rsci_timers *timers);

#endif
