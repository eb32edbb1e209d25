#include "shutdown.h"

#include "health.h"
#include "inherit.h"
#include "inspect.h"

static const char shutdown_text[] = "the manager was shut down";

/* Takes the next live call, held, from `*place` on; NULL: there is none. Sets `*marked` if it was not told to stop
 * before. Takes the lock. */
static rsca_call *next_to_cut(rsca_manager *manager, size_t *place, bool *marked) {
  rsca_call *call;
  rsci_lock_take(&manager->lock);
  do
    call = rsci_calls_next(&manager->calls, place);
  while (call && atomic_load(&call->phase) == RSCI_CALL_ENDED);
  if (call) {
    *marked = rsci_call_mark_cancelled(call, shutdown_text);
    if (!*marked)
      (void)rsci_refs_add(&call->refs);
  }
  rsci_lock_leave(&manager->lock);
  return call;
}

/* Keeps what was in flight, for whoever asks later: the first time that there is something. */
static void note_cut(rsca_manager *manager) {
  if (manager->cut_calls || rsci_manager_live(manager) == 0)
    return;
  rsci_snapshot *snapshot = rsci_snapshot_take(manager);
  if (!snapshot)
    return;
  rsci_snapshot_detach(snapshot);
  rsci_lock_take(&manager->lock);
  rsci_snapshot *before = manager->cut_calls;
  if (!before)
    manager->cut_calls = snapshot;
  rsci_lock_leave(&manager->lock);
  if (before)
    rsci_snapshot_release(snapshot);
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
  note_cut(manager);
  refuse_calls(manager, true);
  size_t place = 0;
  bool marked;
  rsca_call *call;
  while ((call = next_to_cut(manager, &place, &marked)) != NULL) {
    if (atomic_load(&call->engine)->runner == manager->runner)
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
  size_t place = 0;
  rsca_call *call;
  do {
    rsci_lock_take(&manager->lock);
    do
      call = rsci_calls_next(&manager->calls, &place);
    while (call && !(call->sink.ops->report && rsci_call_mark_cancelled(call, shutdown_text)));
    rsci_lock_leave(&manager->lock);
    if (call)
      rsci_call_post_cancel(call);
  } while (call);
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
    rsci_manager_keep(manager);
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
void rsci_manager_step_orphan(rsca_manager *manager) {
  if (manager->pool)
    return;
  rsci_runner *runner = manager->runner;
  size_t ran = 1;
  /* The inbox too: what is posted while a last, empty step is on its way out finds nobody else to run it. */
  while ((ran > 0 || atomic_load(&runner->inbox)) && !rsci_runner_is_pinned(runner))
    if (!rsci_runner_step(runner, 0, &ran))
      break;
}

void rsci_manager_cut_later(rsca_manager *manager) {
  refuse_calls(manager, true);
  post_shutdown(manager);
}

void rsci_manager_cut_orphan(rsca_manager *manager) {
  /* Where no Lua state lives, nobody can step any more: then any thread will do. */
  bool here = rsci_runner_may_step(manager->runner) || !rsci_runner_is_pinned(manager->runner);
  if (manager->finalized || !here || !cut_here(manager))
    rsci_manager_cut_later(manager);
  rsci_manager_step_orphan(manager);
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

/* Cuts here, or where another thread has begun to step, in its following steps. */
static void cut_now(rsca_manager *manager) {
  if (cut_here(manager))
    return;
  refuse_calls(manager, true);
  post_shutdown(manager);
}

/* Steps until nothing is in flight, or the time is over: then cuts. */
static void drain_here(rsca_manager *manager) {
  uint64_t due_ns = rsci_now_ns() + manager->config.drain_ms * RSCI_NS_PER_MS;
  while (is_awaited(manager)) {
    uint64_t now_ns = rsci_now_ns();
    if (now_ns >= due_ns) {
      cut_now(manager);
      break;
    }
    size_t ran;
    if (!rsci_runner_step(manager->runner, 0, &ran)) {
      post_shutdown(manager); /* another thread has begun to step: it goes on with the drain */
      break;
    }
    if (ran == 0 && is_awaited(manager))
      (void)rsci_runner_wait(manager->runner, due_ns - now_ns);
  }
}

/* What was cut is told in steps where the consumer is Lua. One on another thread is not waited for. */
static void tell_here(rsca_manager *manager) {
  uint64_t due_ns = rsci_now_ns() + manager->config.drain_ms * RSCI_NS_PER_MS;
  size_t ran = 1;
  while (ran > 0 && is_awaited(manager) && rsci_now_ns() < due_ns && rsci_runner_step(manager->runner, 0, &ran)) {
  }
}

/* ---- Pools: the service does it ---- */

void rsci_manager_cut_pool(rsca_manager *manager) {
  note_cut(manager);
  refuse_calls(manager, true);
  size_t place = 0;
  bool marked;
  rsca_call *call;
  while ((call = next_to_cut(manager, &place, &marked)) != NULL) {
    rsci_manager_expect_end(manager, call, rsci_now_ns());
    if (marked)
      rsci_call_post_cancel(call);
    else
      rsci_call_let_go(call); /* its cancel is on the way */
  }
  rsci_health_tell(manager);
}

void rsci_manager_end_calls_on(rsca_manager *manager, const rsci_runner *runner) {
  static const char text[] = "its worker does not answer any more: another call holds it up";
  size_t place = 0;
  for (;;) {
    rsca_call *call;
    rsci_lock_take(&manager->lock);
    do
      call = rsci_calls_next(&manager->calls, &place);
    while (call && !(atomic_load(&call->phase) == RSCI_CALL_RUNNING && atomic_load(&call->engine)->runner == runner));
    if (call)
      (void)rsci_refs_add(&call->refs);
    rsci_lock_leave(&manager->lock);
    if (!call)
      return;
    rsci_call_end(call, RPC_E_DISCONNECTED, text);
    rsci_call_let_go(call);
  }
}

HRESULT rsci_manager_begin_shutdown(rsca_manager *manager, bool immediate) {
  rsci_manager_drop_inherited(manager);
  rsci_lock_take(&manager->lock);
  atomic_store(&manager->calls.watched, true);
  bool runs = manager->service.phase != RSCI_SERVICE_NONE;
  rsci_lock_leave(&manager->lock);
  refuse_calls(manager, immediate);
  if (!immediate)
    end_registrations(manager);
  if (runs)
    rsci_service_kick(&manager->service);
  else
    rsci_pool_discard(manager->pool);
  return runs && !rsci_pool_is_done(manager->pool) ? S_FALSE : S_OK;
}

static HRESULT shut_pool_down(rsca_manager *manager, bool immediate) {
  bool under_way = rsci_manager_begin_shutdown(manager, immediate) == S_FALSE;
  if (under_way && rsci_pool_is_here(manager->pool)) {
    rsci_service_leave_alone(&manager->service);
    return S_FALSE;
  }
  rsci_service_join(&manager->service); /* also where it has ended before */
  return is_awaited(manager) ? S_FALSE : S_OK;
}

/* `tells`: in steps, too, until all have been told. */
static HRESULT shut_down(rsca_manager *manager, bool immediate, bool tells) {
  rsci_manager_keep(manager);
  if (manager->pool) {
    HRESULT pool_status = shut_pool_down(manager, immediate);
    rsci_calls_unkeep(&manager->calls);
    return pool_status;
  }
  refuse_calls(manager, immediate);
  if (!immediate)
    end_registrations(manager);
  bool inside = rsci_runner_is_stepped_here(manager->runner);
  if (!rsci_runner_may_step(manager->runner))
    post_shutdown(manager);
  else if (!immediate)
    drain_here(manager);
  else
    cut_now(manager);
  if (tells && !inside && rsci_runner_may_step(manager->runner))
    tell_here(manager);
  HRESULT status = inside || is_awaited(manager) ? S_FALSE : S_OK;
  rsci_manager_unkeep(manager);
  return status;
}

HRESULT rsca_manager_shutdown(rsca_manager *manager, bool immediate) {
  return manager ? shut_down(manager, immediate, true) : E_INVALIDARG;
}

void rsci_manager_end(rsca_manager *manager) {
  (void)shut_down(manager, true, false);
}
