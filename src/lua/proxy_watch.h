/*
 * Watching for the moment when nothing outside the script needs a manager's proxy any more.
 *
 * Provides: rscl_proxy_watch
 * Uses:     state, core/manager
 * Threads:  the state's own; the manager tells it from any
 */
#ifndef RSCL_PROXY_WATCH_H
#define RSCL_PROXY_WATCH_H

#include "state.h"

typedef struct rscl_proxy_watch {
  rsci_watch base;
  rsci_refs refs;              /* the proxy's, and one while its task is posted */
  rscl_state *state;           /* held */
  const rsca_manager *manager; /* finds the proxy; never dereferenced */
  atomic_bool posted;
  rsci_task task;
} rscl_proxy_watch;

/* With one reference, the proxy's; NULL: out of memory. Its `base` is for rsci_manager_watch. */
rscl_proxy_watch *rscl_proxy_watch_create(rscl_state *state, rsca_manager *manager);
void rscl_proxy_watch_release(rscl_proxy_watch *watch);

#endif
