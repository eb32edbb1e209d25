#include "manager.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "custom_actions.h"
#include "sinks.h"
#include "protocol_manager.h"
#include "text.h"

static const char shutdown_text[] = "the manager was shut down";

static void calls_quiet(rsci_calls *calls);
static void calls_gone(rsci_calls *calls);
static const rsci_task_ops shutdown_ops, drained_ops;

static rsca_manager *manager_of_calls(rsci_calls *calls) {
  return (rsca_manager *)((char *)calls - offsetof(rsca_manager, calls));
}

/* ---- Lifetime ---- */

HRESULT rsci_manager_create(rsci_runner *runner, const rsca_config *config, rsca_manager **out) {
  *out = NULL;
  rsca_manager *manager = calloc(1, sizeof *manager);
  if (!manager)
    return E_OUTOFMEMORY;
  if (!rsci_lock_init(&manager->lock))
    goto fail;
  if (!rsci_lock_init(&manager->watches_lock))
    goto fail_lock;
  manager->native = rsci_native_create(runner);
  if (!manager->native)
    goto fail_watches_lock;
  rsci_refs_init(&manager->refs);
  manager->custom_actions.lpVtbl = &rsci_custom_actions_vtbl;
  manager->custom_actions2.lpVtbl = &rsci_custom_actions2_vtbl;
  manager->protocol_manager.lpVtbl = &rsci_protocol_manager_vtbl;
  manager->health_monitor.lpVtbl = &rsci_health_monitor_vtbl;
  if (config)
    manager->config = *config;
  if (manager->config.queue_limit == 0)
    manager->config.queue_limit = 4096;
  if (manager->config.queue_bytes == 0)
    manager->config.queue_bytes = (size_t)64 << 20;
  if (manager->config.drain_ms == 0)
    manager->config.drain_ms = 5000;
  if (manager->config.stream_limit == 0)
    manager->config.stream_limit = 256;
  if (manager->config.stream_bytes == 0)
    manager->config.stream_bytes = (size_t)1 << 20;
  rsci_runner_hold(runner);
  manager->runner = runner;
  rsci_calls_init(&manager->calls, &manager->lock, calls_quiet, calls_gone);
  *out = manager;
  return S_OK;

fail_watches_lock:
  rsci_lock_fini(&manager->watches_lock);
fail_lock:
  rsci_lock_fini(&manager->lock);
fail:
  free(manager);
  return E_OUTOFMEMORY;
}

HRESULT rsca_manager_create(const rsca_config *config, rsca_manager **out) {
  if (!out)
    return E_INVALIDARG;
  *out = NULL;
  rsci_runner *runner = rsci_runner_create();
  if (!runner)
    return E_OUTOFMEMORY;
  HRESULT status = rsci_manager_create(runner, config, out);
  rsci_runner_release(runner);
  return status;
}

/* Nothing refers to it any more, and no call is left. */
static void calls_gone(rsci_calls *calls) {
  rsca_manager *manager = manager_of_calls(calls);
  rsci_calls_fini(calls);
  rsci_engine_release(manager->native);
  rsci_runner_release(manager->runner);
  rsci_lock_fini(&manager->watches_lock);
  rsci_lock_fini(&manager->lock);
  free(manager);
}

static void forget_all(rsci_action *action, rsca_manager *manager) {
  while (action) {
    rsci_action *next = action->next;
    rsci_manager_drop_action(manager, action);
    action = next;
  }
}

static bool cut_here(rsca_manager *manager);
static void step_orphan(rsca_manager *manager);
static void leave(rsca_manager *manager);

/* Nobody has a reference any more: what is in flight ends, and then calls_gone frees. */
static void retire(rsca_manager *manager) {
  rsci_lock_take(&manager->lock);
  rsci_action *actions = rsci_registry_take_all(&manager->registry);
  rsci_registry_fini(&manager->registry);
  rsci_lock_leave(&manager->lock);
  forget_all(actions, manager);
  /* Where no Lua state lives, nobody can step any more: then any thread will do. */
  bool here = rsci_runner_may_step(manager->runner) || !rsci_runner_is_pinned(manager->runner);
  if (manager->finalized || !here || !cut_here(manager))
    rsci_manager_cut_later(manager);
  step_orphan(manager);
  rsci_calls_unkeep(&manager->calls);
}

static void tell_watches(rsca_manager *manager) {
  rsci_lock_take(&manager->watches_lock);
  for (rsci_watch *watch = manager->watches; watch; watch = watch->next)
    watch->changed(watch);
  rsci_lock_leave(&manager->watches_lock);
}

static void keep(rsca_manager *manager) {
  rsci_lock_take(&manager->lock);
  rsci_calls_keep(&manager->calls);
  rsci_lock_leave(&manager->lock);
}

ULONG rsca_manager_add_ref(rsca_manager *manager) {
  return rsci_refs_add(&manager->refs);
}

ULONG rsca_manager_release(rsca_manager *manager) {
  /* Kept for as long as this takes: with the reference gone, another thread may give back the last one. */
  keep(manager);
  uint32_t count = rsci_refs_drop(&manager->refs);
  if (count == 0)
    retire(manager);
  else
    tell_watches(manager);
  rsci_calls_unkeep(&manager->calls);
  return count;
}

void rsci_manager_watch(rsca_manager *manager, rsci_watch *watch) {
  rsci_lock_take(&manager->watches_lock);
  watch->next = manager->watches;
  manager->watches = watch;
  rsci_lock_leave(&manager->watches_lock);
}

void rsci_manager_unwatch(rsca_manager *manager, rsci_watch *watch) {
  rsci_lock_take(&manager->watches_lock);
  rsci_watch **place = &manager->watches;
  while (*place != watch)
    place = &(*place)->next;
  *place = watch->next;
  rsci_lock_leave(&manager->watches_lock);
}

static void calls_quiet(rsci_calls *calls) {
  rsca_manager *manager = manager_of_calls(calls);
  tell_watches(manager);
}

/* ---- Actions ---- */

/* Called without the lock: gives back one reference. */
void rsci_manager_drop_action(rsca_manager *manager, rsci_action *action) {
  rsci_lock_take(&manager->lock);
  bool forgotten = --action->refs == 0;
  rsci_lock_leave(&manager->lock);
  if (forgotten)
    rsci_action_forget(action);
}

rsci_action *rsci_manager_find(rsca_manager *manager, const char *name, size_t size) {
  rsci_lock_take(&manager->lock);
  rsci_action *action = rsci_registry_find(&manager->registry, name, size);
  if (action)
    action->refs++;
  rsci_lock_leave(&manager->lock);
  return action;
}

HRESULT rsci_manager_put(rsca_manager *manager, rsci_action *action, const rsci_action *expected) {
  HRESULT status = S_OK;
  rsci_action *replaced = NULL;
  rsci_lock_take(&manager->lock);
  if (manager->state != RSCI_OPEN)
    status = RSCA_E_SHUTDOWN_IN_PROGRESS;
  else if (rsci_registry_find(&manager->registry, action->name, action->name_size) != expected)
    status = RSCA_E_ALREADY_EXISTS;
  else if (!rsci_registry_reserve(&manager->registry))
    status = E_OUTOFMEMORY;
  if (SUCCEEDED(status)) {
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

/* ---- Calls ---- */

static rsca_call *find_in_session(const rsci_session *session, const char *name, size_t size) {
  rsca_call *call = session->calls;
  while (call && (call->action->name_size != size || memcmp(call->action->name, name, size) != 0))
    call = call->session_next;
  return call;
}

HRESULT rsci_manager_run(rsca_manager *manager, rsci_session *session, const char *name, size_t name_size,
                         const char *args, size_t args_size, const rsci_sink *sink, uint64_t *id) {
  if (id)
    *id = 0;
  char *big_args = NULL;
  if (args_size > RSCI_ARGS_KEPT) {
    if (args_size == SIZE_MAX || !(big_args = malloc(args_size + 1)))
      return E_OUTOFMEMORY;
    memcpy(big_args, args, args_size);
    big_args[args_size] = '\0';
  }
  HRESULT status = S_OK;
  rsca_call *call = NULL;
  rsci_lock_take(&manager->lock);
  rsci_action *action = rsci_registry_find(&manager->registry, name, name_size);
  if (action && rsci_engine_is_closed(action->engine))
    status = RPC_E_DISCONNECTED;
  else if (manager->state != RSCI_OPEN)
    status = RSCA_E_SHUTDOWN_IN_PROGRESS;
  else if (!action)
    status = RSCA_E_NOT_FOUND;
  else if (session && find_in_session(session, name, name_size))
    status = RSCA_E_ALREADY_EXISTS;
  else if (manager->calls.live >= manager->config.queue_limit ||
           args_size > manager->config.queue_bytes - manager->calls.bytes)
    status = RSCA_E_BUSY;
  else if (!(call = rsci_calls_accept(&manager->calls, action, args, args_size, big_args, sink)))
    status = E_OUTOFMEMORY;
  uint64_t accepted_id = call ? call->id : 0;
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
  if (!rsci_utf8_valid(name, name_size) || !rsci_utf8_valid(args, args_size))
    return RSCA_E_NO_UNICODE_TRANSLATION;
  return rsci_manager_run(manager, NULL, name, name_size, args, args_size, sink, id);
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

/* Lock held; leaves it. The registration ends as unregistered. */
static HRESULT unregister_call(rsca_manager *manager, rsca_call *call) {
  bool registration = call && call->sink.ops->report;
  bool marked = registration && rsci_call_mark_cancelled(call, rsci_unregistered);
  if (registration)
    rsci_call_leave_session(call); /* free from here on, whenever the final comes */
  rsci_lock_leave(&manager->lock);
  if (marked)
    rsci_call_post_cancel(call);
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
  rsca_manager *manager = manager_of_calls(call->calls);
  keep(manager);
  HRESULT kept = rsci_native_finish(call, status, bytes, size);
  leave(manager);
  return kept;
}

HRESULT rsca_manager_cancel(rsca_manager *manager, uint64_t id, unsigned grace_ms) {
  (void)grace_ms;
  if (!manager)
    return E_INVALIDARG;
  rsci_lock_take(&manager->lock);
  rsca_call *call = rsci_calls_find(&manager->calls, id);
  bool marked = call && rsci_call_mark_cancelled(call, "cancelled");
  rsci_lock_leave(&manager->lock);
  if (marked)
    rsci_call_post_cancel(call);
  return call ? S_OK : RSCA_E_NOT_FOUND;
}

bool rsci_manager_is_open(rsca_manager *manager) {
  rsci_lock_take(&manager->lock);
  bool open = manager->state == RSCI_OPEN;
  rsci_lock_leave(&manager->lock);
  return open;
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

/* ---- Shutdown ---- */

/* Takes the next live call, held, from `*place` on; NULL: there is none. Sets `*marked` if it was not told to stop
 * before. Takes the lock. */
static rsca_call *next_to_cut(rsca_manager *manager, size_t *place, bool *marked) {
  rsci_calls *calls = &manager->calls;
  rsca_call *found = NULL;
  rsci_lock_take(&manager->lock);
  while (!found && calls->table && *place <= calls->mask) {
    rsca_call *call = calls->table[(*place)++];
    if (!call || atomic_load(&call->phase) == RSCI_CALL_ENDED)
      continue;
    found = call;
    *marked = rsci_call_mark_cancelled(call, shutdown_text);
    if (!*marked)
      (void)rsci_refs_add(&call->refs);
  }
  rsci_lock_leave(&manager->lock);
  return found;
}

static void refuse_calls(rsca_manager *manager, bool immediate) {
  rsci_lock_take(&manager->lock);
  if (immediate) {
    manager->state = RSCI_DOWN;
    atomic_store(&manager->calls.cut, shutdown_text);
  } else if (manager->state == RSCI_OPEN) {
    manager->state = RSCI_DRAINING;
  }
  rsci_lock_leave(&manager->lock);
}

/* Refuses new calls and ends every live one: those of this runner here, in a step of it; the others on theirs. Whoever
 * asked for health is told. */
static void cut(rsca_manager *manager) {
  refuse_calls(manager, true);
  size_t place = 0;
  bool marked;
  rsca_call *call;
  while ((call = next_to_cut(manager, &place, &marked)) != NULL) {
    if (call->action->engine->runner == manager->runner)
      rsci_call_cancel_here(call);
    else if (marked)
      rsci_call_post_cancel(call);
    else
      rsci_call_let_go(call); /* its cancel is on the way */
  }
  rsci_health_tell(manager);
}

/* A drain waits for runs; registrations have no end of their own to wait for. */
static void end_registrations(rsca_manager *manager) {
  rsci_calls *calls = &manager->calls;
  rsca_call *marked = NULL;
  size_t place = 0;
  do {
    marked = NULL;
    rsci_lock_take(&manager->lock);
    while (!marked && calls->table && place <= calls->mask) {
      rsca_call *call = calls->table[place++];
      if (call && call->sink.ops->report && rsci_call_mark_cancelled(call, shutdown_text))
        marked = call;
    }
    rsci_lock_leave(&manager->lock);
    if (marked)
      rsci_call_post_cancel(marked);
  } while (marked);
}

static void clear_drain_alarm(rsca_manager *manager) {
  if (manager->drain_alarm.timer.place == 0)
    return;
  rsci_runner_clear_alarm(manager->runner, &manager->drain_alarm);
  rsci_calls_unkeep(&manager->calls); /* what the alarm kept; the caller keeps too */
}

/* Cuts at once, in a step of its own. False: a step is on. The manager is kept by the caller. */
static bool cut_here(rsca_manager *manager) {
  if (!rsci_runner_enter(manager->runner))
    return false;
  clear_drain_alarm(manager);
  cut(manager);
  rsci_runner_leave(manager->runner);
  return true;
}

/* The time for a drain is over. */
static void drained_run(rsci_task *task) {
  rsca_manager *manager = (rsca_manager *)((char *)task - offsetof(rsca_manager, drain_task));
  cut(manager);
  rsci_calls_unkeep(&manager->calls);
}

static const rsci_task_ops drained_ops = {drained_run, drained_run};

static void start_drain(rsca_manager *manager) {
  if (manager->drain_alarm.timer.place > 0)
    return;
  manager->drain_task.ops = &drained_ops;
  manager->drain_task.engine = manager->native;
  manager->drain_alarm.task = &manager->drain_task;
  uint64_t due_ns = rsci_now_ns() + manager->config.drain_ms * RSCI_NS_PER_MS;
  if (rsci_runner_set_alarm(manager->runner, &manager->drain_alarm, due_ns))
    keep(manager);
  else
    cut(manager); /* no memory for patience */
}

static void shutdown_run(rsci_task *task) {
  rsca_manager *manager = (rsca_manager *)((char *)task - offsetof(rsca_manager, shutdown_task));
  rsci_lock_take(&manager->lock);
  manager->shutdown_posted = false;
  bool down = manager->state == RSCI_DOWN;
  rsci_lock_leave(&manager->lock);
  if (down) {
    clear_drain_alarm(manager);
    cut(manager);
  } else {
    start_drain(manager);
  }
  rsci_calls_unkeep(&manager->calls);
}

static const rsci_task_ops shutdown_ops = {shutdown_run, shutdown_run};

/* Has a following step do what the state says. */
static void post_shutdown(rsca_manager *manager) {
  rsci_lock_take(&manager->lock);
  bool post = !manager->shutdown_posted;
  if (post) {
    manager->shutdown_posted = true;
    rsci_calls_keep(&manager->calls);
  }
  rsci_lock_leave(&manager->lock);
  if (!post)
    return;
  manager->shutdown_task.ops = &shutdown_ops;
  /* Never refused: the native engine does not close while the manager is kept. */
  (void)rsci_engine_post(manager->native, &manager->shutdown_task);
}

/* For a manager without an owner, where no Lua state lives that will step: what was posted is run now or never. Inside
 * a step this does nothing, and rsca_manager_step does it after the step. */
static void step_orphan(rsca_manager *manager) {
  size_t ran = 1;
  while (ran > 0 && !rsci_runner_is_pinned(manager->runner))
    (void)rsci_runner_step(manager->runner, 0, &ran);
}

/* Ends what `keep` began. Where the last reference was given back meanwhile, this is the last chance to end what is in
 * flight. */
static void leave(rsca_manager *manager) {
  if (rsci_refs_count(&manager->refs) == 0)
    step_orphan(manager);
  rsci_calls_unkeep(&manager->calls);
}

void rsci_manager_cut_later(rsca_manager *manager) {
  refuse_calls(manager, true);
  post_shutdown(manager);
}

void rsci_manager_finalize(rsca_manager *manager) {
  manager->finalized = true;
}

/* Whether somebody is still to be told something. */
static bool is_awaited(rsca_manager *manager) {
  rsci_lock_take(&manager->lock);
  bool awaited = manager->calls.live > 0 || manager->health.waiting > 0;
  rsci_lock_leave(&manager->lock);
  return awaited;
}

/* Steps until nothing is in flight, or the time is over: then cuts. */
static void drain_here(rsca_manager *manager) {
  uint64_t due_ns = rsci_now_ns() + manager->config.drain_ms * RSCI_NS_PER_MS;
  while (is_awaited(manager)) {
    uint64_t now_ns = rsci_now_ns();
    if (now_ns >= due_ns) {
      (void)cut_here(manager);
      break;
    }
    size_t ran;
    if (!rsci_runner_step(manager->runner, 0, &ran))
      break;
    if (ran == 0 && is_awaited(manager))
      (void)rsci_runner_wait(manager->runner, due_ns - now_ns);
  }
}

HRESULT rsca_manager_shutdown(rsca_manager *manager, bool immediate) {
  if (!manager)
    return E_INVALIDARG;
  keep(manager);
  refuse_calls(manager, immediate);
  if (!immediate)
    end_registrations(manager);
  if (!rsci_runner_may_step(manager->runner))
    post_shutdown(manager);
  else if (immediate)
    (void)cut_here(manager);
  else
    drain_here(manager);
  HRESULT status = is_awaited(manager) ? S_FALSE : S_OK;
  leave(manager);
  return status;
}

/* ---- Stepping ---- */

int rsca_manager_fd(rsca_manager *manager) {
  return rsci_runner_fd(manager->runner);
}

int rsca_manager_timeout_ms(rsca_manager *manager) {
  uint64_t timeout_ns = rsci_runner_timeout_ns(manager->runner);
  if (timeout_ns == UINT64_MAX)
    return -1;
  uint64_t ms = timeout_ns / RSCI_NS_PER_MS + (timeout_ns % RSCI_NS_PER_MS != 0);
  return ms > INT_MAX ? INT_MAX : (int)ms;
}

HRESULT rsca_manager_step(rsca_manager *manager, unsigned budget) {
  if (!manager)
    return E_INVALIDARG;
  size_t ran;
  keep(manager);
  bool stepped = rsci_runner_step(manager->runner, budget, &ran);
  bool some = ran > 0;
  leave(manager);
  if (!stepped && !some)
    return RSCA_E_POSSIBLE_DEADLOCK;
  return some ? S_OK : S_FALSE;
}

/* ---- Interfaces ---- */

IPmCustomActions *rsca_manager_custom_actions(rsca_manager *manager) {
  (void)rsca_manager_add_ref(manager);
  return &manager->custom_actions;
}

IPmCustomActions2 *rsca_manager_custom_actions2(rsca_manager *manager) {
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
