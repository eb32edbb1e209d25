#include "service.h"

#include <string.h>

#include "manager.h"
#include "pool.h"

/* How long what was made to raise may take to do so before its call is answered without it. */
#define ANSWER_NS (100 * RSCI_NS_PER_MS)

/* What a script in a worker pays for a thread of its manager's: its stack. */
enum { THREAD_BYTES = 512 * 1024 };

/* How long before a call's time is over the thread gets up: longer than it takes to be woken, nearly always. */
#define EARLY_NS (RSCI_NS_PER_MS / 10)

bool rsci_service_init(rsci_service *service, rsca_manager *manager, rsci_runner *runner) {
  *service = (rsci_service){.manager = manager, .runner = runner};
  if (!rsci_condition_init(&service->done))
    return false;
  if (runner)
    rsci_runner_hold(runner);
  atomic_init(&service->stop, false);
  atomic_init(&service->next_ns, UINT64_MAX);
  return true;
}

void rsci_service_fini(rsci_service *service) {
  if (service->runner)
    rsci_runner_release(service->runner);
  rsci_condition_fini(&service->done);
}

/* ---- Calls that are due ---- */

/* Lock held. The next call from `*place` on that is due, held; NULL: none. Keeps the earliest of the others. */
static rsca_call *take_due(rsci_calls *calls, size_t *place, uint64_t now_ns, uint64_t *next_ns) {
  rsca_call *call;
  while ((call = rsci_calls_next(calls, place)) != NULL) {
    if (atomic_load(&call->phase) == RSCI_CALL_ENDED)
      continue;
    uint64_t due_ns = atomic_load_explicit(&call->due_ns, memory_order_relaxed);
    if (due_ns <= now_ns && atomic_load(&call->phase) == RSCI_CALL_NEW)
      due_ns = now_ns + RSCI_NS_PER_MS; /* it is being queued right now */
    if (due_ns > now_ns) {
      if (due_ns < *next_ns)
        *next_ns = due_ns;
      continue;
    }
    (void)rsci_refs_add(&call->refs);
    return call;
  }
  return NULL;
}

/* Whether its runner has begun with something else since this was last asked. */
static bool has_moved(rsca_call *call) {
  unsigned seen = call->seen_progress;
  call->seen_progress = atomic_load_explicit(&atomic_load(&call->engine)->runner->progress, memory_order_relaxed);
  return call->seen_progress != seen;
}

/* Its time has come: it is told to stop. */
static void stop_call(rsci_service *service, rsca_call *call) {
  rsci_lock_take(&service->manager->lock);
  bool marked = rsci_call_mark_cancelled(call, rsci_timed_out);
  rsci_lock_leave(&service->manager->lock);
  if (rsci_call_end_queued(call)) {
    if (marked)
      rsci_call_let_go(call);
    return;
  }
  call->watch = RSCI_WATCH_STOPPED;
  (void)has_moved(call);
  atomic_store(&call->due_ns, rsci_now_ns() + ANSWER_NS);
  rsci_call_stop(call);
  if (marked)
    rsci_call_post_cancel(call);
}

/* It was told, and has not ended yet. */
static void attend_stopped(rsci_service *service, rsca_call *call) {
  if (call->watch == RSCI_WATCH_STOPPED && atomic_load(&call->ends)) {
    /* It ends, and cleans up: that is given its time. */
    call->watch = RSCI_WATCH_RAISED;
    atomic_store(&call->due_ns, rsci_now_ns() + service->manager->config.clean_up_ms * RSCI_NS_PER_MS + ANSWER_NS);
    return;
  }
  rsci_engine *engine = atomic_load(&call->engine);
  bool stuck = atomic_load(&engine->running) == call;
  if (stuck && has_moved(call)) {
    /* One of many that end: its turn has only just come. */
    atomic_store(&call->due_ns, rsci_now_ns() + ANSWER_NS);
    return;
  }
  atomic_store(&call->due_ns, UINT64_MAX);
  rsci_call_end_cancelled(call);
  if (stuck && service->manager->pool)
    rsci_pool_set_aside(service->manager->pool, engine->runner);
}

/* Ends what is due. Returns when the next will be. */
static uint64_t look(rsci_service *service) {
  rsca_manager *manager = service->manager;
  uint64_t now_ns = rsci_now_ns(), next_ns = UINT64_MAX;
  size_t place = 0;
  for (;;) {
    rsci_lock_take(&manager->lock);
    rsca_call *call = take_due(&manager->calls, &place, now_ns, &next_ns);
    if (!call) {
      /* While calls come, what begins meanwhile is found in time, and need not wake this thread. */
      uint64_t shortest_ns = atomic_load(&manager->shortest_limit_ns);
      bool busy = manager->calls.live > 0 || manager->calls.accepted != service->seen;
      if (busy && shortest_ns < next_ns - now_ns)
        next_ns = now_ns + shortest_ns;
      service->seen = manager->calls.accepted;
      atomic_store(&service->next_ns, next_ns);
    }
    rsci_lock_leave(&manager->lock);
    if (!call)
      return next_ns;
    if (call->watch == RSCI_WATCH)
      stop_call(service, call);
    else
      attend_stopped(service, call);
    uint64_t due_ns = atomic_load(&call->due_ns);
    if (atomic_load(&call->phase) != RSCI_CALL_ENDED && due_ns < next_ns)
      next_ns = due_ns;
    rsci_call_let_go(call);
  }
}

/* ---- The thread ---- */

/* A thread that sleeps is woken late: for the end of a call's time it is up before that, and watches the clock. What is
 * up next is asked anew then, so that a call that has ended is not waited for. */
static void wait_for(rsci_service *service, uint64_t call_ns, uint64_t pool_ns) {
  uint64_t now_ns = rsci_now_ns(), early_ns = call_ns;
  if (rsci_processors() > 1 && call_ns != UINT64_MAX) {
    if (call_ns > now_ns && call_ns - now_ns <= EARLY_NS) {
      rsci_runner_watch(service->runner, call_ns);
      return;
    }
    early_ns = call_ns - EARLY_NS;
  }
  uint64_t next_ns = early_ns < pool_ns ? early_ns : pool_ns;
  if (next_ns > now_ns)
    (void)rsci_runner_sleep(service->runner, next_ns == UINT64_MAX ? UINT64_MAX : next_ns - now_ns);
}

static void *service_main(void *user) {
  rsci_service *service = user;
  rsca_manager *manager = service->manager;
  rsci_thread_set_name("rsca-service");
  rsci_runner_move_here(service->runner);
  rsci_thread_be_punctual();
  while (!atomic_load(&service->stop)) {
    size_t ran;
    (void)rsci_runner_step(service->runner, 0, &ran);
    uint64_t call_ns = look(service), pool_ns = UINT64_MAX;
    if (manager->pool) {
      pool_ns = rsci_pool_attend(manager->pool);
      if (rsci_pool_is_done(manager->pool) && !rsci_health_is_posted(manager))
        break;
    }
    if (ran == 0 && !atomic_load(&service->stop))
      wait_for(service, call_ns, pool_ns);
  }
  if (manager->pool)
    rsci_pool_close(manager->pool);
  rsci_lock_take(&manager->lock);
  bool alone = service->alone;
  service->phase = alone ? RSCI_SERVICE_JOINED : RSCI_SERVICE_DONE;
  rsci_condition_tell_all(&service->done);
  rsci_lock_leave(&manager->lock);
  if (alone)
    (void)pthread_detach(pthread_self());
  rsci_manager_tell_watches(manager);
  rsci_budget_discharge(manager->calls.account, THREAD_BYTES);
  rsci_calls_unkeep(&manager->calls);
  return NULL;
}

/* Lock held. */
static bool start_thread(rsci_service *service) {
  rsci_budget *account = service->manager->calls.account;
  if (!service->runner && !(service->runner = rsci_runner_create()))
    return false;
  if (!rsci_budget_charge(account, THREAD_BYTES))
    return false;
  bool started = rsci_thread_start(&service->thread, 0, service_main, service);
  if (!started)
    rsci_budget_discharge(account, THREAD_BYTES);
  return started;
}

bool rsci_service_start(rsci_service *service) {
  rsca_manager *manager = service->manager;
  rsci_lock_take(&manager->lock);
  if (service->phase == RSCI_SERVICE_NONE && start_thread(service)) {
    service->phase = RSCI_SERVICE_RUNS;
    rsci_calls_keep(&manager->calls);
  }
  bool runs = service->phase == RSCI_SERVICE_RUNS;
  rsci_lock_leave(&manager->lock);
  return runs;
}

void rsci_service_kick(rsci_service *service) {
  if (service->runner)
    rsci_runner_kick(service->runner);
}

void rsci_service_expect(rsci_service *service, uint64_t due_ns) {
  uint64_t next_ns = atomic_load(&service->next_ns);
  while (due_ns < next_ns)
    if (atomic_compare_exchange_weak(&service->next_ns, &next_ns, due_ns)) {
      rsci_service_kick(service);
      return;
    }
}

bool rsci_service_is_here(rsci_service *service) {
  rsci_lock_take(&service->manager->lock);
  bool here = service->phase == RSCI_SERVICE_RUNS && rsci_thread_is_self(service->thread);
  rsci_lock_leave(&service->manager->lock);
  return here;
}

void rsci_service_join(rsci_service *service) {
  rsca_manager *manager = service->manager;
  rsci_lock_take(&manager->lock);
  while (service->phase == RSCI_SERVICE_RUNS)
    rsci_condition_wait(&service->done, &manager->lock);
  bool join = service->phase == RSCI_SERVICE_DONE;
  if (join)
    service->phase = RSCI_SERVICE_JOINED;
  rsci_lock_leave(&manager->lock);
  if (join)
    (void)pthread_join(service->thread, NULL);
}

void rsci_service_leave_alone(rsci_service *service) {
  rsci_lock_take(&service->manager->lock);
  service->alone = service->phase == RSCI_SERVICE_RUNS;
  rsci_lock_leave(&service->manager->lock);
}

void rsci_service_stop(rsci_service *service) {
  rsci_lock_take(&service->manager->lock);
  bool runs = service->phase != RSCI_SERVICE_NONE;
  service->alone = service->phase == RSCI_SERVICE_RUNS && rsci_thread_is_self(service->thread);
  bool join = runs && !service->alone;
  rsci_lock_leave(&service->manager->lock);
  if (!runs)
    return;
  atomic_store(&service->stop, true);
  rsci_service_kick(service);
  if (join)
    rsci_service_join(service);
}
