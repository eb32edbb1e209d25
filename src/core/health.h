/*
 * The manager's IPmHealthAndIdleMonitor, and who waits for its answers.
 *
 * Provides: rsci_health, rsci_health_monitor_vtbl, rsca_manager_health_monitor
 * Uses:     manager
 * Threads:  any, but for rsci_health_tell
 */
#ifndef RSCI_HEALTH_H
#define RSCI_HEALTH_H

#include <stdbool.h>
#include <stddef.h>

#include <rsca/manager.h>

#include "runner.h"

struct rsci_check;

/* Embedded in the manager, guarded by its lock. All zero: nobody waits. */
typedef struct rsci_health {
  struct rsci_check *oldest, *newest; /* callbacks that are held and not told yet; newest counts where there is one */
  size_t waiting;                     /* how many */
  bool posted;                        /* the task is on its way, and keeps the manager */
  rsci_task task;
} rsci_health;

extern const IPmHealthAndIdleMonitorVtbl rsci_health_monitor_vtbl;

/* Tells those who wait now; who asks meanwhile waits for the task. In a step, no lock held; the caller keeps the
 * manager. */
void rsci_health_tell(rsca_manager *manager);

/* Whether its task is on the way. */
bool rsci_health_is_posted(rsca_manager *manager);

#endif
