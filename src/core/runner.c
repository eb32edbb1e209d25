#include "runner.h"

#include <stdlib.h>

#include "engine.h"

rsci_runner *rsci_runner_create(void) {
  rsci_runner *runner = calloc(1, sizeof *runner);
  if (!runner)
    return NULL;
  rsci_refs_init(&runner->refs);
  atomic_init(&runner->inbox, NULL);
  atomic_init(&runner->stepping, false);
  atomic_init(&runner->pins, 0);
  atomic_init(&runner->kicked, false);
  rsci_notifier_init(&runner->notifier);
  atomic_store_explicit(&runner->thread, rsci_thread_self(), memory_order_relaxed);
  return runner;
}

void rsci_runner_hold(rsci_runner *runner) {
  (void)rsci_refs_add(&runner->refs);
}

void rsci_runner_release(rsci_runner *runner) {
  /* Every engine holds its runner and flushes its tasks before it goes: none can be left here. */
  if (rsci_refs_drop(&runner->refs) > 0)
    return;
  rsci_timers_fini(&runner->timers);
  rsci_notifier_fini(&runner->notifier);
  free(runner);
}

/* Queues: touched by the thread that steps only. */

static void queue_put(rsci_queue *queue, rsci_task *task) {
  task->next = NULL;
  if (queue->tail)
    queue->tail->next = task;
  else
    queue->head = task;
  queue->tail = task;
}

static void queue_append(rsci_queue *queue, rsci_queue *more) {
  if (!more->head)
    return;
  if (queue->tail)
    queue->tail->next = more->head;
  else
    queue->head = more->head;
  queue->tail = more->tail;
  *more = (rsci_queue){0};
}

static rsci_task *queue_take(rsci_queue *queue) {
  rsci_task *task = queue->head;
  queue->head = task->next;
  if (!queue->head)
    queue->tail = NULL;
  return task;
}

/* Moves the tasks of `engine` from `queue` to `found`. */
static void queue_extract(rsci_queue *queue, const rsci_engine *engine, rsci_queue *found) {
  rsci_queue kept = {0};
  while (queue->head) {
    rsci_task *task = queue_take(queue);
    queue_put(task->engine == engine ? found : &kept, task);
  }
  *queue = kept;
}

/* Posting. */

void rsci_runner_post(rsci_runner *runner, rsci_task *task) {
  rsci_task *newest = atomic_load_explicit(&runner->inbox, memory_order_relaxed);
  do {
    task->next = newest;
  } while (!atomic_compare_exchange_weak(&runner->inbox, &newest, task));
  /* Whoever found it empty raises: the others' tasks are taken by the same look. */
  if (!newest)
    rsci_notifier_raise(&runner->notifier);
}

void rsci_runner_post_here(rsci_runner *runner, rsci_task *task) {
  queue_put(&runner->ready, task);
  if (!atomic_load_explicit(&runner->stepping, memory_order_relaxed))
    rsci_notifier_raise(&runner->notifier);
}

static void take_inbox(rsci_runner *runner) {
  if (!atomic_load_explicit(&runner->inbox, memory_order_relaxed))
    return;
  rsci_task *newest = atomic_exchange(&runner->inbox, NULL);
  rsci_queue oldest_first = {.head = NULL, .tail = newest};
  while (newest) {
    rsci_task *older = newest->next;
    newest->next = oldest_first.head;
    oldest_first.head = newest;
    newest = older;
  }
  queue_append(&runner->ready, &oldest_first);
}

/* Alarms. */

bool rsci_runner_set_alarm(rsci_runner *runner, rsci_alarm *alarm, uint64_t due_ns) {
  return rsci_timers_add(&runner->timers, &alarm->timer, due_ns);
}

void rsci_runner_clear_alarm(rsci_runner *runner, rsci_alarm *alarm) {
  rsci_timers_remove(&runner->timers, &alarm->timer);
}

static void take_due_alarms(rsci_runner *runner) {
  if (rsci_timers_next_ns(&runner->timers) == UINT64_MAX)
    return;
  uint64_t now_ns = rsci_now_ns();
  rsci_timer *timer;
  while ((timer = rsci_timers_take_due(&runner->timers, now_ns)) != NULL) {
    rsci_alarm *alarm = (rsci_alarm *)((char *)timer - offsetof(rsci_alarm, timer));
    queue_put(&runner->ready, alarm->task);
  }
}

/* Stepping. */

bool rsci_runner_enter(rsci_runner *runner) {
  if (atomic_exchange(&runner->stepping, true))
    return false;
  rsci_runner_hold(runner);
  atomic_store_explicit(&runner->thread, rsci_thread_self(), memory_order_relaxed);
  return true;
}

void rsci_runner_leave(rsci_runner *runner) {
  bool left = runner->ready.head != NULL; /* another thread may step as soon as this one says that it does not */
  atomic_store(&runner->stepping, false);
  if (left)
    rsci_notifier_raise(&runner->notifier);
  rsci_runner_release(runner);
}

/* False: there is nothing. */
static bool take_fed(rsci_runner *runner) {
  rsci_task *task = runner->feed ? runner->feed(runner->feeder) : NULL;
  if (task)
    queue_put(&runner->batch, task);
  return task != NULL;
}

bool rsci_runner_step(rsci_runner *runner, size_t budget, size_t *ran) {
  *ran = 0;
  if (!rsci_runner_enter(runner))
    return false;
  rsci_notifier_clear(&runner->notifier);
  take_inbox(runner);
  take_due_alarms(runner);
  queue_append(&runner->batch, &runner->ready);
  runner->budget = budget ? budget : SIZE_MAX;
  runner->ran = 0;
  while (runner->budget > 0 && (runner->batch.head || take_fed(runner))) {
    rsci_engine *engine = runner->batch.head->engine;
    rsci_engine_hold(engine);
    engine->ops->turn(engine, runner);
    rsci_engine_release(engine);
  }
  /* What the budget left over comes before what was posted meanwhile. */
  queue_append(&runner->batch, &runner->ready);
  queue_append(&runner->ready, &runner->batch);
  *ran = runner->ran;
  rsci_runner_leave(runner);
  return true;
}

void rsci_runner_abandon_step(rsci_runner *runner) {
  if (!atomic_exchange(&runner->stepping, false))
    return;
  queue_append(&runner->batch, &runner->ready);
  queue_append(&runner->ready, &runner->batch);
  rsci_runner_release(runner); /* the step's hold */
}

rsci_task *rsci_runner_next(rsci_runner *runner, const rsci_engine *engine) {
  if (runner->budget == 0 || !(runner->batch.head || take_fed(runner)) || runner->batch.head->engine != engine)
    return NULL;
  runner->budget--;
  runner->ran++;
  return queue_take(&runner->batch);
}

void rsci_runner_give_up(rsci_runner *runner) {
  runner->budget = 0;
}

bool rsci_runner_is_stepping(rsci_runner *runner) {
  return atomic_load(&runner->stepping);
}

bool rsci_runner_is_stepped_here(rsci_runner *runner) {
  return rsci_runner_is_stepping(runner) && rsci_thread_is_self(atomic_load(&runner->thread));
}

bool rsci_runner_may_step(rsci_runner *runner) {
  if (rsci_runner_is_stepping(runner))
    return false;
  return rsci_thread_is_self(atomic_load(&runner->thread));
}

void rsci_runner_move_here(rsci_runner *runner) {
  atomic_store_explicit(&runner->thread, rsci_thread_self(), memory_order_relaxed);
}

void rsci_runner_pin(rsci_runner *runner) {
  rsci_runner_move_here(runner);
  (void)atomic_fetch_add(&runner->pins, 1);
}

void rsci_runner_unpin(rsci_runner *runner) {
  (void)atomic_fetch_sub(&runner->pins, 1);
}

bool rsci_runner_is_pinned(rsci_runner *runner) {
  return atomic_load(&runner->pins) > 0;
}

uint64_t rsci_runner_timeout_ns(rsci_runner *runner) {
  if (runner->ready.head || atomic_load(&runner->inbox))
    return 0;
  uint64_t next_ns = rsci_timers_next_ns(&runner->timers);
  if (next_ns == UINT64_MAX)
    return UINT64_MAX;
  uint64_t now_ns = rsci_now_ns();
  return next_ns > now_ns ? next_ns - now_ns : 0;
}

bool rsci_runner_wait(rsci_runner *runner, uint64_t timeout_ns) {
  if (!rsci_notifier_prepare(&runner->notifier))
    return false;
  /* Looked at after the wait was announced: what is posted from here on raises. */
  uint64_t due_ns = rsci_runner_timeout_ns(runner);
  if (due_ns < timeout_ns)
    timeout_ns = due_ns;
  if (atomic_exchange(&runner->kicked, false) || timeout_ns == 0) {
    rsci_notifier_abandon(&runner->notifier);
    return true;
  }
  return rsci_notifier_wait(&runner->notifier, timeout_ns);
}

void rsci_runner_kick(rsci_runner *runner) {
  atomic_store(&runner->kicked, true);
  rsci_notifier_raise(&runner->notifier);
}

int rsci_runner_fd(rsci_runner *runner) {
  int fd = rsci_notifier_watch(&runner->notifier);
  if (fd >= 0 && (runner->ready.head || atomic_load(&runner->inbox)))
    rsci_notifier_raise(&runner->notifier);
  return fd;
}

void rsci_runner_flush(rsci_runner *runner, const rsci_engine *engine) {
  rsci_queue found = {0};
  take_inbox(runner);
  queue_extract(&runner->batch, engine, &found);
  queue_extract(&runner->ready, engine, &found);
  while (found.head) {
    rsci_task *task = queue_take(&found);
    task->ops->drop(task);
  }
}
