/*
 * What a manager does in the child of a fork: calls that were running in the parent end, and so do those that were
 * queued unless they are kept.
 *
 * Provides: rsci_manager_inherit, rsci_manager_drop_inherited, rsca_manager_after_fork
 * Uses:     manager
 * Threads:  the one that steps
 */
#ifndef RSCI_INHERIT_H
#define RSCI_INHERIT_H

#include <rsca/manager.h>

#include "runner.h"

/* For a manager's heir. */
void rsci_manager_inherit(rsci_heir *heir, bool keep);

/* Before a pool's manager is used: in a child where nobody has said otherwise, what it inherited ends. */
void rsci_manager_drop_inherited(rsca_manager *manager);

#endif
