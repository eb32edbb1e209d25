#include "pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager.h"
#include "service.h"
#include "shutdown.h"
#include "stop_signal.h"

#define DEFAULT_PATIENCE_NS (30 * RSCI_NS_PER_SECOND)

/* How long after one that failed another worker is made; each time twice as long. */
#define SOONEST_RETRY_NS (100 * RSCI_NS_PER_MS)
#define LATEST_RETRY_NS (10 * RSCI_NS_PER_SECOND)

enum { STEP_BUDGET = 64 }; /* calls a worker runs before it looks at what waits in its own context */

typedef struct worker worker;

struct worker {
  worker *next_idle;
  rsci_pool *pool;
  rsci_thread thread;
  rsci_runner *runner;  /* held */
  rsci_engine *native;  /* held */
  rsci_engine *script;  /* held; NULL: not open */
  atomic_bool retiring; /* takes no more calls */
  bool serving;         /* takes calls: a step made while its context is opened or closed does not; its thread */
  /* The pool's lock: */
  bool idle, started, exited, set_aside, detached;
  /* The service's: what it saw of its progress, and since when that has not changed. */
  unsigned seen_progress;
  uint64_t seen_ns;
};

/* Calls by pool_next. */
typedef struct queue {
  rsca_call *head, *tail;
} queue;

/* An engine that passes calls on. */
typedef struct front {
  rsci_engine engine;
  rsci_pool *pool;
} front;

struct rsci_pool {
  rsca_manager *manager;
  size_t wanted;
  front *native_front, *script_front; /* held */
  const rsci_script_ops *script;      /* NULL: none */
  void *script_user;

  atomic_size_t queued;
  rsci_lock lock;  /* Protects what follows; a runner may be kicked inside it */
  queue queues[2]; /* of others' calls, and of those that its own threads made */
  bool own_turn;   /* whose turn it is */
  worker *idle;
  size_t count, capacity;
  bool started;
  atomic_bool loading; /* its script is; threads wait for that */
  atomic_bool gave_up; /* on a script that did not come back: there will be no other */
  bool start_wanted;
  unsigned forks; /* the process that its threads are of */

  /* The service's thread. */
  bool cut, ending;
  atomic_bool done;
  uint64_t drain_ns, kill_ns;
  uint64_t retry_ns, retry_after_ns; /* when a worker is made again, and how long after the next that fails */

  worker *workers[]; /* all there ever were; the lock */
};

static _Thread_local const rsci_pool *pool_of_this_thread;

/* ---- The queue ---- */

static void put(rsci_pool *pool, rsca_call *call) {
  queue *into = &pool->queues[call->inner];
  call->pool_next = NULL;
  call->pool_previous = into->tail;
  if (into->tail)
    into->tail->pool_next = call;
  else
    into->head = call;
  into->tail = call;
  call->pooled = true;
  (void)atomic_fetch_add(&pool->queued, 1);
}

static void take(rsci_pool *pool, rsca_call *call) {
  queue *from = &pool->queues[call->inner];
  if (call->pool_previous)
    call->pool_previous->pool_next = call->pool_next;
  else
    from->head = call->pool_next;
  if (call->pool_next)
    call->pool_next->pool_previous = call->pool_previous;
  else
    from->tail = call->pool_previous;
  call->pooled = false;
  (void)atomic_fetch_sub(&pool->queued, 1);
}

/* In turns: what actions call for goes on, and can't keep out what comes from elsewhere. NULL: nothing is there. */
static rsca_call *take_next(rsci_pool *pool) {
  rsca_call *call = pool->queues[pool->own_turn].head;
  if (!call)
    call = pool->queues[!pool->own_turn].head;
  if (call) {
    pool->own_turn = !call->inner;
    take(pool, call);
  }
  return call;
}

static bool front_submit(rsci_engine *engine, rsca_call *call) {
  rsci_pool *pool = ((front *)engine)->pool;
  rsci_lock_take(&pool->lock);
  /* Whoever has ended it already did not find it here, and nobody may be left to take it. */
  bool ended = atomic_load(&call->phase) == RSCI_CALL_ENDED;
  if (!ended)
    put(pool, call);
  worker *free_one = ended ? NULL : pool->idle;
  if (free_one) {
    pool->idle = free_one->next_idle;
    free_one->idle = false;
    rsci_runner_kick(free_one->runner);
  }
  rsci_lock_leave(&pool->lock);
  if (ended)
    rsci_call_let_go(call);
  return true;
}

static bool front_withdraw(rsci_engine *engine, rsca_call *call) {
  rsci_pool *pool = ((front *)engine)->pool;
  rsci_lock_take(&pool->lock);
  bool there = call->pooled;
  if (there)
    take(pool, call);
  rsci_lock_leave(&pool->lock);
  return there;
}

/* The next call for a worker. */
static rsci_task *feed(void *feeder) {
  worker *w = feeder;
  rsci_pool *pool = w->pool;
  if (!w->serving || atomic_load(&w->retiring) || atomic_load_explicit(&pool->queued, memory_order_relaxed) == 0)
    return NULL;
  if (pool->script && !w->script)
    return NULL; /* its state is being made, or goes: that steps, too */
  rsci_lock_take(&pool->lock);
  rsca_call *call = take_next(pool);
  rsci_lock_leave(&pool->lock);
  if (!call)
    return NULL;
  /* Where the script could not be loaded, its calls are cancelled, and end as they start. */
  bool native = call->action->engine == &pool->native_front->engine || !w->script;
  rsci_engine *engine = native ? w->native : w->script;
  rsci_engine_hold(engine);
  atomic_store(&call->engine, engine);
  call->task.engine = engine;
  return &call->task;
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

static front *make_front(rsci_pool *pool, const rsci_engine_ops *ops) {
  front *made = malloc(sizeof *made);
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
static worker *make_worker(rsci_pool *pool) {
  worker *w = calloc(1, sizeof *w);
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
  w->runner->feeder = w;
  atomic_init(&w->retiring, false);
  return w;
}

static void free_worker(worker *w) {
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
  rsci_pool *pool = calloc(1, sizeof *pool + capacity * sizeof(worker *));
  if (!pool)
    return NULL;
  if (!rsci_lock_init(&pool->lock)) {
    free(pool);
    return NULL;
  }
  pool->manager = manager;
  pool->wanted = workers;
  pool->forks = rsci_forks();
  atomic_init(&pool->queued, 0);
  atomic_init(&pool->done, false);
  atomic_init(&pool->loading, false);
  atomic_init(&pool->gave_up, false);
  pool->capacity = capacity;
  pool->native_front = make_front(pool, &native_front_ops);
  pool->script_front = make_front(pool, &script_front_ops);
  bool made = pool->native_front && pool->script_front;
  while (made && pool->count < pool->wanted) {
    worker *w = make_worker(pool);
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
    free_worker(pool->workers[i]);
  if (pool->script)
    pool->script->free(pool->script_user);
  if (pool->native_front)
    rsci_engine_release(&pool->native_front->engine);
  if (pool->script_front)
    rsci_engine_release(&pool->script_front->engine);
  rsci_lock_fini(&pool->lock);
  free(pool);
}

/* ---- Loading ---- */

/* How much longer than its time limit a script may take before nobody waits for it any more. */
enum { LATE_CLEAN_UPS = 4 };
#define LATE_NS RSCI_NS_PER_SECOND

/* How often a wait for a script is looked at by who waits. */
#define LOOK_NS (20 * RSCI_NS_PER_MS)

/* The first context is made on a thread of its own: a script may never come back. */
typedef struct loader {
  worker *first;
  const rsci_script_ops *ops;
  void *user;
  rsci_thread thread;
  /* The pool's lock: */
  rsci_condition ended;
  rsci_engine *script; /* what came of it */
  bool done;
  bool left; /* nobody waits: the thread owns all this, the worker and `user`, and keeps the manager */
} loader;

static void free_loader(loader *of) {
  rsci_condition_fini(&of->ended);
  free(of);
}

/* On its thread, when nobody waits any more. */
static void discard_load(loader *of) {
  rsca_manager *manager = of->first->pool->manager;
  if (of->script) {
    of->ops->close(of->user, of->script);
    rsci_engine_release(of->script);
  }
  of->ops->free(of->user);
  free_worker(of->first);
  free_loader(of);
  rsci_calls_unkeep(&manager->calls);
}

static void *load_main(void *user) {
  loader *self = user;
  rsci_pool *pool = self->first->pool;
  pool_of_this_thread = pool; /* what runs in there is one of its actions */
  rsci_runner_move_here(self->first->runner);
  rsci_engine *script = self->ops->open(self->user, self->first->runner);
  rsci_lock_take(&pool->lock);
  self->script = script;
  self->done = true;
  bool left = self->left;
  rsci_condition_tell_all(&self->ended);
  rsci_lock_leave(&pool->lock);
  if (left)
    discard_load(self);
  return NULL;
}

/* The worker that the first context is for. NULL: too late, or another is being loaded. */
static worker *begin_load(rsci_pool *pool) {
  worker *first = NULL;
  rsci_lock_take(&pool->lock);
  if (!pool->script && !pool->started && !atomic_load(&pool->loading) && !pool->gave_up && !atomic_load(&pool->done)) {
    first = pool->workers[0];
    atomic_store(&pool->loading, true);
  }
  rsci_lock_leave(&pool->lock);
  return first;
}

/* Waits for the script, for as long as it may take and is wanted. False: it is left to itself. Lock held. */
static bool wait_for_load(loader *of) {
  rsci_pool *pool = of->first->pool;
  const rsca_manager *manager = pool->manager;
  uint64_t due_ns = UINT64_MAX;
  if (manager->limit_ns != UINT64_MAX)
    due_ns =
        rsci_now_ns() + manager->limit_ns + LATE_CLEAN_UPS * RSCI_NS_PER_MS * manager->config.clean_up_ms + LATE_NS;
  while (!of->done) {
    uint64_t now_ns = rsci_now_ns();
    if (now_ns >= due_ns || !of->ops->is_wanted(of->user))
      return false;
    rsci_condition_wait_until(&of->ended, &pool->lock, now_ns + LOOK_NS);
  }
  return true;
}

/* Lock held. Another one takes the place of the worker that is being loaded, if it can be had. */
static void leave_load(loader *of) {
  rsci_pool *pool = of->first->pool;
  of->left = pool->gave_up = true;
  (void)pthread_detach(of->thread);
  pool->workers[0] = make_worker(pool);
  if (!pool->workers[0])
    pool->workers[0] = pool->workers[--pool->count];
}

/* RSCA_E_TIMEOUT: it is left to itself. */
static HRESULT load_first(loader *of) {
  rsci_pool *pool = of->first->pool;
  rsci_manager_keep(pool->manager);
  if (!rsci_thread_start(&of->thread, "rsca-loader", rsci_stop_signal(), load_main, of)) {
    rsci_calls_unkeep(&pool->manager->calls);
    return E_OUTOFMEMORY;
  }
  rsci_lock_take(&pool->lock);
  bool came = wait_for_load(of);
  if (!came)
    leave_load(of);
  rsci_lock_leave(&pool->lock);
  if (!came)
    return RSCA_E_TIMEOUT;
  (void)pthread_join(of->thread, NULL);
  rsci_calls_unkeep(&pool->manager->calls);
  return of->script ? S_OK : E_FAIL;
}

/* False: nobody takes it any more. */
static bool take_load(rsci_pool *pool, const loader *of) {
  rsci_lock_take(&pool->lock);
  bool taken = !atomic_load(&pool->done);
  if (taken) {
    of->first->script = of->script;
    pool->script = of->ops;
    pool->script_user = of->user;
  }
  rsci_lock_leave(&pool->lock);
  return taken;
}

/* The calls that came meanwhile are served; a shutdown that came goes on. */
static void end_load(rsci_pool *pool) {
  rsci_lock_take(&pool->lock);
  atomic_store(&pool->loading, false);
  bool start = pool->start_wanted;
  pool->start_wanted = false;
  rsci_lock_leave(&pool->lock);
  if (start && rsci_manager_state(pool->manager) != RSCI_DOWN)
    (void)rsci_pool_start(pool);
  rsci_service_kick(&pool->manager->service);
}

static HRESULT load(loader *of) {
  rsci_pool *pool = of->first->pool;
  HRESULT status = load_first(of); /* after RSCA_E_TIMEOUT it is not ours */
  if (FAILED(status))              /* before a thread may start */
    rsci_manager_forget_engine(pool->manager, &pool->script_front->engine, "its script could not be loaded");
  if (SUCCEEDED(status) && !take_load(pool, of)) {
    status = RSCA_E_SHUTDOWN_IN_PROGRESS;
    rsci_runner_move_here(of->first->runner);
    of->ops->close(of->user, of->script);
    rsci_engine_release(of->script);
  }
  if (status != RSCA_E_TIMEOUT)
    free_loader(of);
  return status;
}

HRESULT rsci_pool_load(rsci_pool *pool, const rsci_script_ops *ops, void *user) {
  if (rsci_manager_state(pool->manager) != RSCI_OPEN)
    return RSCA_E_SHUTDOWN_IN_PROGRESS;
  worker *first = begin_load(pool);
  if (!first)
    return RSCA_E_INVALID_STATE;
  HRESULT status = E_OUTOFMEMORY;
  loader *made = calloc(1, sizeof *made);
  if (made && rsci_condition_init(&made->ended)) {
    made->first = first;
    made->ops = ops;
    made->user = user;
    status = load(made);
  } else {
    free(made);
  }
  end_load(pool);
  return status;
}

bool rsci_pool_takes_actions(const rsci_pool *pool) {
  return atomic_load(&pool->loading) && !pool->gave_up;
}

static void close_script(worker *w) {
  rsci_lock_take(&w->pool->lock);
  rsci_engine *script = w->script;
  w->script = NULL;
  rsci_lock_leave(&w->pool->lock);
  if (!script)
    return;
  w->pool->script->close(w->pool->script_user, script);
  rsci_engine_release(script);
}

void rsci_pool_discard(rsci_pool *pool) {
  for (size_t i = 0; i < pool->count; i++) {
    worker *w = pool->workers[i];
    if (w->started || !w->script) /* without one, a script that is being loaded may be there */
      continue;
    rsci_runner_move_here(w->runner);
    close_script(w);
  }
}

/* ---- Workers ---- */

static void leave_idle(worker *w) {
  rsci_pool *pool = w->pool;
  rsci_lock_take(&pool->lock);
  if (w->idle) {
    worker **place = &pool->idle;
    while (*place != w)
      place = &(*place)->next_idle;
    *place = w->next_idle;
    w->idle = false;
  }
  rsci_lock_leave(&pool->lock);
}

/* False: there is a call after all. */
static bool go_idle(worker *w) {
  rsci_pool *pool = w->pool;
  rsci_lock_take(&pool->lock);
  bool idle = atomic_load(&pool->queued) == 0 || atomic_load(&w->retiring);
  if (idle) {
    w->next_idle = pool->idle;
    pool->idle = w;
    w->idle = true;
  }
  rsci_lock_leave(&pool->lock);
  return idle;
}

static void serve(worker *w) {
  w->serving = true;
  while (!atomic_load(&w->retiring)) {
    size_t ran;
    (void)rsci_runner_step(w->runner, STEP_BUDGET, &ran);
    if (ran > 0 || !go_idle(w))
      continue;
    if (!atomic_load(&w->retiring))
      (void)rsci_runner_wait(w->runner, UINT64_MAX);
    leave_idle(w);
  }
  w->serving = false;
}

static void *worker_main(void *user) {
  worker *w = user;
  rsci_pool *pool = w->pool;
  rsca_manager *manager = pool->manager;
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
  close_script(w);
  rsci_engine_close(w->native);
  rsci_lock_take(&pool->lock);
  w->exited = true;
  rsci_lock_leave(&pool->lock);
  rsci_service_kick(&manager->service);
  rsci_calls_unkeep(&manager->calls);
  return NULL;
}

/* Lock held. */
static bool start_worker(worker *w, size_t number) {
  char name[16];
  (void)snprintf(name, sizeof name, "rsca-worker-%zu", number % 1000);
  /* Before it runs: it gives this back when it ends. */
  rsci_manager_keep(w->pool->manager);
  w->started = rsci_thread_start(&w->thread, name, rsci_stop_signal(), worker_main, w);
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
    started = start_worker(pool->workers[i], i + 1) || started;
  pool->started = pool->started || started;
  started = pool->started;
  rsci_lock_leave(&pool->lock);
  return started;
}

/* ---- The service's side ---- */

static bool serves(const worker *w) {
  return w->started && !w->exited && !w->set_aside;
}

static bool takes_calls(const worker *w) {
  return serves(w) && !atomic_load(&w->retiring);
}

bool rsci_pool_is_inherited(rsci_pool *pool) {
  return pool->forks != rsci_forks();
}

/* What can't be freed is no leak: it can be found from here. */
static void remember(worker *w) {
  static _Atomic(worker *) left_behind;
  w->next_idle = atomic_load(&left_behind);
  while (!atomic_compare_exchange_weak(&left_behind, &w->next_idle, w))
    ;
}

void rsci_pool_leave_behind(rsci_pool *pool) {
  size_t kept = 0, started = 0;
  pool->forks = rsci_forks();
  rsci_lock_take(&pool->lock);
  /* What has run is as its thread has left it, in the middle of anything: it is not touched, nor freed. */
  for (size_t i = 0; i < pool->count; i++) {
    if (!pool->workers[i]->started) {
      pool->workers[kept++] = pool->workers[i];
      continue;
    }
    started += !pool->workers[i]->exited;
    remember(pool->workers[i]);
  }
  pool->count = kept;
  pool->idle = NULL;
  worker *w;
  while (pool->count < pool->wanted && (w = make_worker(pool)) != NULL)
    pool->workers[pool->count++] = w;
  pool->started = pool->start_wanted = false;
  atomic_store(&pool->loading, false); /* who waited for that is not in this process */
  pool->cut = pool->ending = false;
  pool->drain_ns = pool->retry_ns = 0;
  atomic_store(&pool->done, false);
  rsci_lock_leave(&pool->lock);
  for (; started > 0; started--)
    rsci_calls_unkeep(&pool->manager->calls); /* what the threads kept */
}

void rsci_pool_count(rsci_pool *pool, size_t *workers, size_t *stuck) {
  *workers = *stuck = 0;
  rsci_lock_take(&pool->lock);
  for (size_t i = 0; i < pool->count; i++) {
    *workers += takes_calls(pool->workers[i]) || !pool->started;
    *stuck += pool->workers[i]->set_aside && !pool->workers[i]->exited;
  }
  rsci_lock_leave(&pool->lock);
}

/* Joins those that have come back, and forgets them. Lock held. */
static void bury(rsci_pool *pool) {
  size_t kept = 0;
  for (size_t i = 0; i < pool->count; i++) {
    worker *w = pool->workers[i];
    if (!w->exited || w->detached) {
      pool->workers[kept++] = w;
      continue;
    }
    (void)pthread_join(w->thread, NULL);
    free_worker(w);
  }
  pool->count = kept;
}

/* Puts new ones in the place of those that are gone, as far as there is room. */
static uint64_t replace(rsci_pool *pool) {
  uint64_t now_ns = rsci_now_ns(), next_ns = UINT64_MAX;
  rsci_lock_take(&pool->lock);
  bury(pool);
  size_t serving = 0;
  for (size_t i = 0; i < pool->count; i++)
    serving += takes_calls(pool->workers[i]); /* the others may be a while, with what they have to close */
  while (pool->started && serving < pool->wanted && pool->count < pool->capacity) {
    /* One that can't be made, or ends at once, is not tried over and over. */
    if (now_ns < pool->retry_ns) {
      next_ns = pool->retry_ns;
      break;
    }
    pool->retry_after_ns = pool->retry_after_ns ? 2 * pool->retry_after_ns : SOONEST_RETRY_NS;
    if (pool->retry_after_ns > LATEST_RETRY_NS)
      pool->retry_after_ns = LATEST_RETRY_NS;
    pool->retry_ns = now_ns + pool->retry_after_ns;
    worker *w = make_worker(pool);
    if (!w)
      continue;
    pool->workers[pool->count++] = w;
    if (start_worker(w, pool->count))
      serving++;
    else
      free_worker(pool->workers[--pool->count]);
  }
  rsci_lock_leave(&pool->lock);
  return next_ns;
}

/* Whether what it does belongs to no call: a finalizer, say. Calls have limits of their own, but for those of managers
 * that the script has made. */
static bool is_between_calls(const worker *w) {
  if (atomic_load(&w->native->running))
    return false;
  return !w->script || !atomic_load(&w->script->running) || atomic_load(&w->script->elsewhere);
}

/* Finds one that is stuck where no call's time limit ends it. `*next_ns`: when to look again, if anybody is busy. */
static rsci_runner *find_stuck(rsci_pool *pool, uint64_t *next_ns) {
  const rsca_manager *manager = pool->manager;
  uint64_t limit_ns = manager->limit_ns == UINT64_MAX ? DEFAULT_PATIENCE_NS : manager->limit_ns;
  limit_ns += 4 * RSCI_NS_PER_MS * manager->config.clean_up_ms;
  uint64_t now_ns = rsci_now_ns();
  rsci_runner *stuck = NULL;
  rsci_lock_take(&pool->lock);
  for (size_t i = 0; i < pool->count && !stuck; i++) {
    worker *w = pool->workers[i];
    unsigned progress = atomic_load_explicit(&w->runner->progress, memory_order_relaxed);
    bool waits = w->idle || !serves(w) || !is_between_calls(w);
    if (waits || progress != w->seen_progress || w->seen_ns == 0) {
      w->seen_progress = progress;
      w->seen_ns = now_ns;
    } else if (now_ns - w->seen_ns > limit_ns) {
      stuck = w->runner;
    }
    if (!w->idle && serves(w) && w->seen_ns + limit_ns < *next_ns)
      *next_ns = w->seen_ns + limit_ns + 1;
  }
  rsci_lock_leave(&pool->lock);
  return stuck;
}

/* Lock held. */
static worker *find_worker(const rsci_pool *pool, const rsci_runner *runner) {
  for (size_t i = 0; i < pool->count; i++)
    if (pool->workers[i]->runner == runner)
      return pool->workers[i];
  return NULL;
}

void rsci_pool_retire(rsci_pool *pool, const rsci_runner *runner) {
  rsci_lock_take(&pool->lock);
  worker *found = find_worker(pool, runner);
  if (found)
    atomic_store(&found->retiring, true);
  rsci_lock_leave(&pool->lock);
  rsci_service_kick(&pool->manager->service);
}

void rsci_pool_set_aside(rsci_pool *pool, rsci_runner *runner) {
  rsci_lock_take(&pool->lock);
  worker *found = find_worker(pool, runner);
  if (found) {
    found->set_aside = true;
    atomic_store(&found->retiring, true);
  }
  rsci_lock_leave(&pool->lock);
  if (found)
    rsci_manager_end_calls_on(pool->manager, runner);
}

/* Tells all workers to end; how many have not. Who loads the script is one of them. */
static size_t end_workers(rsci_pool *pool) {
  rsci_lock_take(&pool->lock);
  size_t left = atomic_load(&pool->loading);
  for (size_t i = 0; i < pool->count; i++) {
    worker *w = pool->workers[i];
    left += w->started && !w->exited;
    atomic_store(&w->retiring, true);
    rsci_runner_kick(w->runner);
  }
  rsci_lock_leave(&pool->lock);
  return left;
}

/* Leaves those that don't come back to themselves: they keep what they need. */
static void give_up_workers(rsci_pool *pool) {
  rsci_lock_take(&pool->lock);
  for (size_t i = 0; i < pool->count; i++) {
    worker *w = pool->workers[i];
    if (w->started && !w->exited && !w->detached) {
      w->detached = w->set_aside = true;
      (void)pthread_detach(w->thread);
    }
  }
  bury(pool);
  rsci_lock_leave(&pool->lock);
}

static uint64_t end(rsci_pool *pool) {
  uint64_t now_ns = rsci_now_ns();
  if (!pool->ending) {
    pool->ending = true;
    pool->kill_ns = now_ns + pool->manager->config.kill_ms * RSCI_NS_PER_MS;
  }
  size_t left = end_workers(pool);
  if (left > 0 && now_ns < pool->kill_ns)
    return pool->kill_ns;
  give_up_workers(pool);
  rsci_lock_take(&pool->lock);
  atomic_store(&pool->done, true); /* nobody gets a script from here on */
  rsci_lock_leave(&pool->lock);
  rsci_pool_discard(pool);
  return 0;
}

uint64_t rsci_pool_attend(rsci_pool *pool) {
  rsca_manager *manager = pool->manager;
  switch (rsci_manager_state(manager)) {
  case RSCI_OPEN: {
    uint64_t look_ns = UINT64_MAX;
    rsci_runner *stuck = find_stuck(pool, &look_ns);
    if (stuck)
      rsci_pool_set_aside(pool, stuck);
    uint64_t replace_ns = replace(pool);
    return replace_ns < look_ns ? replace_ns : look_ns;
  }
  case RSCI_DRAINING:
    if (pool->drain_ns == 0)
      pool->drain_ns = rsci_now_ns() + manager->config.drain_ms * RSCI_NS_PER_MS;
    if (rsci_manager_unended(manager) > 0 && rsci_now_ns() < pool->drain_ns) {
      uint64_t replace_ns = replace(pool);
      return replace_ns < pool->drain_ns ? replace_ns : pool->drain_ns;
    }
    break;
  default:
    break;
  }
  if (!pool->cut) {
    pool->cut = true;
    rsci_manager_cut_pool(manager);
    return 0;
  }
  return rsci_manager_unended(manager) > 0 ? UINT64_MAX : end(pool);
}

void rsci_pool_close(rsci_pool *pool) {
  rsci_engine_close(&pool->native_front->engine);
  rsci_engine_close(&pool->script_front->engine);
}

bool rsci_pool_is_done(rsci_pool *pool) {
  return atomic_load(&pool->done);
}

bool rsci_pool_is_worker(const rsci_pool *pool) {
  return pool_of_this_thread == pool;
}

bool rsci_pool_is_here(rsci_pool *pool) {
  return pool_of_this_thread == pool || rsci_service_is_here(&pool->manager->service);
}
