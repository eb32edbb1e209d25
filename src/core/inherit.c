#include "inherit.h"

#include "manager.h"
#include "pool.h"
#include "service.h"

/* Takes the next call that does not go on in the child, held, from `*place` on; NULL: there is none. Takes the lock. */
static rsca_call *next_to_end(rsca_manager *manager, size_t *place, bool keep) {
  rsca_call *call, *found = NULL;
  rsci_lock_take(&manager->lock);
  while (!found && (call = rsci_calls_next(&manager->calls, place)) != NULL) {
    if (call->forks == rsci_forks())
      continue;
    int phase = atomic_load(&call->phase);
    /* One that a worker has taken out of the queue, and not begun, nobody would begin any more. */
    bool taken = atomic_load(&call->engine) != call->action->engine;
    if (phase == RSCI_CALL_ENDED || (keep && phase != RSCI_CALL_RUNNING && !taken))
      continue;
    found = call;
    if (!rsci_call_mark_cancelled(call, rsci_forked))
      (void)rsci_refs_add(&call->refs);
  }
  rsci_lock_leave(&manager->lock);
  return found;
}

/* Its thread is not in this process: the next call that needs one starts another. */
static void leave_service(rsca_manager *manager, bool keep) {
  rsci_service *service = &manager->service;
  rsci_lock_take(&manager->lock);
  bool ran = service->phase == RSCI_SERVICE_RUNS;
  if (ran) {
    (void)rsci_condition_init(&service->done); /* somebody may have waited on it */
    service->phase = RSCI_SERVICE_NONE;
    service->alone = false;
    atomic_store(&service->next_ns, UINT64_MAX);
    atomic_store(&manager->threads_run, false);
  }
  rsci_lock_leave(&manager->lock);
  if (ran)
    rsci_calls_unkeep(&manager->calls); /* what the thread kept */
  if ((ran || manager->pool) && keep && rsci_manager_live(manager) > 0)
    (void)rsci_manager_start_threads(manager); /* what is kept may have a time limit, or be for workers */
}

/* Its thread is not in this process: a worker's call ends here, others are their own states'. */
static void end_left_behind(rsca_manager *manager, rsca_call *call) {
  if (manager->pool && call->action->engine->runner == manager->runner)
    rsci_call_end_cancelled(call);
  rsci_call_let_go(call);
}

void rsci_manager_inherit(rsci_heir *heir, bool keep) {
  rsca_manager *manager = (rsca_manager *)((char *)heir - offsetof(rsca_manager, heir));
  rsci_manager_keep(manager);
  if (manager->pool)
    rsci_pool_leave_behind(manager->pool);
  size_t place = 0;
  rsca_call *call;
  while ((call = next_to_end(manager, &place, keep)) != NULL) {
    if (atomic_load(&call->engine)->runner == manager->runner)
      rsci_call_cancel_here(call);
    else
      end_left_behind(manager, call);
  }
  leave_service(manager, keep);
  rsci_calls_unkeep(&manager->calls);
}

HRESULT rsca_manager_after_fork(rsca_manager *manager, bool keep) {
  if (!manager)
    return E_INVALIDARG;
  rsci_manager_keep(manager);
  if (manager->pool)
    rsci_runner_leave_stepper(manager->runner);
  HRESULT status = rsci_runner_after_fork(manager->runner, keep);
  rsci_manager_unkeep(manager);
  return status;
}

void rsci_manager_drop_inherited(rsca_manager *manager) {
  if (manager->pool && rsci_pool_is_inherited(manager->pool))
    (void)rsca_manager_after_fork(manager, false);
}
