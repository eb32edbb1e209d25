#include "inherit.h"

#include <rsca/manager.h>

#include "manager.h"

/* Takes the next call that does not go on in the child, held, from `*place` on; NULL: there is none. Takes the lock. */
static rsca_call *next_to_end(rsca_manager *manager, size_t *place, bool keep) {
  rsci_calls *calls = &manager->calls;
  rsca_call *found = NULL;
  rsci_lock_take(&manager->lock);
  while (!found && calls->table && *place <= calls->mask) {
    rsca_call *call = calls->table[(*place)++];
    if (!call || call->forks == rsci_forks())
      continue;
    int phase = atomic_load(&call->phase);
    if (phase == RSCI_CALL_ENDED || (keep && phase != RSCI_CALL_RUNNING))
      continue;
    found = call;
    if (!rsci_call_mark_cancelled(call, rsci_forked))
      (void)rsci_refs_add(&call->refs);
  }
  rsci_lock_leave(&manager->lock);
  return found;
}

void rsci_manager_inherit(rsci_heir *heir, bool keep) {
  rsca_manager *manager = (rsca_manager *)((char *)heir - offsetof(rsca_manager, heir));
  rsci_manager_keep(manager);
  size_t place = 0;
  rsca_call *call;
  while ((call = next_to_end(manager, &place, keep)) != NULL) {
    if (call->action->engine->runner == manager->runner)
      rsci_call_cancel_here(call);
    else
      rsci_call_let_go(call); /* its thread is not in this process */
  }
  rsci_calls_unkeep(&manager->calls);
}

HRESULT rsca_manager_after_fork(rsca_manager *manager, bool keep) {
  if (!manager)
    return E_INVALIDARG;
  rsci_manager_keep(manager);
  HRESULT status = rsci_runner_after_fork(manager->runner, keep);
  rsci_manager_unkeep(manager);
  return status;
}
