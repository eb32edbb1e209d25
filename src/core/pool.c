#include "pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool_worker.h"
#include "service.h"
#include "stop_signal.h"

enum { STEP_BUDGET = 64 }; /* calls a worker runs before it looks at what waits in its own context */

static _Thread_local const rsci_pool *pool_of_this_thread;

/* ---- The queue ---- */

/* Lock held. */
static void count(rsci_pool *pool, size_t more) {
  size_t queued = atomic_load_explicit(&pool->queued, memory_order_relaxed);
  atomic_store_explicit(&pool->queued, queued + more, memory_order_relaxed);
}

/* Lock held. */
static void put(rsci_pool *pool, rsca_call *call) {
  rsci_pool_queue *into = &pool->queues[call->inner];
  call->pool_next = NULL;
  call->pool_previous = into->tail;
  if (into->tail)
    into->tail->pool_next = call;
  else
    into->head = call;
  into->tail = call;
  call->pooled = true;
  count(pool, 1);
}

/* Lock held. */
static void take(rsci_pool *pool, rsca_call *call) {
  rsci_pool_queue *from = &pool->queues[call->inner];
  if (call->pool_previous)
    call->pool_previous->pool_next = call->pool_next;
  else
    from->head = call->pool_next;
  if (call->pool_next)
    call->pool_next->pool_previous = call->pool_previous;
  else
    from->tail = call->pool_previous;
  call->pooled = false;
  count(pool, SIZE_MAX);
}

/* What has arrived goes into the queues. Lock held. */
static void collect(rsci_pool *pool) {
  if (!atomic_load(&pool->arrived))
    return;
  rsca_call *newest = atomic_exchange(&pool->arrived, NULL), *oldest = NULL;
  while (newest) {
    rsca_call *older = newest->pool_next;
    newest->pool_next = oldest;
    oldest = newest;
    newest = older;
  }
  while (oldest) {
    rsca_call *newer = oldest->pool_next;
    put(pool, oldest);
    oldest = newer;
  }
}

/* In turns: what actions call for goes on, and can't keep out what comes from elsewhere. NULL: nothing is there. Lock
 * held. */
static rsca_call *take_next(rsci_pool *pool) {
  collect(pool);
  rsca_call *call = pool->queues[pool->own_turn].head;
  if (!call)
    call = pool->queues[!pool->own_turn].head;
  if (call) {
    pool->own_turn = !call->inner;
    take(pool, call);
  }
  return call;
}

/* Whether there is a call for whoever looks. Any thread, no lock. */
static bool has_calls(const rsci_pool *pool) {
  return atomic_load_explicit(&pool->queued, memory_order_relaxed) > 0 ||
         atomic_load_explicit(&pool->arrived, memory_order_relaxed);
}

/* Takes those out that have ended; a list by pool_next, onto `ended`. Lock held. */
static rsca_call *take_ended(rsci_pool *pool, const rsci_pool_queue *from, rsca_call *ended) {
  for (rsca_call *call = from->head, *next; call; call = next) {
    next = call->pool_next;
    if (atomic_load(&call->phase) != RSCI_CALL_ENDED)
      continue;
    take(pool, call);
    call->pool_next = ended;
    ended = call;
  }
  return ended;
}

/* Lets those go that have ended: nobody may be left who takes them. No lock held. */
static void sweep(rsci_pool *pool) {
  rsci_lock_take(&pool->lock);
  collect(pool);
  rsca_call *ended = take_ended(pool, &pool->queues[1], take_ended(pool, &pool->queues[0], NULL));
  rsci_lock_leave(&pool->lock);
  while (ended) {
    rsca_call *next = ended->pool_next;
    rsci_call_let_go(ended);
    ended = next;
  }
}

/* A call waits: wakes a worker that sleeps, if there is one and nobody looks around. No lock held. */
static void wake_one(rsci_pool *pool) {
  if (!atomic_load(&pool->idle) || atomic_load(&pool->looking) > 0)
    return;
  rsci_runner *runner = NULL;
  rsci_lock_take(&pool->lock);
  rsci_worker *w = atomic_load(&pool->idle);
  if (w) {
    atomic_store(&pool->idle, w->next_idle);
    w->idle = false;
    runner = w->runner;
    rsci_runner_hold(runner);
  }
  rsci_lock_leave(&pool->lock);
  if (!runner)
    return;
  rsci_runner_kick(runner); /* not inside the lock: it would be the first thing to want that */
  rsci_runner_release(runner);
}

static bool front_submit(rsci_engine *engine, rsca_call *call) {
  rsci_pool *pool = ((rsci_pool_front *)engine)->pool;
  rsca_call *newest = atomic_load_explicit(&pool->arrived, memory_order_relaxed);
  do
    call->pool_next = newest;
  while (!atomic_compare_exchange_weak(&pool->arrived, &newest, call));
  /* From here on it is not ours to read. Whoever goes to sleep, or looks around no more, looks for it after that. */
  wake_one(pool);
  /* What a shutdown has ended before it arrived, it did not find. */
  if (atomic_load(&pool->manager->calls.cut))
    sweep(pool);
  return true;
}

static bool front_withdraw(rsci_engine *engine, rsca_call *call) {
  rsci_pool *pool = ((rsci_pool_front *)engine)->pool;
  rsci_lock_take(&pool->lock);
  collect(pool);
  bool there = call->pooled;
  if (there)
    take(pool, call);
  rsci_lock_leave(&pool->lock);
  return there;
}

/* The next call for a worker. */
static rsci_task *feed(void *feeder) {
  rsci_worker *w = feeder;
  rsci_pool *pool = w->pool;
  if (!w->serving || atomic_load(&w->retiring) || !has_calls(pool))
    return NULL;
  if (pool->script && !w->script)
    return NULL; /* its state is being made, or goes: that steps, too */
  rsci_lock_take(&pool->lock);
  rsca_call *call = take_next(pool);
  rsci_lock_leave(&pool->lock);
  if (!call)
    return NULL;
  if (has_calls(pool)) /* nobody may have been woken for the next, while this one looked around */
    wake_one(pool);
  /* Where the script could not be loaded, its calls are cancelled, and end as they start. */
  bool native = call->action->engine == &pool->native_front->engine || !w->script;
  rsci_engine *engine = native ? w->native : w->script;
  rsci_engine_hold(engine);
  atomic_store_explicit(&call->engine, engine, memory_order_release); /* seen by whoever sees that it has begun */
  call->task.engine = engine;
  return &call->task;
}

static bool has_feed(void *feeder) {
  const rsci_worker *w = feeder;
  return has_calls(w->pool);
}

void rsci_pool_rebuild_queues(rsci_pool *pool) {
  const rsci_calls *calls = &pool->manager->calls;
  atomic_store(&pool->arrived, NULL);
  atomic_store(&pool->looking, 0);
  atomic_store(&pool->queued, 0);
  memset(pool->queues, 0, sizeof pool->queues);
  rsci_lock_take(calls->lock);
  for (size_t i = 1; calls->table && i <= calls->mask + 1; i++) { /* from the oldest on */
    rsca_call *call = calls->table[(calls->last_id + i) & calls->mask];
    if (call && atomic_load(&call->phase) == RSCI_CALL_QUEUED && atomic_load(&call->engine) == call->action->engine)
      put(pool, call);
  }
  rsci_lock_leave(calls->lock);
}

/* ---- Fronts ---- */

static void front_turn(rsci_engine *engine, rsci_runner *runner) {
  rsci_task *task;
  while ((task = rsci_runner_next(runner, engine)) != NULL)
    task->ops->run(task);
}

static void front_forget(rsci_engine *engine, rsci_action *action) {
  (void)engine;
  (void)action; /* the functions of a script go with its contexts */
}

static void front_destroy(rsci_engine *engine) {
  rsci_engine_fini(engine);
  free(engine);
}

static const rsci_engine_ops native_front_ops = {.turn = front_turn,
                                                 .forget = rsci_native_forget,
                                                 .destroy = front_destroy,
                                                 .submit = front_submit,
                                                 .withdraw = front_withdraw};
static const rsci_engine_ops script_front_ops = {.turn = front_turn,
                                                 .forget = front_forget,
                                                 .destroy = front_destroy,
                                                 .submit = front_submit,
                                                 .withdraw = front_withdraw};

static rsci_pool_front *make_front(rsci_pool *pool, const rsci_engine_ops *ops) {
  rsci_pool_front *made = malloc(sizeof *made);
  if (made && !rsci_engine_init(&made->engine, ops, pool->manager->runner)) {
    free(made);
    made = NULL;
  }
  if (made)
    made->pool = pool;
  return made;
}

rsci_engine *rsci_pool_native(rsci_pool *pool) {
  return &pool->native_front->engine;
}

rsci_engine *rsci_pool_script(rsci_pool *pool) {
  return &pool->script_front->engine;
}

/* ---- Life ---- */

/* One that is not started yet. NULL: out of memory. */
rsci_worker *rsci_worker_create(rsci_pool *pool) {
  rsci_worker *w = calloc(1, sizeof *w);
  if (!w)
    return NULL;
  w->pool = pool;
  w->runner = rsci_runner_create();
  w->native = w->runner ? rsci_native_create(w->runner) : NULL;
  if (!w->native) {
    if (w->runner)
      rsci_runner_release(w->runner);
    free(w);
    return NULL;
  }
  w->runner->feed = feed;
  w->runner->has_feed = has_feed;
  w->runner->feeder = w;
  atomic_init(&w->retiring, false);
  return w;
}

void rsci_worker_free(rsci_worker *w) {
  rsci_engine_close(w->native);
  rsci_engine_release(w->native);
  rsci_runner_release(w->runner);
  free(w);
}

/* Room for all there will ever be: who waits for one that is stuck is bounded. */
static size_t most_workers(size_t wanted) {
  return wanted + (wanted > 4 ? wanted : 4);
}

rsci_pool *rsci_pool_create(rsca_manager *manager, unsigned workers) {
  size_t capacity = most_workers(workers);
  rsci_pool *pool = calloc(1, sizeof *pool + capacity * sizeof(rsci_worker *));
  if (!pool)
    return NULL;
  if (!rsci_lock_init(&pool->lock)) {
    free(pool);
    return NULL;
  }
  pool->manager = manager;
  pool->wanted = workers;
  pool->forks = rsci_forks();
  atomic_init(&pool->done, false);
  atomic_init(&pool->loading, false);
  atomic_init(&pool->gave_up, false);
  pool->capacity = capacity;
  pool->native_front = make_front(pool, &native_front_ops);
  pool->script_front = make_front(pool, &script_front_ops);
  bool made = pool->native_front && pool->script_front;
  while (made && pool->count < pool->wanted) {
    rsci_worker *w = rsci_worker_create(pool);
    made = w != NULL;
    if (w)
      pool->workers[pool->count++] = w;
  }
  if (!made) {
    rsci_pool_free(pool);
    return NULL;
  }
  return pool;
}

/* All its threads have ended, or never were. */
void rsci_pool_free(rsci_pool *pool) {
  for (size_t i = 0; i < pool->count; i++)
    rsci_worker_free(pool->workers[i]);
  if (pool->script)
    pool->script->free(pool->script_user);
  if (pool->native_front)
    rsci_engine_release(&pool->native_front->engine);
  if (pool->script_front)
    rsci_engine_release(&pool->script_front->engine);
  rsci_lock_fini(&pool->lock);
  free(pool);
}

void rsci_worker_close_script(rsci_worker *w) {
  rsci_lock_take(&w->pool->lock);
  rsci_engine *script = w->script;
  w->script = NULL;
  rsci_lock_leave(&w->pool->lock);
  if (!script)
    return;
  w->pool->script->close(w->pool->script_user, script);
  rsci_engine_release(script);
}

/* One that has a context and no thread; NULL: there is none. One whose script is being loaded has none yet, and may go
 * at any time with who waits for that. */
static rsci_worker *find_unstarted(rsci_pool *pool) {
  rsci_worker *found = NULL;
  rsci_lock_take(&pool->lock);
  for (size_t i = 0; i < pool->count && !found; i++)
    if (!pool->workers[i]->started && pool->workers[i]->script)
      found = pool->workers[i];
  rsci_lock_leave(&pool->lock);
  return found;
}

void rsci_pool_discard(rsci_pool *pool) {
  rsci_worker *w;
  while ((w = find_unstarted(pool)) != NULL) {
    rsci_runner_move_here(w->runner);
    rsci_worker_close_script(w);
  }
}

/* ---- Workers ---- */

/* Lock held. */
static void take_from_idle(rsci_worker *w) {
  rsci_pool *pool = w->pool;
  rsci_worker *before = NULL, *at = atomic_load(&pool->idle);
  for (; at != w; at = at->next_idle)
    before = at;
  if (before)
    before->next_idle = w->next_idle;
  else
    atomic_store(&pool->idle, w->next_idle);
  w->idle = false;
}

static void leave_idle(rsci_worker *w) {
  rsci_lock_take(&w->pool->lock);
  if (w->idle)
    take_from_idle(w);
  rsci_lock_leave(&w->pool->lock);
}

/* False: there is a call after all. */
static bool go_idle(rsci_worker *w) {
  rsci_pool *pool = w->pool;
  rsci_lock_take(&pool->lock);
  w->next_idle = atomic_load(&pool->idle);
  w->idle = true;
  atomic_store(&pool->idle, w);
  /* Looked at after this was said: what arrives from here on wakes. */
  bool idle = atomic_load(&w->retiring) || (atomic_load(&pool->queued) == 0 && !atomic_load(&pool->arrived));
  if (!idle)
    take_from_idle(w);
  rsci_lock_leave(&pool->lock);
  return idle;
}

static bool look_around(rsci_worker *w) {
  rsci_pool *pool = w->pool;
  (void)atomic_fetch_add(&pool->looking, 1);
  bool found = rsci_runner_linger(w->runner, UINT64_MAX);
  (void)atomic_fetch_sub(&pool->looking, 1);
  return found;
}

static void serve(rsci_worker *w) {
  w->serving = true;
  while (!atomic_load(&w->retiring)) {
    size_t ran;
    (void)rsci_runner_step(w->runner, STEP_BUDGET, &ran);
    if (ran > 0)
      continue;
    w->runner->feeds = true; /* what comes meanwhile is begun before what waits in its context */
    if (look_around(w) || !go_idle(w))
      continue;
    if (!atomic_load(&w->retiring))
      (void)rsci_runner_sleep(w->runner, UINT64_MAX);
    leave_idle(w);
  }
  w->serving = false;
  if (has_calls(w->pool)) /* those it was to find are others' */
    wake_one(w->pool);
}

static void *worker_main(void *user) {
  rsci_worker *w = user;
  rsci_pool *pool = w->pool;
  rsca_manager *manager = pool->manager;
  char name[16];
  (void)snprintf(name, sizeof name, "rsca-worker-%zu", w->number % 1000);
  rsci_thread_set_name(name);
  pool_of_this_thread = pool;
  rsci_runner_move_here(w->runner);
  if (pool->script && !w->script) {
    rsci_engine *script = pool->script->open(pool->script_user, w->runner);
    rsci_lock_take(&pool->lock);
    w->script = script;
    rsci_lock_leave(&pool->lock);
  }
  if (w->script || !pool->script) {
    rsci_lock_take(&pool->lock);
    pool->retry_after_ns = 0; /* workers can be had */
    rsci_lock_leave(&pool->lock);
    serve(w);
  }
  rsci_worker_close_script(w);
  rsci_engine_close(w->native);
  rsci_lock_take(&pool->lock);
  w->exited = true;
  rsci_lock_leave(&pool->lock);
  rsci_service_kick(&manager->service);
  rsci_calls_unkeep(&manager->calls);
  return NULL;
}

/* Lock held. */
bool rsci_worker_start(rsci_worker *w, size_t number) {
  w->number = number;
  /* Before it runs: it gives this back when it ends. */
  rsci_manager_keep(w->pool->manager);
  w->started = rsci_thread_start(&w->thread, rsci_stop_signal(), worker_main, w);
  if (!w->started)
    rsci_calls_unkeep(&w->pool->manager->calls);
  return w->started;
}

bool rsci_pool_start(rsci_pool *pool) {
  bool started = false;
  rsci_lock_take(&pool->lock);
  if (atomic_load(&pool->loading)) { /* who waits for that starts them then */
    pool->start_wanted = true;
    rsci_lock_leave(&pool->lock);
    return true;
  }
  for (size_t i = 0; i < pool->count && !pool->started; i++)
    started = rsci_worker_start(pool->workers[i], i + 1) || started;
  pool->started = pool->started || started;
  started = pool->started;
  rsci_lock_leave(&pool->lock);
  return started;
}

/* ---- Whose thread this is ---- */

void rsci_pool_enter(const rsci_pool *pool) {
  pool_of_this_thread = pool;
}

bool rsci_pool_is_worker(const rsci_pool *pool) {
  return pool_of_this_thread == pool;
}

bool rsci_pool_is_here(rsci_pool *pool) {
  return pool_of_this_thread == pool || rsci_service_is_here(&pool->manager->service);
}
