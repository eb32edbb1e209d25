#include "inspect.h"

#include <stdlib.h>
#include <string.h>

#include "manager.h"

/* How long a thread that is busy may take to answer. */
#define PATIENCE_NS (50 * RSCI_NS_PER_MS)

static int by_id(const void *left, const void *right) {
  const rsci_inspected *a = left, *b = right;
  return a->info.id < b->info.id ? -1 : a->info.id > b->info.id;
}

static const char *state_of(const rsca_call *call) {
  if (atomic_load(&call->phase) != RSCI_CALL_RUNNING)
    return "queued";
  return atomic_load(&atomic_load(&call->engine)->running) == call ? "running" : "waiting";
}

/* As many bytes as fit without cutting a character of UTF-8. */
static size_t head_size(const char *text, size_t size, size_t most) {
  if (size <= most)
    return size;
  while (most > 0 && ((unsigned char)text[most] & 0xC0) == 0x80)
    most--;
  return most;
}

/* Lock held. */
static void look_at(rsci_inspected *seen, rsca_call *call, uint64_t now_ns) {
  (void)rsci_refs_add(&call->refs);
  seen->call = call;
  size_t size = head_size(call->args.data, call->args.size, sizeof seen->args - 1);
  memcpy(seen->args, call->args.data, size);
  seen->info = (rsca_call_info){
      .id = call->id,
      .action = call->action->name,
      .args_size = call->args.size,
      .age_ms = (now_ns - call->accepted_ns) / RSCI_NS_PER_MS,
      .state = state_of(call),
      .registration = call->sink.ops->report != NULL,
  };
}

rsci_snapshot *rsci_snapshot_take(rsca_manager *manager) {
  rsci_calls *calls = &manager->calls;
  rsci_snapshot *snapshot = NULL;
  size_t room;
  rsci_lock_take(&manager->lock);
  do { /* there may be more of them once there is memory for those there are */
    room = calls->live;
    rsci_lock_leave(&manager->lock);
    free(snapshot);
    snapshot = calloc(1, sizeof *snapshot + room * sizeof *snapshot->calls);
    if (!snapshot)
      return NULL;
    rsci_lock_take(&manager->lock);
  } while (calls->live > room);
  uint64_t now_ns = rsci_coarse_ns();
  size_t place = 0;
  rsca_call *call;
  while ((call = rsci_calls_next(calls, &place)) != NULL) {
    if (atomic_load(&call->phase) != RSCI_CALL_ENDED)
      look_at(&snapshot->calls[snapshot->count++], call, now_ns);
  }
  rsci_lock_leave(&manager->lock);
  rsci_refs_init(&snapshot->refs);
  (void)rsci_lock_init(&snapshot->lock); /* neither fails: nothing is allocated for them */
  (void)rsci_condition_init(&snapshot->told);
  qsort(snapshot->calls, snapshot->count, sizeof *snapshot->calls, by_id);
  for (size_t i = 0; i < snapshot->count; i++) {
    snapshot->calls[i].snapshot = snapshot;
    snapshot->calls[i].info.args = snapshot->calls[i].args;
  }
  return snapshot;
}

rsci_snapshot *rsci_snapshot_of_cut(rsca_manager *manager) {
  rsci_lock_take(&manager->lock);
  rsci_snapshot *snapshot = manager->cut_calls;
  if (snapshot)
    (void)rsci_refs_add(&snapshot->refs);
  rsci_lock_leave(&manager->lock);
  return snapshot;
}

void rsci_snapshot_release(rsci_snapshot *snapshot) {
  if (rsci_refs_drop(&snapshot->refs) > 0)
    return;
  for (size_t i = 0; i < snapshot->count; i++) {
    free(snapshot->calls[i].traceback);
    free(snapshot->calls[i].name);
    if (snapshot->calls[i].call)
      rsci_call_let_go(snapshot->calls[i].call);
  }
  rsci_condition_fini(&snapshot->told);
  rsci_lock_fini(&snapshot->lock);
  free(snapshot);
}

void rsci_snapshot_detach(rsci_snapshot *snapshot) {
  for (size_t i = 0; i < snapshot->count; i++) {
    rsci_inspected *one = &snapshot->calls[i];
    size_t size = one->call->action->name_size + 1;
    one->name = malloc(size);
    if (one->name)
      memcpy(one->name, one->info.action, size);
    one->info.action = one->name ? one->name : "";
    rsci_call_let_go(one->call);
    one->call = NULL;
  }
}

void rsci_inspected_tell(rsci_inspected *inspected, char *traceback) {
  rsci_snapshot *snapshot = inspected->snapshot;
  if (atomic_exchange(&inspected->told, true)) {
    free(traceback);
    return;
  }
  rsci_lock_take(&snapshot->lock);
  inspected->traceback = traceback;
  if (--snapshot->waiting == 0)
    rsci_condition_tell_all(&snapshot->told);
  rsci_lock_leave(&snapshot->lock);
}

void rsci_snapshot_ask(rsci_snapshot *snapshot, const rsci_engine *except) {
  for (size_t i = 0; i < snapshot->count; i++) {
    rsci_inspected *one = &snapshot->calls[i];
    rsci_engine *engine = atomic_load(&one->call->engine);
    if (engine == except || !engine->ops->inspect || atomic_load(&one->call->phase) != RSCI_CALL_RUNNING)
      continue;
    rsci_lock_take(&snapshot->lock);
    snapshot->waiting++;
    rsci_lock_leave(&snapshot->lock);
    (void)rsci_refs_add(&snapshot->refs);
    engine->ops->inspect(engine, one);
  }
  rsci_lock_take(&snapshot->lock);
  uint64_t until_ns = rsci_now_ns() + PATIENCE_NS;
  while (snapshot->waiting > 0 && rsci_now_ns() < until_ns)
    rsci_condition_wait_until(&snapshot->told, &snapshot->lock, until_ns);
  for (size_t i = 0; i < snapshot->count; i++)
    snapshot->calls[i].info.traceback = snapshot->calls[i].traceback;
  rsci_lock_leave(&snapshot->lock);
}

/* ---- For hosts ---- */

typedef void (*visitor)(void *user, const rsca_call_info *call);

HRESULT rsca_manager_running(rsca_manager *manager, visitor visit, void *user) {
  if (!manager || !visit)
    return E_INVALIDARG;
  rsci_manager_keep(manager);
  rsci_snapshot *snapshot = rsci_snapshot_take(manager);
  HRESULT status = snapshot ? S_OK : E_OUTOFMEMORY;
  if (snapshot) {
    rsci_snapshot_ask(snapshot, NULL);
    for (size_t i = 0; i < snapshot->count; i++)
      visit(user, &snapshot->calls[i].info);
    rsci_snapshot_release(snapshot);
  }
  rsci_calls_unkeep(&manager->calls);
  return status;
}

HRESULT rsca_manager_cut_calls(rsca_manager *manager, visitor visit, void *user) {
  if (!manager || !visit)
    return E_INVALIDARG;
  rsci_snapshot *snapshot = rsci_snapshot_of_cut(manager);
  for (size_t i = 0; snapshot && i < snapshot->count; i++)
    visit(user, &snapshot->calls[i].info);
  if (snapshot)
    rsci_snapshot_release(snapshot);
  return S_OK;
}
