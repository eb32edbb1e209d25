/*
 * The actions of a manager: registering, taking away, listing.
 */
#include <stdlib.h>
#include <string.h>

#include "manager.h"
#include "text.h"

/* Called without the lock: gives back one reference. */
void rsci_manager_drop_action(rsca_manager *manager, rsci_action *action) {
  rsci_lock_take(&manager->lock);
  bool forgotten = --action->refs == 0;
  rsci_lock_leave(&manager->lock);
  if (forgotten)
    rsci_action_forget(action);
}

void rsci_manager_drop_actions(rsca_manager *manager, rsci_action *actions) {
  while (actions) {
    rsci_action *next = actions->next;
    rsci_manager_drop_action(manager, actions);
    actions = next;
  }
}

rsci_action *rsci_manager_find(rsca_manager *manager, const char *name, size_t size) {
  rsci_lock_take(&manager->lock);
  rsci_action *action = rsci_registry_find(&manager->registry, name, size);
  if (action)
    action->refs++;
  rsci_lock_leave(&manager->lock);
  return action;
}

uint64_t rsci_manager_registration(rsca_manager *manager, const char *name, size_t size) {
  rsci_lock_take(&manager->lock);
  const rsci_action *action = rsci_registry_find(&manager->registry, name, size);
  uint64_t number = action ? action->number : 0;
  rsci_lock_leave(&manager->lock);
  return number;
}

HRESULT rsci_manager_put(rsca_manager *manager, rsci_action *action, const rsci_action *expected) {
  HRESULT status = S_OK;
  rsci_action *replaced = NULL;
  rsci_lock_take(&manager->lock);
  if (manager->state != RSCI_OPEN)
    status = RSCA_E_SHUTDOWN_IN_PROGRESS;
  else if (manager->pool && action->engine == rsci_pool_script(manager->pool) &&
           !rsci_pool_takes_actions(manager->pool))
    status = RSCA_E_CANCELLED; /* nobody waits any more for the script that says so */
  else if (rsci_registry_find(&manager->registry, action->name, action->name_size) != expected)
    status = RSCA_E_ALREADY_EXISTS;
  else if (!rsci_registry_reserve(&manager->registry))
    status = E_OUTOFMEMORY;
  if (SUCCEEDED(status)) {
    action->number = ++manager->registered;
    replaced = rsci_registry_take(&manager->registry, action->name, action->name_size);
    rsci_registry_put(&manager->registry, action);
  }
  rsci_lock_leave(&manager->lock);
  if (replaced)
    rsci_manager_drop_action(manager, replaced);
  return status;
}

HRESULT rsci_manager_take(rsca_manager *manager, const char *name, size_t size) {
  rsci_lock_take(&manager->lock);
  rsci_action *action = rsci_registry_take(&manager->registry, name, size);
  rsci_lock_leave(&manager->lock);
  if (!action)
    return RSCA_E_NOT_FOUND;
  rsci_manager_drop_action(manager, action);
  return S_OK;
}

/* A call of the engine that was not cancelled yet, marked, from `*place` on; NULL: none. */
static rsca_call *next_of(rsca_manager *manager, const rsci_engine *engine, size_t *place, const char *why) {
  rsca_call *call;
  rsci_lock_take(&manager->lock);
  do
    call = rsci_calls_next(&manager->calls, place);
  while (call && !(call->action->engine == engine && rsci_call_mark_cancelled(call, why)));
  rsci_lock_leave(&manager->lock);
  return call;
}

void rsci_manager_forget_engine(rsca_manager *manager, const rsci_engine *engine, const char *why) {
  rsci_lock_take(&manager->lock);
  rsci_action *actions = rsci_registry_take_of(&manager->registry, engine);
  rsci_lock_leave(&manager->lock);
  rsci_manager_drop_actions(manager, actions);
  size_t place = 0;
  rsca_call *call;
  while ((call = next_of(manager, engine, &place, why)) != NULL) {
    (void)rsci_call_end_queued(call); /* one that is new ends at its start */
    rsci_call_let_go(call);
  }
}

HRESULT rsca_manager_register(rsca_manager *manager, const char *name, const char *help, rsca_action_fn fn, void *user,
                              void (*free_user)(void *user)) {
  if (!manager || !name || !*name || !fn)
    return E_INVALIDARG;
  if (!help)
    help = "";
  if (!rsci_utf8_valid(name, strlen(name)) || !rsci_utf8_valid(help, strlen(help)))
    return RSCA_E_NO_UNICODE_TRANSLATION;
  rsci_action *action = rsci_native_action(manager->native, name, help, fn, user, free_user);
  if (!action)
    return E_OUTOFMEMORY;
  HRESULT status;
  do {
    rsci_action *expected = rsci_manager_find(manager, name, action->name_size);
    status = rsci_manager_put(manager, action, expected);
    if (expected)
      rsci_manager_drop_action(manager, expected);
  } while (status == RSCA_E_ALREADY_EXISTS); /* another thread was faster */
  if (FAILED(status))
    rsci_native_action_free(action);
  return status;
}

HRESULT rsca_manager_unregister(rsca_manager *manager, const char *name) {
  if (!manager || !name || !*name)
    return E_INVALIDARG;
  return rsci_manager_take(manager, name, strlen(name));
}

static int by_name(const void *left, const void *right) {
  rsci_action *const *a = left, *const *b = right;
  return strcmp((*a)->name, (*b)->name);
}

HRESULT rsca_manager_list(rsca_manager *manager, void (*visit)(void *user, const rsca_action_info *action),
                          void *user) {
  if (!manager || !visit)
    return E_INVALIDARG;
  rsci_lock_take(&manager->lock);
  size_t count = manager->registry.count;
  rsci_action **actions = malloc((count + 1) * sizeof *actions);
  if (actions) {
    rsci_registry_copy(&manager->registry, actions);
    for (size_t i = 0; i < count; i++)
      actions[i]->refs++;
  }
  rsci_lock_leave(&manager->lock);
  if (!actions)
    return E_OUTOFMEMORY;
  qsort(actions, count, sizeof *actions, by_name);
  for (size_t i = 0; i < count; i++) {
    const rsca_action_info info = {.name = actions[i]->name, .help = actions[i]->help, .place = actions[i]->place};
    visit(user, &info);
    rsci_manager_drop_action(manager, actions[i]);
  }
  free(actions);
  return S_OK;
}
