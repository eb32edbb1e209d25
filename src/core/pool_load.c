#include "pool.h"

#include <stdlib.h>

#include "pool_worker.h"
#include "service.h"
#include "stop_signal.h"

/* How much longer than its time limit a script may take before nobody waits for it any more. */
enum { LATE_CLEAN_UPS = 4 };
#define LATE_NS RSCI_NS_PER_SECOND

/* How often a wait for a script is looked at by who waits. */
#define LOOK_NS (20 * RSCI_NS_PER_MS)

/* The first context is made on a thread of its own: a script may never come back. */
typedef struct loader {
  rsci_worker *first;
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

/* What came of it goes again. On the thread of its runner. */
static void close_loaded(loader *of) {
  of->ops->close(of->user, of->script);
  rsci_engine_release(of->script);
}

/* On its thread, when nobody waits any more. */
static void discard_load(loader *of) {
  rsca_manager *manager = of->first->pool->manager;
  if (of->script)
    close_loaded(of);
  of->ops->free(of->user);
  rsci_worker_free(of->first);
  free_loader(of);
  rsci_calls_unkeep(&manager->calls);
}

static void *load_main(void *user) {
  loader *self = user;
  rsci_pool *pool = self->first->pool;
  rsci_thread_set_name("rsca-loader");
  rsci_pool_enter(pool); /* what runs in there is one of its actions */
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
static rsci_worker *begin_load(rsci_pool *pool) {
  rsci_worker *first = NULL;
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
  of->left = true;
  pool->gave_up = true;
  (void)pthread_detach(of->thread);
  pool->workers[0] = rsci_worker_create(pool);
  if (!pool->workers[0])
    pool->workers[0] = pool->workers[--pool->count];
}

/* RSCA_E_TIMEOUT: it is left to itself. */
static HRESULT load_first(loader *of) {
  rsci_pool *pool = of->first->pool;
  rsci_manager_keep(pool->manager);
  if (!rsci_thread_start(&of->thread, rsci_stop_signal(), load_main, of)) {
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
    close_loaded(of);
  }
  if (status != RSCA_E_TIMEOUT)
    free_loader(of);
  return status;
}

HRESULT rsci_pool_load(rsci_pool *pool, const rsci_script_ops *ops, void *user) {
  if (rsci_manager_state(pool->manager) != RSCI_OPEN)
    return RSCA_E_SHUTDOWN_IN_PROGRESS;
  rsci_worker *first = begin_load(pool);
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
