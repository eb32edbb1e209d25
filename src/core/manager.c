#include "manager.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "custom_actions.h"
#include "inherit.h"
#include "inspect.h"
#include "shared.h"
#include "shutdown.h"
#include "sinks.h"
#include "protocol_manager.h"
#include "text.h"

enum { UNREGISTER_GRACE_MS = 1000 };

static void calls_quiet(rsci_calls *calls);
static void calls_gone(rsci_calls *calls);

static rsca_manager *manager_of_calls(rsci_calls *calls) {
  return (rsca_manager *)((char *)calls - offsetof(rsca_manager, calls));
}

/* ---- Lifetime ---- */

static rsca_config with_defaults(const rsca_config *given) {
  rsca_config config = given ? *given : (rsca_config){0};
  if (config.queue_limit == 0)
    config.queue_limit = 4096;
  if (config.queue_bytes == 0)
    config.queue_bytes = (size_t)64 << 20;
  if (config.drain_ms == 0)
    config.drain_ms = 5000;
  if (config.stream_limit == 0)
    config.stream_limit = 256;
  if (config.stream_bytes == 0)
    config.stream_bytes = (size_t)1 << 20;
  if (config.response_limit == 0)
    config.response_limit = (size_t)64 << 20;
  if (config.response_limit > UINT32_MAX) /* a length at the interfaces has 32 bits */
    config.response_limit = UINT32_MAX;
  if (config.response_bytes == 0)
    config.response_bytes = config.response_limit > ((size_t)16 << 20) ? 4 * config.response_limit : (size_t)64 << 20;
  if (config.time_limit_ms == 0)
    config.time_limit_ms = config.workers > 0 ? 30000 : RSCA_NO_LIMIT;
  if (config.clean_up_ms == 0)
    config.clean_up_ms = 200;
  if (config.kill_ms == 0)
    config.kill_ms = 1000;
  if (config.memory_limit == 0)
    config.memory_limit = (size_t)64 << 20;
  if (config.shared_bytes == 0)
    config.shared_bytes = (size_t)64 << 20;
  return config;
}

static uint64_t limit_of(uint32_t ms) {
  return ms == RSCA_NO_LIMIT ? UINT64_MAX : ms * RSCI_NS_PER_MS;
}

HRESULT rsci_manager_create(rsci_runner *runner, const rsca_config *config, rsci_budget *account, rsca_manager **out) {
  *out = NULL;
  if (!rsci_budget_charge(account, sizeof(rsca_manager)))
    return E_OUTOFMEMORY;
  rsca_manager *manager = calloc(1, sizeof *manager);
  if (!manager)
    goto fail;
  if (!rsci_lock_init(&manager->lock))
    goto fail;
  if (!rsci_lock_init(&manager->watches_lock))
    goto fail_lock;
  manager->runner = runner;
  manager->config = with_defaults(config);
  if (!(manager->budget = rsci_budget_create(manager->config.response_bytes, account)))
    goto fail_watches_lock;
  bool pooled = manager->config.workers > 0;
  if (!rsci_service_init(&manager->service, manager, pooled ? runner : NULL))
    goto fail_budget;
  if (pooled && !(manager->pool = rsci_pool_create(manager, manager->config.workers)))
    goto fail_service;
  manager->native = pooled ? rsci_pool_native(manager->pool) : rsci_native_create(runner);
  if (!manager->native)
    goto fail_service;
  manager->limit_ns = limit_of(manager->config.time_limit_ms);
  atomic_init(&manager->shortest_limit_ns, UINT64_MAX);
  rsci_refs_init(&manager->refs);
  manager->custom_actions.lpVtbl = &rsci_custom_actions_vtbl;
  manager->custom_actions2.lpVtbl = &rsci_custom_actions2_vtbl;
  manager->protocol_manager.lpVtbl = &rsci_protocol_manager_vtbl;
  manager->health_monitor.lpVtbl = &rsci_health_monitor_vtbl;
  rsci_runner_hold(runner);
  manager->heir.inherit = rsci_manager_inherit;
  rsci_runner_add_heir(runner, &manager->heir);
  rsci_calls_init(&manager->calls, &manager->lock, calls_quiet, calls_gone);
  manager->calls.response_limit = manager->config.response_limit;
  manager->calls.budget = manager->budget;
  manager->calls.account = account;
  *out = manager;
  return S_OK;

fail_service:
  rsci_service_fini(&manager->service);
fail_budget:
  rsci_budget_release(manager->budget);
fail_watches_lock:
  rsci_lock_fini(&manager->watches_lock);
fail_lock:
  rsci_lock_fini(&manager->lock);
fail:
  free(manager);
  rsci_budget_discharge(account, sizeof *manager);
  return E_OUTOFMEMORY;
}

HRESULT rsca_manager_create(const rsca_config *config, rsca_manager **out) {
  if (!out)
    return E_INVALIDARG;
  *out = NULL;
  if (config && config->workers > RSCI_MOST_WORKERS)
    return E_INVALIDARG;
  rsci_runner *runner = rsci_runner_create();
  if (!runner)
    return E_OUTOFMEMORY;
  HRESULT status = rsci_manager_create(runner, config, NULL, out);
  rsci_runner_release(runner);
  return status;
}

/* Nothing refers to it any more, and no call is left. */
static void calls_gone(rsci_calls *calls) {
  rsca_manager *manager = manager_of_calls(calls);
  if (manager->cut_calls)
    rsci_snapshot_release(manager->cut_calls);
  rsci_calls_fini(calls);
  rsci_runner_remove_heir(manager->runner, &manager->heir);
  if (manager->pool)
    rsci_pool_free(manager->pool);
  else
    rsci_engine_release(manager->native);
  rsci_service_fini(&manager->service);
  rsci_runner_release(manager->runner);
  rsci_shared_destroy(atomic_load(&manager->shared));
  rsci_lock_fini(&manager->watches_lock);
  rsci_lock_fini(&manager->lock);
  rsci_budget_discharge(manager->budget->parent, sizeof *manager);
  rsci_budget_release(manager->budget);
  free(manager);
}

/* Nobody has a reference any more: what is in flight ends, and then calls_gone frees. */
static void retire(rsca_manager *manager) {
  rsci_lock_take(&manager->lock);
  manager->state = RSCI_DOWN; /* what runs may still ask: its actions are not unknown, but not to be had any more */
  rsci_action *actions = rsci_registry_take_all(&manager->registry);
  rsci_registry_fini(&manager->registry);
  rsci_lock_leave(&manager->lock);
  rsci_manager_drop_actions(manager, actions);
  if (manager->pool) {
    (void)rsca_manager_shutdown(manager, true);
  } else {
    rsci_manager_cut_orphan(manager);
    rsci_service_stop(&manager->service);
  }
  rsci_calls_unkeep(&manager->calls);
}

void rsci_manager_tell_watches(rsca_manager *manager) {
  rsci_lock_take(&manager->watches_lock);
  for (rsci_watch *watch = manager->watches; watch; watch = watch->next)
    watch->changed(watch);
  rsci_lock_leave(&manager->watches_lock);
}

void rsci_manager_keep(rsca_manager *manager) {
  rsci_lock_take(&manager->lock);
  rsci_calls_keep(&manager->calls);
  rsci_lock_leave(&manager->lock);
}

void rsci_manager_unkeep(rsca_manager *manager) {
  if (rsci_refs_count(&manager->refs) == 0)
    rsci_manager_step_orphan(manager);
  rsci_calls_unkeep(&manager->calls);
}

ULONG rsca_manager_add_ref(rsca_manager *manager) {
  return manager ? rsci_refs_add(&manager->refs) : 0;
}

ULONG rsca_manager_release(rsca_manager *manager) {
  if (!manager)
    return 0;
  /* Kept for as long as this takes: with the reference gone, another thread may give back the last one. */
  rsci_manager_keep(manager);
  uint32_t count = rsci_refs_drop(&manager->refs);
  if (count == 0)
    retire(manager);
  else
    rsci_manager_tell_watches(manager);
  rsci_calls_unkeep(&manager->calls);
  return count;
}

void rsci_manager_watch(rsca_manager *manager, rsci_watch *watch) {
  rsci_lock_take(&manager->watches_lock);
  watch->next = manager->watches;
  manager->watches = watch;
  manager->watch_count++;
  rsci_lock_leave(&manager->watches_lock);
}

void rsci_manager_unwatch(rsca_manager *manager, rsci_watch *watch) {
  rsci_lock_take(&manager->watches_lock);
  rsci_watch **place = &manager->watches;
  while (*place != watch)
    place = &(*place)->next;
  *place = watch->next;
  manager->watch_count--;
  rsci_lock_leave(&manager->watches_lock);
}

static void calls_quiet(rsci_calls *calls) {
  rsca_manager *manager = manager_of_calls(calls);
  /* One that is added right now looks at the calls after that, and finds what there is to find. */
  if (atomic_load(&manager->watch_count) > 0)
    rsci_manager_tell_watches(manager);
  if (atomic_load(&calls->watched))
    rsci_service_kick(&manager->service);
}

/* ---- Calls ---- */

static rsca_call *find_in_session(const rsci_session *session, const char *name, size_t size) {
  rsca_call *call = session->calls;
  while (call && (call->action->name_size != size || memcmp(call->action->name, name, size) != 0))
    call = call->session_next;
  return call;
}

/* When a limit that begins now is over. A long one may be some milliseconds late, and need not ask for the time, which
 * costs more than all else that is done for it. */
static uint64_t due_of(const rsca_call *call, uint64_t limit_ns) {
  return limit_ns < RSCI_NS_PER_SECOND ? rsci_now_ns() + limit_ns : call->accepted_ns + RSCI_COARSE_NS + limit_ns;
}

/* Lock held. */
static void set_limit(rsca_manager *manager, rsca_call *call, uint64_t limit_ns) {
  if (call->sink.ops->report && !call->sink.limit_ns)
    call->stretch_ns = limit_ns;
  if (limit_ns < atomic_load_explicit(&manager->shortest_limit_ns, memory_order_relaxed))
    atomic_store(&manager->shortest_limit_ns, limit_ns);
  uint64_t due_ns = due_of(call, limit_ns);
  if (!call->stretch_ns)
    atomic_store_explicit(&call->due_ns, due_ns, memory_order_relaxed); /* looked at with the lock */
  rsci_service_expect(&manager->service, due_ns);
}

/* Of a call of this action; UINT64_MAX: none. */
static uint64_t find_limit(const rsca_manager *manager, const rsci_action *action, const rsci_sink *sink) {
  if (sink->limit_ns)
    return sink->limit_ns;
  return action && action->limit_ns ? action->limit_ns : manager->limit_ns;
}

static bool needs_threads(const rsca_manager *manager, bool limited) {
  return (manager->pool || limited) && !atomic_load_explicit(&manager->threads_run, memory_order_acquire);
}

/* Starts the threads that calls need, at the first one. */
static bool start_threads(rsca_manager *manager, bool limited) {
  if (!needs_threads(manager, limited))
    return true;
  bool run = rsci_service_start(&manager->service) && (!manager->pool || rsci_pool_start(manager->pool));
  if (run)
    atomic_store(&manager->threads_run, true);
  return run;
}

bool rsci_manager_start_threads(rsca_manager *manager) {
  rsci_manager_drop_inherited(manager);
  return start_threads(manager, true);
}

/* Lock held. What its own threads ask for has half of the places: what comes from elsewhere always finds some. */
static bool is_full(const rsca_manager *manager, bool inner, size_t args_size) {
  const rsca_config *config = &manager->config;
  const rsci_calls *calls = &manager->calls;
  return calls->live >= config->queue_limit || args_size > config->queue_bytes - calls->bytes ||
         calls->kept / 4 > config->queue_limit || /* ended, but not forgotten by who runs them */
         (inner && (calls->inner >= (config->queue_limit + 1) / 2 ||
                    args_size + calls->inner_bytes > config->queue_bytes - config->queue_bytes / 2));
}

HRESULT rsci_manager_run(rsca_manager *manager, rsci_session *session, const char *name, size_t name_size,
                         const char *args, size_t args_size, const rsci_sink *sink, uint64_t *id) {
  if (id)
    *id = 0;
  char *big_args = NULL;
  if (args_size >= RSCI_KEPT_BYTES) {
    if (args_size == SIZE_MAX || !(big_args = malloc(args_size + 1)))
      return E_OUTOFMEMORY;
    memcpy(big_args, args, args_size);
    big_args[args_size] = '\0';
  }
  HRESULT status = S_OK;
  rsca_call *call = NULL;
  bool ready = true;
  bool inner = manager->pool && rsci_pool_is_worker(manager->pool);
  rsci_manager_drop_inherited(manager);
  rsci_lock_take(&manager->lock);
  rsci_action *action = rsci_registry_find(&manager->registry, name, name_size);
  uint64_t limit_ns = find_limit(manager, action, sink);
  bool limited = limit_ns != UINT64_MAX || manager->limit_ns != UINT64_MAX;
  if (action && manager->state == RSCI_OPEN && needs_threads(manager, limited)) {
    /* The first call, or the first with a limit. One that is refused starts nothing. */
    rsci_lock_leave(&manager->lock);
    ready = start_threads(manager, limited);
    rsci_lock_take(&manager->lock);
    action = rsci_registry_find(&manager->registry, name, name_size);
    limit_ns = find_limit(manager, action, sink);
  }
  if (action && !manager->pool && rsci_engine_is_closed(action->engine))
    status = RPC_E_DISCONNECTED;
  else if (manager->state != RSCI_OPEN)
    status = RSCA_E_SHUTDOWN_IN_PROGRESS;
  else if (!action)
    status = RSCA_E_NOT_FOUND;
  else if (session && find_in_session(session, name, name_size))
    status = RSCA_E_ALREADY_EXISTS;
  else if (is_full(manager, inner, args_size))
    status = RSCA_E_BUSY;
  else if (!ready)
    status = E_OUTOFMEMORY;
  else if (!(call = rsci_calls_accept(&manager->calls, action, args, args_size, big_args, sink, inner)))
    status = E_OUTOFMEMORY;
  uint64_t accepted_id = call ? call->id : 0;
  if (call && limit_ns != UINT64_MAX)
    set_limit(manager, call, limit_ns);
  if (call && session) {
    call->session = session;
    call->session_next = session->calls;
    session->calls = call;
  }
  rsci_lock_leave(&manager->lock);
  if (FAILED(status)) {
    free(big_args);
    return status;
  }
  if (!rsci_call_post(call))
    return RPC_E_DISCONNECTED;
  /* The call may have ended by now, on another thread. */
  if (id)
    *id = accepted_id;
  return S_OK;
}

/* What run and subscribe of the host's side do with their parameters. */
static HRESULT start(rsca_manager *manager, const char *name, const char *args, const rsci_sink *sink, uint64_t *id) {
  if (id)
    *id = 0;
  if (!manager || !name || !*name || !sink->fn)
    return E_INVALIDARG;
  if (!args)
    args = "";
  size_t name_size = strlen(name), args_size = strlen(args);
  if (!rsci_utf8_valid(args, args_size))
    return RSCA_E_NO_UNICODE_TRANSLATION;
  HRESULT status = rsci_manager_run(manager, NULL, name, name_size, args, args_size, sink, id);
  /* A name that was found is that of an action, and so well-formed. */
  return FAILED(status) && !rsci_utf8_valid(name, name_size) ? RSCA_E_NO_UNICODE_TRANSLATION : status;
}

HRESULT rsca_manager_run(rsca_manager *manager, const char *name, const char *args, rsca_result_fn fn, void *user,
                         uint64_t *id) {
  const rsci_sink sink = {.ops = &rsci_function_sink, .object = user, .fn = fn};
  return start(manager, name, args, &sink, id);
}

HRESULT rsca_manager_subscribe(rsca_manager *manager, const char *name, const char *args, rsca_result_fn fn, void *user,
                               uint64_t *id) {
  const rsci_sink sink = {.ops = &rsci_function_stream_sink, .object = user, .fn = fn};
  return start(manager, name, args, &sink, id);
}

/* What was told to end ends by itself, or is stopped after the grace. What waits needs no watching: unless it is on
 * another thread, which may be busy with something else. */
static void give_grace(rsca_manager *manager, rsca_call *call, unsigned grace_ms) {
  rsci_engine *engine = atomic_load(&call->engine);
  if (manager->pool || atomic_load(&engine->running) == call)
    rsci_manager_expect_end(manager, call, rsci_now_ns() + grace_ms * RSCI_NS_PER_MS);
}

/* Lock held; leaves it. The registration ends as unregistered. */
static HRESULT unregister_call(rsca_manager *manager, rsca_call *call) {
  bool registration = call && call->sink.ops->report;
  bool marked = registration && rsci_call_mark_cancelled(call, rsci_unregistered);
  if (marked)
    (void)rsci_refs_add(&call->refs);
  if (registration)
    rsci_call_leave_session(call); /* free from here on, whenever the final comes */
  rsci_lock_leave(&manager->lock);
  if (marked) {
    give_grace(manager, call, UNREGISTER_GRACE_MS);
    rsci_call_post_cancel(call);
    rsci_call_let_go(call);
  }
  return registration ? S_OK : RSCA_E_NOT_FOUND;
}

HRESULT rsca_manager_unsubscribe(rsca_manager *manager, uint64_t id) {
  if (!manager)
    return E_INVALIDARG;
  rsci_lock_take(&manager->lock);
  rsca_call *call = rsci_calls_find(&manager->calls, id);
  return unregister_call(manager, call);
}

HRESULT rsci_manager_unregister_name(rsca_manager *manager, rsci_session *session, const char *name, size_t size) {
  rsci_lock_take(&manager->lock);
  return unregister_call(manager, find_in_session(session, name, size));
}

void rsci_manager_leave_session(rsca_manager *manager, rsci_session *session) {
  rsci_lock_take(&manager->lock);
  for (rsca_call *call = session->calls; call; call = call->session_next)
    call->session = NULL;
  session->calls = NULL;
  rsci_lock_leave(&manager->lock);
}

HRESULT rsca_call_finish(rsca_call *call, HRESULT status, const void *bytes, size_t size) {
  if (!call)
    return E_INVALIDARG;
  rsca_manager *manager = manager_of_calls(call->calls);
  rsci_manager_keep(manager);
  HRESULT kept = rsci_native_finish(call, status, bytes, size);
  rsci_manager_unkeep(manager);
  return kept;
}

void rsci_manager_expect_end(rsca_manager *manager, rsca_call *call, uint64_t due_ns) {
  if (!rsci_manager_start_threads(manager))
    return; /* then only what waits can be ended */
  if (due_ns < atomic_load(&call->due_ns))
    atomic_store(&call->due_ns, due_ns);
  rsci_service_expect(&manager->service, due_ns);
}

HRESULT rsca_manager_cancel(rsca_manager *manager, uint64_t id, unsigned grace_ms) {
  if (!manager)
    return E_INVALIDARG;
  rsci_lock_take(&manager->lock);
  rsca_call *call = rsci_calls_find(&manager->calls, id);
  bool marked = call && rsci_call_mark_cancelled(call, rsci_cancelled);
  if (call)
    (void)rsci_refs_add(&call->refs);
  rsci_lock_leave(&manager->lock);
  if (!call)
    return RSCA_E_NOT_FOUND;
  give_grace(manager, call, grace_ms);
  if (marked)
    rsci_call_post_cancel(call);
  rsci_call_let_go(call);
  return S_OK;
}

rsci_manager_phase rsci_manager_state(rsca_manager *manager) {
  rsci_lock_take(&manager->lock);
  rsci_manager_phase state = manager->state;
  rsci_lock_leave(&manager->lock);
  return state;
}

size_t rsci_manager_unended(rsca_manager *manager) {
  size_t unended = 0, place = 0;
  rsca_call *call;
  rsci_lock_take(&manager->lock);
  while ((call = rsci_calls_next(&manager->calls, &place)) != NULL)
    unended += atomic_load(&call->phase) != RSCI_CALL_ENDED;
  rsci_lock_leave(&manager->lock);
  return unended;
}

bool rsci_manager_is_healthy(rsca_manager *manager) {
  size_t workers = 1, stuck;
  if (manager->pool)
    rsci_pool_count(manager->pool, &workers, &stuck);
  return workers > 0 && rsci_manager_state(manager) == RSCI_OPEN;
}

size_t rsci_manager_live(rsca_manager *manager) {
  rsci_lock_take(&manager->lock);
  size_t live = manager->calls.live;
  rsci_lock_leave(&manager->lock);
  return live;
}

rsca_manager *rsci_manager_of_call(const rsca_call *call) {
  return manager_of_calls(call->calls);
}

void rsci_manager_refuse(rsca_manager *manager, uint64_t id) {
  rsci_lock_take(&manager->lock);
  rsca_call *call = rsci_calls_find(&manager->calls, id);
  bool marked = call && rsci_call_mark_cancelled(call, rsci_refused);
  rsci_lock_leave(&manager->lock);
  if (marked)
    rsci_call_post_cancel(call);
}

size_t rsci_manager_needing(rsca_manager *manager) {
  rsci_lock_take(&manager->lock);
  size_t needing = manager->calls.live - manager->calls.hanging;
  rsci_lock_leave(&manager->lock);
  return needing;
}

void rsca_manager_get_stats(rsca_manager *manager, rsca_manager_stats *stats) {
  if (!stats)
    return;
  *stats = (rsca_manager_stats){0};
  if (!manager)
    return;
  rsci_lock_take(&manager->lock);
  *stats = (rsca_manager_stats){
      .accepted = manager->calls.accepted,
      .ended = manager->calls.ended,
      .failed_callback = manager->calls.failed_callbacks,
      .actions = manager->registry.count,
      .queued_bytes = manager->calls.bytes,
  };
  rsci_lock_leave(&manager->lock);
}

/* ---- Stepping ---- */

/* A pool is stepped by its own threads. */

int rsca_manager_fd(rsca_manager *manager) {
  if (!manager || manager->pool)
    return -1;
  return rsci_runner_fd(manager->runner);
}

int rsca_manager_timeout_ms(rsca_manager *manager) {
  if (!manager || manager->pool)
    return -1;
  uint64_t timeout_ns = rsci_runner_timeout_ns(manager->runner);
  if (timeout_ns == UINT64_MAX)
    return -1;
  uint64_t ms = timeout_ns / RSCI_NS_PER_MS + (timeout_ns % RSCI_NS_PER_MS != 0);
  return ms > INT_MAX ? INT_MAX : (int)ms;
}

HRESULT rsca_manager_step(rsca_manager *manager, unsigned budget) {
  if (!manager)
    return E_INVALIDARG;
  if (manager->pool)
    return S_FALSE;
  size_t ran;
  rsci_manager_keep(manager);
  bool stepped = rsci_runner_step(manager->runner, budget, &ran);
  bool some = ran > 0;
  rsci_manager_unkeep(manager);
  if (!stepped && !some)
    return RSCA_E_POSSIBLE_DEADLOCK;
  return some ? S_OK : S_FALSE;
}

/* ---- Interfaces ---- */

IPmCustomActions *rsca_manager_custom_actions(rsca_manager *manager) {
  if (!manager)
    return NULL;
  (void)rsca_manager_add_ref(manager);
  return &manager->custom_actions;
}

IPmCustomActions2 *rsca_manager_custom_actions2(rsca_manager *manager) {
  if (!manager)
    return NULL;
  (void)rsca_manager_add_ref(manager);
  return &manager->custom_actions2;
}

rsca_manager *rsci_manager_of_custom_actions(IPmCustomActions *actions) {
  if (actions->lpVtbl != &rsci_custom_actions_vtbl)
    return NULL;
  return (rsca_manager *)((char *)actions - offsetof(rsca_manager, custom_actions));
}

rsca_manager *rsci_manager_of_custom_actions2(IPmCustomActions2 *actions) {
  if (actions->lpVtbl != &rsci_custom_actions2_vtbl)
    return NULL;
  return (rsca_manager *)((char *)actions - offsetof(rsca_manager, custom_actions2));
}
