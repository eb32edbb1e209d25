/*
 * A manager's shared values.
 *
 * Provides: rsci_manager_shared
 * Uses:     manager, shared
 * Threads:  any
 */
#ifndef RSCI_MANAGER_SHARED_H
#define RSCI_MANAGER_SHARED_H

#include "manager.h"
#include "shared.h"

/* The manager's own, made at the first time; Borrowed, valid as long as the manager. NULL: out of memory. */
rsci_shared *rsci_manager_shared(rsca_manager *manager);

/* NULL: there are none yet. */
rsci_shared *rsci_manager_peek_shared(rsca_manager *manager);

#endif
