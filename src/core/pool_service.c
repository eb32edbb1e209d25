#include "pool.h"

#include "pool_worker.h"
#include "service.h"
#include "shutdown.h"

#define DEFAULT_PATIENCE_NS (30 * RSCI_NS_PER_SECOND)

/* How long after one that failed another worker is made; each time twice as long. */
#define SOONEST_RETRY_NS (100 * RSCI_NS_PER_MS)
#define LATEST_RETRY_NS (10 * RSCI_NS_PER_SECOND)

static bool serves(const rsci_worker *w) {
  return w->started && !w->exited && !w->set_aside;
}

static bool takes_calls(const rsci_worker *w) {
  return serves(w) && !atomic_load(&w->retiring);
}

bool rsci_pool_is_inherited(rsci_pool *pool) {
  return pool->forks != rsci_forks();
}

/* What can't be freed is no leak: it can be found from here. */
static void remember(rsci_worker *w) {
  static _Atomic(rsci_worker *) left_behind;
  w->next_idle = atomic_load(&left_behind);
  while (!atomic_compare_exchange_weak(&left_behind, &w->next_idle, w))
    ;
}

void rsci_pool_leave_behind(rsci_pool *pool) {
  size_t kept = 0, started = 0;
  pool->forks = rsci_forks();
  rsci_lock_take(&pool->lock);
  rsci_pool_rebuild_queues(pool);
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
  atomic_store(&pool->idle, NULL);
  rsci_worker *w;
  while (pool->count < pool->wanted && (w = rsci_worker_create(pool)) != NULL)
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
    rsci_worker *w = pool->workers[i];
    if (!w->exited || w->detached) {
      pool->workers[kept++] = w;
      continue;
    }
    (void)pthread_join(w->thread, NULL);
    rsci_worker_free(w);
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
    rsci_worker *w = rsci_worker_create(pool);
    if (!w)
      continue;
    pool->workers[pool->count++] = w;
    if (rsci_worker_start(w, pool->count))
      serving++;
    else
      rsci_worker_free(pool->workers[--pool->count]);
  }
  rsci_lock_leave(&pool->lock);
  return next_ns;
}

/* Whether what it does belongs to no call: a finalizer, say. Calls have limits of their own, but for those of managers
 * that the script has made. */
static bool is_between_calls(const rsci_worker *w) {
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
    rsci_worker *w = pool->workers[i];
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
static rsci_worker *find_worker(const rsci_pool *pool, const rsci_runner *runner) {
  for (size_t i = 0; i < pool->count; i++)
    if (pool->workers[i]->runner == runner)
      return pool->workers[i];
  return NULL;
}

void rsci_pool_retire(rsci_pool *pool, const rsci_runner *runner) {
  rsci_lock_take(&pool->lock);
  rsci_worker *found = find_worker(pool, runner);
  if (found)
    atomic_store(&found->retiring, true);
  rsci_lock_leave(&pool->lock);
  rsci_service_kick(&pool->manager->service);
}

void rsci_pool_set_aside(rsci_pool *pool, rsci_runner *runner) {
  rsci_lock_take(&pool->lock);
  rsci_worker *found = find_worker(pool, runner);
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
    rsci_worker *w = pool->workers[i];
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
    rsci_worker *w = pool->workers[i];
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
