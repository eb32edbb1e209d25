/*
 * The service: a manager's own thread, which ends in time what nobody else would. It looks after time limits, the grace
 * of cancels, and a pool: its workers that are stuck, and its shutdown.
 *
 * Provides: rsci_service
 * Uses:     manager, pool
 * Threads:  any
 *
 * It sleeps until the earliest point in time at which a call is due, and goes through all of them then: a call that has
 * no time limit, or ends in time, costs nothing here.
 */
#ifndef RSCI_SERVICE_H
#define RSCI_SERVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "runner.h"

struct rsca_manager;

typedef struct rsci_service {
  struct rsca_manager *manager;
  rsci_runner *runner; /* held; where it waits. A pool's manager has the same */
  rsci_thread thread;
  bool alone; /* nobody joins it: it was stopped on its own thread; manager's lock */
  enum { RSCI_SERVICE_NONE, RSCI_SERVICE_RUNS, RSCI_SERVICE_DONE, RSCI_SERVICE_JOINED } phase; /* manager's lock */
  atomic_bool stop;
  _Atomic uint64_t next_ns; /* when it looks again, unless told */
  uint64_t seen;            /* how many calls had been accepted when it looked last; its own */
  rsci_condition done;      /* with the manager's lock */
} rsci_service;

/* False: out of memory. `runner`: held; NULL: one of its own. */
bool rsci_service_init(rsci_service *service, struct rsca_manager *manager, rsci_runner *runner);
void rsci_service_fini(rsci_service *service);

/* Makes sure that it runs. False: no thread could be had, or it has stopped for good. No lock held. */
bool rsci_service_start(rsci_service *service);

/* Something is due at `due_ns`. Any thread, any lock. */
void rsci_service_expect(rsci_service *service, uint64_t due_ns);

/* It looks at everything now. */
void rsci_service_kick(rsci_service *service);

/* Whether this is its thread. */
bool rsci_service_is_here(rsci_service *service);

/* Waits until it has stopped, which a shutdown or rsci_service_stop brings about; not on its own thread. No lock held.
 */
void rsci_service_join(rsci_service *service);

/* Its thread is joined by nobody: whoever wants its end is one of those it waits for. */
void rsci_service_leave_alone(rsci_service *service);

/* Ends it, where it runs for the sake of time limits only. On its own thread it ends by itself, later. */
void rsci_service_stop(rsci_service *service);

#endif
