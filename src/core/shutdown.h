/*
 * How a manager stops: cuts, drains, and what is left when its last reference goes.
 *
 * Provides: rsca_manager_shutdown, rsci_manager_cut_later and its kin
 * Uses:     manager
 * Threads:  any
 */
#ifndef RSCI_SHUTDOWN_H
#define RSCI_SHUTDOWN_H

#include "manager.h"

/* As rsca_manager_shutdown, at once, but calls nothing that is called in steps: handlers in Lua hear of it later. */
void rsci_manager_end(rsca_manager *manager);

/* Says to a pool that it shall end, and leaves that to its threads. S_OK: it has none, or none any more. */
HRESULT rsci_manager_begin_shutdown(rsca_manager *manager, bool immediate);

/* Ends all that is in flight. On the service's thread. */
void rsci_manager_cut_pool(rsca_manager *manager);

/* The last reference is gone: ends what is in flight, here or in the following steps. The caller keeps the manager. */
void rsci_manager_cut_orphan(rsca_manager *manager);

/* For a manager without an owner, where no Lua state lives that will step: runs what was posted, now or never. */
void rsci_manager_step_orphan(rsca_manager *manager);

#endif
