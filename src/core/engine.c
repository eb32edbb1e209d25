#include "engine.h"

bool rsci_engine_init(rsci_engine *engine, const rsci_engine_ops *ops, rsci_runner *runner) {
  if (!rsci_lock_init(&engine->lock))
    return false;
  engine->ops = ops;
  rsci_refs_init(&engine->refs);
  rsci_runner_hold(runner);
  engine->runner = runner;
  atomic_init(&engine->running, NULL);
  atomic_init(&engine->closed, false);
  atomic_init(&engine->elsewhere, false);
  return true;
}

void rsci_engine_fini(rsci_engine *engine) {
  rsci_runner_release(engine->runner);
  rsci_lock_fini(&engine->lock);
}

void rsci_engine_hold(rsci_engine *engine) {
  (void)rsci_refs_add(&engine->refs);
}

void rsci_engine_release(rsci_engine *engine) {
  if (engine && rsci_refs_drop(&engine->refs) == 0)
    engine->ops->destroy(engine);
}

bool rsci_engine_post(rsci_engine *engine, rsci_task *task) {
  if (rsci_runner_is_mine(engine->runner))
    return rsci_engine_post_here(engine, task);
  task->engine = engine;
  rsci_lock_take(&engine->lock);
  bool open = !atomic_load_explicit(&engine->closed, memory_order_relaxed);
  if (open)
    rsci_runner_post(engine->runner, task);
  rsci_lock_leave(&engine->lock);
  return open;
}

bool rsci_engine_post_here(rsci_engine *engine, rsci_task *task) {
  /* Closing happens on this very thread, so it needs no guard. */
  if (atomic_load_explicit(&engine->closed, memory_order_relaxed))
    return false;
  task->engine = engine;
  rsci_runner_post_here(engine->runner, task);
  return true;
}

bool rsci_engine_is_closed(rsci_engine *engine) {
  return atomic_load_explicit(&engine->closed, memory_order_acquire);
}

void rsci_engine_close(rsci_engine *engine) {
  rsci_lock_take(&engine->lock);
  atomic_store_explicit(&engine->closed, true, memory_order_release);
  rsci_lock_leave(&engine->lock);
  rsci_runner_flush(engine->runner, engine);
}
