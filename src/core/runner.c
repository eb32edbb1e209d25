#include "runner.h"

#include <stdlib.h>

#include "engine.h"

/* How long a wait looks around: at most about as long as it takes to sleep and be woken. */
#define LEAST_LINGER_NS UINT64_C(1000)
#define MOST_LINGER_NS UINT64_C(50000)

/* One that has slept no longer, so many times, looks around again for as long as it may. */
#define SHORT_SLEEP_NS (2 * MOST_LINGER_NS)
enum { SHORT_SLEEPS = 16 };

rsci_runner *rsci_runner_create(void) {
  rsci_runner *runner = rsci_forks_watch() ? calloc(1, sizeof *runner) : NULL;
  if (!runner)
    return NULL;
  if (!rsci_lock_init(&runner->heirs_lock)) {
    free(runner);
    return NULL;
  }
  runner->forks = runner->heard_from = rsci_forks();
  rsci_refs_init(&runner->refs);
  atomic_init(&runner->inbox, NULL);
  atomic_init(&runner->stepping, false);
  atomic_init(&runner->pins, 0);
  atomic_init(&runner->kicked, false);
  runner->linger_ns = LEAST_LINGER_NS;
  atomic_init(&runner->progress, 0);
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
  rsci_lock_fini(&runner->heirs_lock);
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

static void queue_put_first(rsci_queue *queue, rsci_task *task) {
  task->next = queue->head;
  queue->head = task;
  if (!queue->tail)
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

/* Forks. */

void rsci_runner_add_heir(rsci_runner *runner, rsci_heir *heir) {
  rsci_lock_take(&runner->heirs_lock);
  heir->next = runner->heirs;
  heir->link = &runner->heirs;
  if (heir->next)
    heir->next->link = &heir->next;
  runner->heirs = heir;
  rsci_lock_leave(&runner->heirs_lock);
}

void rsci_runner_remove_heir(rsci_runner *runner, rsci_heir *heir) {
  rsci_lock_take(&runner->heirs_lock);
  if (runner->next_heir == heir)
    runner->next_heir = heir->next;
  *heir->link = heir->next;
  if (heir->next)
    heir->next->link = heir->link;
  rsci_lock_leave(&runner->heirs_lock);
}

static bool is_forked(const rsci_runner *runner) {
  return runner->forks != rsci_forks();
}

static rsci_heir *next_heir(rsci_runner *runner) {
  rsci_lock_take(&runner->heirs_lock);
  rsci_heir *heir = runner->next_heir;
  if (heir)
    runner->next_heir = heir->next;
  rsci_lock_leave(&runner->heirs_lock);
  return heir;
}

static void inherit(rsci_runner *runner) {
  bool keep = runner->keep;
  runner->keep = false;
  runner->forks = rsci_forks();
  if (!keep)
    runner->heard_from = runner->forks;
  runner->next_heir = runner->heirs;
  rsci_heir *heir;
  while ((heir = next_heir(runner)) != NULL) /* one may go while another inherits */
    heir->inherit(heir, keep);
}

bool rsci_runner_drops(const rsci_runner *runner, unsigned forks) {
  bool undecided = is_forked(runner) && !runner->keep;
  return forks < (undecided ? rsci_forks() : runner->heard_from);
}

void rsci_runner_leave_stepper(rsci_runner *runner) {
  if (is_forked(runner) && !rsci_thread_is_self(atomic_load(&runner->thread)))
    rsci_runner_abandon_step(runner);
}

HRESULT rsci_runner_after_fork(rsci_runner *runner, bool keep) {
  if (!is_forked(runner)) {
    bool dropped = keep && runner->forks > 0 && runner->heard_from == runner->forks;
    return dropped ? RSCA_E_INVALID_STATE : S_FALSE;
  }
  runner->keep = keep;
  if (rsci_runner_enter(runner)) /* else, in a step that the fork was in, the next one does it */
    rsci_runner_leave(runner);
  return S_OK;
}

/* Stepping. */

bool rsci_runner_enter(rsci_runner *runner) {
  if (atomic_exchange(&runner->stepping, true))
    return false;
  rsci_runner_hold(runner);
  if (!rsci_thread_is_self(atomic_load_explicit(&runner->thread, memory_order_relaxed)))
    rsci_runner_move_here(runner);
  if (is_forked(runner))
    inherit(runner);
  return true;
}

void rsci_runner_leave(rsci_runner *runner) {
  bool left = runner->ready.head != NULL; /* another thread may step as soon as this one says that it does not */
  atomic_store(&runner->stepping, false);
  if (left)
    rsci_notifier_raise(&runner->notifier);
  rsci_runner_release(runner);
}

/* Whose task is next: one that is fed after each of the batch, so that neither waits for all of the other. NULL: there
 * is none. */
static rsci_engine *next_engine(rsci_runner *runner) {
  if (runner->feed && (runner->feeds || !runner->batch.head)) {
    runner->feeds = false;
    runner->fed = runner->feed(runner->feeder);
    if (runner->fed)
      queue_put_first(&runner->batch, runner->fed);
  }
  return runner->batch.head ? runner->batch.head->engine : NULL;
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
  rsci_engine *engine;
  while (runner->budget > 0 && (engine = next_engine(runner)) != NULL) {
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
  if (is_forked(runner)) /* by a task of this step: the others are looked through before they run */
    runner->budget = 0;
  if (runner->budget == 0 || next_engine(runner) != engine)
    return NULL;
  runner->budget--;
  runner->ran++;
  atomic_store_explicit(&runner->progress, atomic_load_explicit(&runner->progress, memory_order_relaxed) + 1,
                        memory_order_relaxed);
  rsci_task *task = queue_take(&runner->batch);
  runner->feeds = task != runner->fed;
  runner->fed = NULL;
  return task;
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

bool rsci_runner_is_mine(rsci_runner *runner) {
  return atomic_load_explicit(&runner->pins, memory_order_relaxed) > 0 &&
         rsci_thread_is_self(atomic_load_explicit(&runner->thread, memory_order_relaxed));
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
  if (runner->ready.head || atomic_load(&runner->inbox) || is_forked(runner))
    return 0;
  uint64_t next_ns = rsci_timers_next_ns(&runner->timers);
  if (next_ns == UINT64_MAX)
    return UINT64_MAX;
  uint64_t now_ns = rsci_now_ns();
  return next_ns > now_ns ? next_ns - now_ns : 0;
}

/* Waits: two that answer each other should meet while they linger, not sleep in turns. How long that is worth it, the
 * last waits tell. */

static bool has_come(rsci_runner *runner) {
  return atomic_load_explicit(&runner->inbox, memory_order_relaxed) ||
         (atomic_load_explicit(&runner->kicked, memory_order_relaxed) && atomic_exchange(&runner->kicked, false)) ||
         (runner->has_feed && runner->has_feed(runner->feeder));
}

bool rsci_runner_linger(rsci_runner *runner, uint64_t timeout_ns) {
  uint64_t soon_ns = rsci_runner_timeout_ns(runner);
  if (rsci_processors() < 2 || timeout_ns < MOST_LINGER_NS || soon_ns < MOST_LINGER_NS)
    return false;
  uint64_t now_ns = rsci_now_ns(), end_ns = now_ns + runner->linger_ns;
  for (runner->waits_ns = now_ns; now_ns < end_ns; now_ns = rsci_now_ns())
    for (unsigned looks = 0; looks < 16; looks++) {
      if (has_come(runner)) {
        runner->linger_ns = MOST_LINGER_NS;
        return true;
      }
      rsci_thread_pause();
    }
  if (runner->linger_ns > LEAST_LINGER_NS)
    runner->linger_ns /= 2;
  return false;
}

void rsci_runner_watch(rsci_runner *runner, uint64_t until_ns) {
  while (!has_come(runner) && rsci_now_ns() < until_ns)
    rsci_thread_pause();
}

/* It was woken: whoever did that may be met while it lingers the next time, but not where both share a processor. That
 * is tried now and then only, as what comes may as well be too late each time. */
static void note_sleep(rsci_runner *runner) {
  if (rsci_processors() < 2)
    return;
  if (rsci_notifier_is_shared(&runner->notifier))
    runner->linger_ns = 0;
  else if (rsci_now_ns() - runner->waits_ns < SHORT_SLEEP_NS && ++runner->short_sleeps == SHORT_SLEEPS) {
    runner->short_sleeps = 0;
    runner->linger_ns = MOST_LINGER_NS;
  }
}

bool rsci_runner_sleep(rsci_runner *runner, uint64_t timeout_ns) {
  rsci_notifier_prepare(&runner->notifier);
  /* Looked at after the wait was announced: what is posted from here on raises. */
  uint64_t due_ns = rsci_runner_timeout_ns(runner);
  if (due_ns < timeout_ns)
    timeout_ns = due_ns;
  if (atomic_exchange(&runner->kicked, false) || timeout_ns == 0) {
    rsci_notifier_abandon(&runner->notifier);
    return true;
  }
  uint64_t until_ns = timeout_ns == UINT64_MAX ? UINT64_MAX : rsci_now_ns() + timeout_ns;
  bool slept = rsci_notifier_wait(&runner->notifier, until_ns);
  atomic_store(&runner->kicked, false); /* what it announced is looked for now */
  note_sleep(runner);
  return slept;
}

bool rsci_runner_wait(rsci_runner *runner, uint64_t timeout_ns) {
  return rsci_runner_linger(runner, timeout_ns) || rsci_runner_sleep(runner, timeout_ns);
}

void rsci_runner_kick(rsci_runner *runner) {
  atomic_store(&runner->kicked, true);
  rsci_notifier_raise(&runner->notifier);
}

int rsci_runner_fd(rsci_runner *runner) {
  int fd = rsci_notifier_watch(&runner->notifier);
  if (fd >= 0 && (runner->ready.head || atomic_load(&runner->inbox) || is_forked(runner)))
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
