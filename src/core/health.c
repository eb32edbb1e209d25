#include "health.h"

#include <stdlib.h>

#include <rsca/protocol_manager.h>

#include "manager.h"

typedef struct rsci_check {
  struct rsci_check *next;
  IHealthStatusCallback *callback; /* held */
  unsigned forks;                  /* the process that it was asked in */
} rsci_check;

static rsca_manager *manager_of(IPmHealthAndIdleMonitor *iface) {
  return (rsca_manager *)((char *)iface - offsetof(rsca_manager, health_monitor));
}

static ULONG RSCA_METHOD health_AddRef(IPmHealthAndIdleMonitor *iface) {
  return rsca_manager_add_ref(manager_of(iface));
}

static ULONG RSCA_METHOD health_Release(IPmHealthAndIdleMonitor *iface) {
  return rsca_manager_release(manager_of(iface));
}

static HRESULT RSCA_METHOD health_CheckIdle(IPmHealthAndIdleMonitor *iface, BOOL *pfIdle) {
  if (!pfIdle)
    return E_INVALIDARG;
  *pfIdle = rsci_manager_live(manager_of(iface)) == 0;
  return S_OK;
}

/* Whoever waits longest, and what is to be told, unless it was left behind by a fork. NULL: nobody waits. */
static IHealthStatusCallback *take_oldest(rsca_manager *manager, BOOL *healthy, bool *dropped) {
  rsci_health *health = &manager->health;
  rsci_lock_take(&manager->lock);
  *healthy = manager->state == RSCI_OPEN; /* that it is stepped, the telling says */
  rsci_check *oldest = health->oldest;
  if (oldest) {
    health->oldest = oldest->next;
    health->waiting--;
  }
  rsci_lock_leave(&manager->lock);
  IHealthStatusCallback *callback = oldest ? oldest->callback : NULL;
  *dropped = oldest && rsci_runner_drops(manager->runner, oldest->forks);
  free(oldest);
  return callback;
}

void rsci_health_tell(rsca_manager *manager) {
  rsci_lock_take(&manager->lock);
  size_t left = manager->health.waiting;
  rsci_lock_leave(&manager->lock);
  BOOL healthy;
  bool dropped;
  IHealthStatusCallback *callback;
  while (left-- > 0 && (callback = take_oldest(manager, &healthy, &dropped)) != NULL) {
    if (!dropped)
      (void)callback->lpVtbl->ReportHealth(callback, healthy);
    (void)callback->lpVtbl->Release(callback);
  }
}

bool rsci_health_is_posted(rsca_manager *manager) {
  rsci_lock_take(&manager->lock);
  bool posted = manager->health.posted;
  rsci_lock_leave(&manager->lock);
  return posted;
}

static void health_run(rsci_task *task) {
  rsca_manager *manager = (rsca_manager *)((char *)task - offsetof(rsca_manager, health.task));
  rsci_lock_take(&manager->lock);
  manager->health.posted = false;
  rsci_lock_leave(&manager->lock);
  rsci_health_tell(manager);
  rsci_calls_unkeep(&manager->calls);
}

static const rsci_task_ops health_ops = {health_run, health_run};

/* Lock held. Whether another callback may wait. */
static HRESULT may_wait(const rsca_manager *manager) {
  if (manager->state != RSCI_OPEN)
    return RSCA_E_SHUTDOWN_IN_PROGRESS;
  return manager->health.waiting < manager->config.queue_limit ? S_OK : RSCA_E_BUSY;
}

/* Lock held. True: the task is to be posted, and keeps the manager already. */
static bool put(rsca_manager *manager, rsci_check *check) {
  rsci_health *health = &manager->health;
  if (health->oldest)
    health->newest->next = check;
  else
    health->oldest = check;
  health->newest = check;
  health->waiting++;
  if (health->posted)
    return false;
  health->posted = true;
  rsci_calls_keep(&manager->calls);
  return true;
}

static HRESULT RSCA_METHOD health_CheckHealth(IPmHealthAndIdleMonitor *iface,
                                              IHealthStatusCallback *pIHealthStatusCallback) {
  if (!pIHealthStatusCallback)
    return E_INVALIDARG;
  rsca_manager *manager = manager_of(iface);
  /* Asked twice: who is refused shall not be held for a moment, and holding calls foreign code, with no lock held. */
  rsci_lock_take(&manager->lock);
  HRESULT status = may_wait(manager);
  rsci_lock_leave(&manager->lock);
  if (FAILED(status))
    return status;
  if (manager->pool && !rsci_manager_start_threads(manager)) /* who tells it is one of them */
    return E_OUTOFMEMORY;
  rsci_check *check = malloc(sizeof *check);
  if (!check)
    return E_OUTOFMEMORY;
  *check = (rsci_check){.callback = pIHealthStatusCallback, .forks = rsci_forks()};
  (void)pIHealthStatusCallback->lpVtbl->AddRef(pIHealthStatusCallback);
  rsci_lock_take(&manager->lock);
  status = may_wait(manager);
  bool post = SUCCEEDED(status) && put(manager, check);
  rsci_lock_leave(&manager->lock);
  if (FAILED(status)) {
    (void)pIHealthStatusCallback->lpVtbl->Release(pIHealthStatusCallback);
    free(check);
  } else if (post) {
    manager->health.task.ops = &health_ops;
    /* Never refused: the native engine does not close while the manager is kept. */
    (void)rsci_engine_post(manager->native, &manager->health.task);
  }
  return status;
}

const IPmHealthAndIdleMonitorVtbl rsci_health_monitor_vtbl = {
    health_AddRef,
    health_Release,
    health_CheckIdle,
    health_CheckHealth,
};

IPmHealthAndIdleMonitor *rsca_manager_health_monitor(rsca_manager *manager) {
  if (!manager)
    return NULL;
  (void)rsca_manager_add_ref(manager);
  return &manager->health_monitor;
}
