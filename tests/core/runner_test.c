#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/engine.h"
#include "core/runner.h"

/* ---- System calls of the code under test, and what is done just before them ---- */

static void (*before_eventfd)(void), (*before_write)(void), (*before_sleep)(void);

static atomic_uint system_calls; /* eventfd, write, and wakes */

/* Each hook is called once. */
static void call_hook(void (**hook)(void)) {
  void (*once)(void) = *hook;
  *hook = NULL;
  if (once)
    once();
}

int __real_eventfd(unsigned count, int flags);
int __wrap_eventfd(unsigned count, int flags);
ssize_t __real_write(int fd, const void *bytes, size_t size);
ssize_t __wrap_write(int fd, const void *bytes, size_t size);
bool __real_rsci_thread_sleep(_Atomic uint32_t *word, uint32_t value, uint64_t until_ns);
bool __wrap_rsci_thread_sleep(_Atomic uint32_t *word, uint32_t value, uint64_t until_ns);
void __real_rsci_thread_wake(_Atomic uint32_t *word);
void __wrap_rsci_thread_wake(_Atomic uint32_t *word);

int __wrap_eventfd(unsigned count, int flags) {
  atomic_fetch_add(&system_calls, 1);
  call_hook(&before_eventfd);
  return __real_eventfd(count, flags);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t size) {
  atomic_fetch_add(&system_calls, 1);
  call_hook(&before_write);
  return __real_write(fd, bytes, size);
}

bool __wrap_rsci_thread_sleep(_Atomic uint32_t *word, uint32_t value, uint64_t until_ns) {
  call_hook(&before_sleep);
  return __real_rsci_thread_sleep(word, value, until_ns);
}

void __wrap_rsci_thread_wake(_Atomic uint32_t *word) {
  atomic_fetch_add(&system_calls, 1);
  __real_rsci_thread_wake(word);
}

static bool is_readable(int fd) {
  struct pollfd watched = {.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&watched, 1, 0) == 1 && (watched.revents & POLLIN) != 0;
}

/* ---- Two engines, and tasks that write down their turn ---- */

enum { JOBS = 16 };

typedef struct job {
  rsci_task task;
  int number;
  void (*inside)(struct job *job); /* called when it is run */
} job;

static rsci_runner *runner;
static rsci_engine red, blue;
static unsigned destroyed;
static int order[64]; /* numbers of jobs that were run; -number: dropped; 100 and 200: a turn of red or blue */
static size_t noted;
static job jobs[JOBS];

static void note(int number) {
  if (noted < sizeof order / sizeof order[0])
    order[noted] = number;
  noted++;
}

static bool turns_are_noted;

static void engine_turn(rsci_engine *engine, rsci_runner *of) {
  if (turns_are_noted)
    note(engine == &red ? 100 : 200);
  rsci_task *task;
  while ((task = rsci_runner_next(of, engine)) != NULL)
    task->ops->run(task);
}

static void engine_destroy(rsci_engine *engine) {
  rsci_engine_fini(engine);
  destroyed++;
}

static const rsci_engine_ops engine_ops = {.turn = engine_turn, .destroy = engine_destroy};

static void job_run(rsci_task *task) {
  job *self = (job *)task;
  note(self->number);
  if (self->inside)
    self->inside(self);
}

static void job_drop(rsci_task *task) {
  note(-((job *)task)->number);
}

static const rsci_task_ops job_ops = {job_run, job_drop};

static int set_up(void **state) {
  (void)state;
  noted = 0;
  destroyed = 0;
  turns_are_noted = false;
  for (int i = 0; i < JOBS; i++)
    jobs[i] = (job){.task = {.ops = &job_ops}, .number = i};
  runner = rsci_runner_create();
  return runner && rsci_engine_init(&red, &engine_ops, runner) && rsci_engine_init(&blue, &engine_ops, runner) ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  before_eventfd = before_write = before_sleep = NULL;
  rsci_engine_close(&red);
  rsci_engine_close(&blue);
  rsci_engine_release(&red);
  rsci_engine_release(&blue);
  rsci_runner_release(runner);
  return destroyed == 2 ? 0 : -1;
}

static void post(rsci_engine *engine, int number) {
  if (!rsci_engine_post(engine, &jobs[number].task))
    abort();
}

static void post_here(rsci_engine *engine, int number) {
  if (!rsci_engine_post_here(engine, &jobs[number].task))
    abort();
}

static size_t step(size_t budget) {
  size_t ran;
  assert_true(rsci_runner_step(runner, budget, &ran));
  return ran;
}

/* What was noted since the last look. */
#define assert_noted(...)                                                                                              \
  do {                                                                                                                 \
    const int expected[] = {__VA_ARGS__};                                                                              \
    assert_int_equal(noted, sizeof expected / sizeof expected[0]);                                                     \
    assert_memory_equal(order, expected, sizeof expected);                                                             \
    noted = 0;                                                                                                         \
  } while (0)

/* ---- Order and budget ---- */

static void test_step_runs_tasks_in_the_order_of_their_posting(void **state) {
  (void)state;
  for (int i = 1; i <= 5; i++)
    post(&red, i);
  assert_int_equal(step(0), 5);
  assert_noted(1, 2, 3, 4, 5);
  for (int i = 1; i <= 3; i++)
    post_here(&red, i);
  assert_int_equal(step(0), 3);
  assert_noted(1, 2, 3);
  assert_int_equal(step(0), 0);
}

static void test_step_runs_at_most_its_budget(void **state) {
  (void)state;
  for (int i = 1; i <= 5; i++)
    post(&red, i);
  assert_int_equal(step(2), 2);
  assert_noted(1, 2);
  assert_int_equal(rsci_runner_timeout_ns(runner), 0);
  assert_int_equal(step(2), 2);
  assert_int_equal(step(2), 1);
  assert_noted(3, 4, 5);
  assert_int_equal(step(2), 0);
}

static void post_next(job *self) {
  post(&red, self->number + 1);
}

static void post_next_here(job *self) {
  post_here(&red, self->number + 1);
}

/* "What these queue waits for the next step, so a step always comes to an end." */
static void test_step_leaves_what_its_tasks_post_for_the_next(void **state) {
  (void)state;
  jobs[1].inside = jobs[2].inside = post_next;
  jobs[3].inside = post_next_here;
  post(&red, 1);
  for (int i = 1; i <= 4; i++) {
    assert_int_equal(step(0), 1);
    assert_noted(i);
  }
  assert_int_equal(step(0), 0);
}

/* What the budget left over comes before what was posted meanwhile. */
static void test_step_left_over_comes_before_what_was_posted_meanwhile(void **state) {
  (void)state;
  jobs[1].inside = post_next;
  jobs[3].inside = post_next_here;
  post(&red, 1); /* posts 2 */
  post(&red, 3); /* posts 4 */
  post(&red, 5);
  post(&red, 6);
  assert_int_equal(step(2), 2);
  assert_noted(1, 3);
  assert_int_equal(step(2), 2);
  assert_noted(5, 6);
  assert_int_equal(step(0), 2);
  assert_true((order[0] == 2 && order[1] == 4) || (order[0] == 4 && order[1] == 2));
}

static void test_step_gives_turns_to_engines_as_their_tasks_come(void **state) {
  (void)state;
  turns_are_noted = true;
  post(&red, 1);
  post(&red, 2);
  post(&blue, 3);
  post(&red, 4);
  assert_int_equal(step(0), 4);
  assert_noted(100, 1, 2, 200, 3, 100, 4);
}

static void test_step_budget_counts_over_all_engines(void **state) {
  (void)state;
  turns_are_noted = true;
  post(&red, 1);
  post(&blue, 2);
  post(&red, 3);
  assert_int_equal(step(2), 2);
  assert_noted(100, 1, 200, 2);
  assert_int_equal(step(2), 1);
  assert_noted(100, 3);
}

/* Feeds the jobs from 10 on. */
static rsci_task *feed_jobs(void *next) {
  int *number = (int *)next;
  if (*number == JOBS)
    return NULL;
  rsci_task *task = &jobs[(*number)++].task;
  task->engine = &blue;
  return task;
}

/* What is fed and what the runner has take turns: neither waits for all of the other. */
static void test_step_takes_turns_with_what_is_fed(void **state) {
  (void)state;
  int next = 10;
  runner->feed = feed_jobs;
  runner->feeder = &next;
  for (int i = 1; i <= 4; i++)
    post(&red, i);
  assert_int_equal(step(4), 4);
  assert_noted(1, 10, 2, 11);
  assert_int_equal(step(0), 6);
  assert_noted(3, 12, 4, 13, 14, 15);
  assert_int_equal(step(0), 0);
}

static bool stepped_inside;

static void step_inside(job *self) {
  (void)self;
  size_t ran = 7;
  stepped_inside =
      rsci_runner_step(runner, 0, &ran) || ran != 0 || !rsci_runner_is_stepping(runner) || rsci_runner_may_step(runner);
}

static void *step_outside(void *user) {
  step_inside(user);
  return NULL;
}

static void step_inside_elsewhere(job *self) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, step_outside, self) != 0 || pthread_join(thread, NULL) != 0)
    abort();
}

static void test_step_inside_a_step_does_nothing(void **state) {
  (void)state;
  stepped_inside = true;
  jobs[1].inside = step_inside;
  post(&red, 1);
  post(&red, 2);
  assert_int_equal(step(0), 2);
  assert_false(stepped_inside);
  assert_false(rsci_runner_is_stepping(runner));
  assert_true(rsci_runner_may_step(runner));
}

static void test_step_while_another_thread_steps_does_nothing(void **state) {
  (void)state;
  stepped_inside = true;
  jobs[1].inside = step_inside_elsewhere;
  post(&red, 1);
  post(&red, 2);
  assert_int_equal(step(0), 2);
  assert_false(stepped_inside);
}

static void *ask_may_step(void *user) {
  *(bool *)user = rsci_runner_may_step(runner);
  return NULL;
}

static bool another_thread_may_step(void) {
  bool may = false;
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, ask_may_step, &may), 0);
  assert_int_equal(pthread_join(thread, NULL), 0);
  return may;
}

static void *pin_here(void *user) {
  rsci_runner_pin(user);
  return NULL;
}

/* The thread that steps is the one it was made on, until another pins or steps it. */
static void test_runner_may_be_stepped_by_the_thread_that_steps_only(void **state) {
  (void)state;
  assert_true(rsci_runner_may_step(runner));
  assert_false(another_thread_may_step());
  assert_false(rsci_runner_is_pinned(runner));
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, pin_here, runner), 0);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_true(rsci_runner_is_pinned(runner));
  assert_false(rsci_runner_may_step(runner));
  rsci_runner_unpin(runner);
  step(0);
  assert_true(rsci_runner_may_step(runner));
}

static void *step_there(void *user) {
  size_t ran;
  *(bool *)user = rsci_runner_step(runner, 0, &ran);
  return NULL;
}

static void test_runner_stepped_by_another_thread_is_that_threads(void **state) {
  (void)state;
  bool stepped = false;
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, step_there, &stepped), 0);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_true(stepped);
  assert_false(rsci_runner_may_step(runner));
  assert_int_equal(step(0), 0);
  assert_true(rsci_runner_may_step(runner));
}

/* "A step of the caller's own making": everybody else's waits, and what is posted in it is seen afterwards. */
static void test_enter_is_a_step_until_leave(void **state) {
  (void)state;
  int fd = rsci_runner_fd(runner);
  size_t ran;
  assert_true(rsci_runner_enter(runner));
  assert_true(rsci_runner_is_stepping(runner));
  assert_false(rsci_runner_enter(runner));
  assert_false(rsci_runner_step(runner, 0, &ran));
  post_here(&red, 1);
  post(&red, 2);
  rsci_runner_leave(runner);
  assert_false(rsci_runner_is_stepping(runner));
  assert_true(is_readable(fd));
  assert_int_equal(step(0), 2);
  assert_false(is_readable(fd));
  noted = 0;
  assert_true(rsci_runner_enter(runner));
  post_here(&red, 1);
  rsci_runner_leave(runner);
  assert_true(is_readable(fd));
  assert_int_equal(step(0), 1);
}

static jmp_buf beyond_the_step;

static void leave_for_good(job *self) {
  (void)self;
  longjmp(beyond_the_step, 1);
}

/* "The step that is on will never go on: its stack is left for good." What it had not run waits for the next. */
static void test_abandoned_step_leaves_its_tasks_for_the_next(void **state) {
  (void)state;
  rsci_runner_abandon_step(runner); /* none is on: nothing */
  jobs[1].inside = leave_for_good;
  post(&red, 1);
  post(&red, 2);
  post(&blue, 3);
  if (setjmp(beyond_the_step) == 0)
    step(0);
  assert_true(rsci_runner_is_stepping(runner));
  rsci_runner_abandon_step(runner);
  assert_false(rsci_runner_is_stepping(runner));
  rsci_engine_release(&red); /* what the step held for its turn was left with its stack */
  assert_int_equal(step(0), 2);
  assert_noted(1, 2, 3);
}

/* ---- Alarms ---- */

static rsci_alarm alarms[JOBS];

static void set_alarm(int number, uint64_t due_ns) {
  jobs[number].task.engine = &red;
  alarms[number] = (rsci_alarm){.task = &jobs[number].task};
  if (!rsci_runner_set_alarm(runner, &alarms[number], due_ns))
    abort();
}

static const uint64_t hour_ns = 3600 * RSCI_NS_PER_SECOND;

static void test_alarm_due_runs_its_task_in_the_next_step(void **state) {
  (void)state;
  set_alarm(1, 2);
  set_alarm(2, 1);
  set_alarm(3, rsci_now_ns() + hour_ns);
  post(&red, 4);
  assert_int_equal(rsci_runner_timeout_ns(runner), 0);
  assert_int_equal(step(0), 3);
  assert_noted(4, 2, 1); /* the earlier alarm first */
  assert_int_equal(step(0), 0);
  rsci_runner_clear_alarm(runner, &alarms[3]);
}

static void test_alarm_cleared_never_runs(void **state) {
  (void)state;
  set_alarm(1, 1);
  set_alarm(2, 1);
  rsci_runner_clear_alarm(runner, &alarms[1]);
  assert_int_equal(step(0), 1);
  assert_noted(2);
  rsci_runner_clear_alarm(runner, &alarms[2]); /* it went off: harmless */
  assert_int_equal(rsci_runner_timeout_ns(runner), UINT64_MAX);
}

static void set_again(job *self) {
  self->inside = NULL;
  set_alarm(self->number, 1);
}

static void test_alarm_set_again_inside_its_own_task_waits_for_the_next_step(void **state) {
  (void)state;
  jobs[1].inside = set_again;
  set_alarm(1, 1);
  assert_int_equal(step(0), 1);
  assert_int_equal(rsci_runner_timeout_ns(runner), 0);
  assert_int_equal(step(0), 1);
  assert_int_equal(step(0), 0);
}

static void test_timeout_is_until_the_first_alarm(void **state) {
  (void)state;
  assert_int_equal(rsci_runner_timeout_ns(runner), UINT64_MAX);
  set_alarm(1, rsci_now_ns() + 2 * hour_ns);
  set_alarm(2, rsci_now_ns() + hour_ns);
  uint64_t timeout_ns = rsci_runner_timeout_ns(runner);
  assert_true(timeout_ns > 0 && timeout_ns <= hour_ns);
  rsci_runner_clear_alarm(runner, &alarms[2]);
  timeout_ns = rsci_runner_timeout_ns(runner);
  assert_true(timeout_ns > hour_ns / 2 && timeout_ns <= 2 * hour_ns);
  post(&red, 3);
  assert_int_equal(rsci_runner_timeout_ns(runner), 0);
  step(0);
  post_here(&red, 3);
  assert_int_equal(rsci_runner_timeout_ns(runner), 0);
  step(0);
  rsci_runner_clear_alarm(runner, &alarms[1]);
}

/* ---- Posting from other threads ---- */

enum { POSTERS = 4, POSTS = 2000 };

typedef struct numbered {
  rsci_task task;
  unsigned poster, number;
} numbered;

static numbered posted[POSTERS][POSTS];
static unsigned next_of[POSTERS], out_of_order;

static void numbered_run(rsci_task *task) {
  numbered *self = (numbered *)task;
  if (self->number != next_of[self->poster]++)
    out_of_order++;
}

static const rsci_task_ops numbered_ops = {numbered_run, numbered_run};

static void *post_many(void *user) {
  numbered *mine = user;
  for (unsigned i = 0; i < POSTS; i++) {
    mine[i].task.ops = &numbered_ops;
    mine[i].number = i;
    if (!rsci_engine_post(i % 2 ? &red : &blue, &mine[i].task))
      abort();
  }
  return NULL;
}

/* Each once; what one thread posts stays in its order; nothing is lost while the stepping thread waits. */
static void test_post_from_several_threads_runs_each_once_in_each_threads_order(void **state) {
  (void)state;
  pthread_t threads[POSTERS];
  memset(next_of, 0, sizeof next_of);
  out_of_order = 0;
  for (unsigned i = 0; i < POSTERS; i++) {
    for (unsigned k = 0; k < POSTS; k++)
      posted[i][k].poster = i;
    assert_int_equal(pthread_create(&threads[i], NULL, post_many, posted[i]), 0);
  }
  for (size_t ran = 0; ran < POSTERS * POSTS;) {
    size_t now = step(0);
    ran += now;
    if (now == 0)
      assert_true(rsci_runner_wait(runner, UINT64_MAX));
  }
  for (unsigned i = 0; i < POSTERS; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  assert_int_equal(step(0), 0);
  assert_int_equal(out_of_order, 0);
  for (unsigned i = 0; i < POSTERS; i++)
    assert_int_equal(next_of[i], POSTS);
}

/* The same, seen through the descriptor alone, as a host's loop does. */
static void test_post_from_several_threads_is_seen_through_the_descriptor(void **state) {
  (void)state;
  int fd = rsci_runner_fd(runner);
  assert_true(fd >= 0);
  pthread_t threads[POSTERS];
  memset(next_of, 0, sizeof next_of);
  out_of_order = 0;
  for (unsigned i = 0; i < POSTERS; i++) {
    for (unsigned k = 0; k < POSTS; k++)
      posted[i][k].poster = i;
    assert_int_equal(pthread_create(&threads[i], NULL, post_many, posted[i]), 0);
  }
  for (size_t ran = 0; ran < POSTERS * POSTS;) {
    struct pollfd watched = {.fd = fd, .events = POLLIN, .revents = 0};
    assert_int_equal(poll(&watched, 1, -1), 1);
    ran += step(0);
  }
  for (unsigned i = 0; i < POSTERS; i++)
    assert_int_equal(pthread_join(threads[i], NULL), 0);
  assert_int_equal(out_of_order, 0);
}

/* ---- The descriptor: readable while there is something to do ---- */

static void test_fd_is_readable_while_something_is_posted(void **state) {
  (void)state;
  int fd = rsci_runner_fd(runner);
  assert_true(fd >= 0);
  assert_int_equal(rsci_runner_fd(runner), fd);
  assert_false(is_readable(fd));
  post(&red, 1);
  assert_true(is_readable(fd));
  post(&red, 2);
  step(0);
  assert_false(is_readable(fd));
  post_here(&red, 1);
  assert_true(is_readable(fd));
  step(0);
  assert_false(is_readable(fd));
}

static void test_fd_asked_for_late_is_readable_at_once(void **state) {
  (void)state;
  post(&red, 1);
  assert_true(is_readable(rsci_runner_fd(runner)));
  step(0);
  assert_false(is_readable(rsci_runner_fd(runner)));
  post_here(&red, 1);
  assert_true(is_readable(rsci_runner_fd(runner)));
}

/* "While something is left the descriptor stays readable." */
static void test_fd_stays_readable_while_a_budget_leaves_something(void **state) {
  (void)state;
  int fd = rsci_runner_fd(runner);
  for (int i = 1; i <= 3; i++)
    post(&red, i);
  step(1);
  assert_true(is_readable(fd));
  step(1);
  assert_true(is_readable(fd));
  step(1);
  assert_false(is_readable(fd));
}

static void test_fd_is_readable_after_a_step_whose_tasks_posted(void **state) {
  (void)state;
  int fd = rsci_runner_fd(runner);
  jobs[1].inside = post_next;
  jobs[2].inside = post_next_here;
  post(&red, 1);
  step(0);
  assert_true(is_readable(fd));
  step(0);
  assert_true(is_readable(fd));
  step(0);
  assert_false(is_readable(fd));
}

static void post_one(void) {
  post(&red, 1);
}

/* Another thread may post while the descriptor is being made. */
static void test_fd_is_readable_when_something_is_posted_while_it_is_made(void **state) {
  (void)state;
  before_eventfd = post_one;
  int fd = rsci_runner_fd(runner);
  assert_non_null(runner->inbox);
  assert_true(is_readable(fd));
}

static void step_once(void) {
  size_t ran;
  (void)rsci_runner_step(runner, 0, &ran);
}

/* The thread that steps may be faster than the one that posts: it has run the task before the latter has written. */
static void test_fd_is_not_readable_for_ever_when_a_step_overtakes_a_post(void **state) {
  (void)state;
  int fd = rsci_runner_fd(runner);
  before_write = step_once;
  post(&red, 1);
  assert_noted(1);
  assert_int_equal(step(0), 0); /* a host that was woken for nothing */
  assert_false(is_readable(fd));
  post(&red, 2);
  assert_true(is_readable(fd));
  step(0);
  assert_false(is_readable(fd));
}

static void test_fd_is_minus_one_where_none_can_be_had(void **state) {
  (void)state;
  struct rlimit limit;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const struct rlimit none = {.rlim_cur = 0, .rlim_max = limit.rlim_max};
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  int fd = rsci_runner_fd(runner);
  bool waited = rsci_runner_wait(runner, 1); /* which needs none */
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
  assert_int_equal(fd, -1);
  assert_true(waited);
  post(&red, 1);
  assert_int_equal(step(0), 1);
  post(&red, 1);
  assert_true(is_readable(rsci_runner_fd(runner))); /* now there is one */
}

/* "Who never watches it never pays a system call"; who did wait pays no more afterwards. */
static void test_post_that_nobody_watches_makes_no_system_call(void **state) {
  (void)state;
  atomic_store(&system_calls, 0);
  post(&red, 1);
  step(0);
  post_here(&red, 1);
  step(0);
  assert_int_equal(atomic_load(&system_calls), 0);
  assert_true(rsci_runner_wait(runner, 1));
  atomic_store(&system_calls, 0);
  post(&red, 1);
  assert_true(rsci_runner_wait(runner, UINT64_MAX)); /* something is there: it does not sleep */
  step(0);
  post(&red, 1);
  step(0);
  assert_int_equal(atomic_load(&system_calls), 0);
}

/* A host that is slow pays once for many posts. */
static void test_posts_between_two_steps_write_once(void **state) {
  (void)state;
  (void)rsci_runner_fd(runner);
  atomic_store(&system_calls, 0);
  for (int i = 1; i < JOBS; i++)
    post(&red, i);
  assert_int_equal(atomic_load(&system_calls), 1);
  step(0);
  for (int i = 1; i < JOBS; i++)
    post_here(&red, i);
  assert_int_equal(atomic_load(&system_calls), 2);
  step(0);
}

/* ---- Waiting ---- */

static void test_wait_with_something_to_do_returns_at_once(void **state) {
  (void)state;
  post(&red, 1);
  assert_true(rsci_runner_wait(runner, UINT64_MAX));
  step(0);
  post_here(&red, 1);
  assert_true(rsci_runner_wait(runner, UINT64_MAX));
  step(0);
  set_alarm(1, 1);
  assert_true(rsci_runner_wait(runner, UINT64_MAX));
  assert_int_equal(step(0), 1);
}

static void *post_one_there(void *user) {
  post_one();
  return user;
}

static pthread_t waker;

static void wake_from_another_thread(void) {
  if (pthread_create(&waker, NULL, post_one_there, NULL) != 0)
    abort();
}

/* The wait is announced when the other thread starts: it posts before or while this one blocks. */
static void test_wait_is_woken_by_a_post_from_another_thread(void **state) {
  (void)state;
  for (unsigned round = 0; round < 100; round++) {
    before_sleep = wake_from_another_thread;
    assert_true(rsci_runner_wait(runner, UINT64_MAX));
    assert_int_equal(pthread_join(waker, NULL), 0);
    assert_int_equal(step(0), 1);
    assert_noted(1);
  }
}

static void test_wait_is_woken_by_a_post_between_its_look_and_its_sleep(void **state) {
  (void)state;
  before_sleep = post_one;
  assert_true(rsci_runner_wait(runner, UINT64_MAX));
  assert_int_equal(step(0), 1);
}

static void test_wait_ends_when_an_alarm_is_due(void **state) {
  (void)state;
  set_alarm(1, rsci_now_ns() + RSCI_NS_PER_MS);
  while (step(0) == 0)
    assert_true(rsci_runner_wait(runner, UINT64_MAX));
  assert_noted(1);
}

static void test_wait_ends_when_its_own_time_has_passed(void **state) {
  (void)state;
  set_alarm(1, rsci_now_ns() + hour_ns);
  assert_true(rsci_runner_wait(runner, RSCI_NS_PER_MS));
  assert_true(rsci_runner_wait(runner, 1));
  assert_true(rsci_runner_wait(runner, 0));
  assert_int_equal(step(0), 0);
  rsci_runner_clear_alarm(runner, &alarms[1]);
}

static void on_signal(int signal) {
  (void)signal;
}

static atomic_bool interrupted;
static pthread_t sleeper;

static void *interrupt_it(void *user) {
  while (!atomic_load(&interrupted)) {
    (void)pthread_kill(sleeper, SIGUSR1);
    (void)sched_yield();
  }
  return user;
}

static void start_interrupting(void) {
  if (pthread_create(&waker, NULL, interrupt_it, NULL) != 0)
    abort();
}

/* "Blocks until there is something to do, a signal handler ran ...": false then, and nothing is lost. */
static void test_wait_interrupted_by_a_signal_returns_false(void **state) {
  (void)state;
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, before;
  assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
  sleeper = pthread_self();
  atomic_store(&interrupted, false);
  before_sleep = start_interrupting;
  bool waited = rsci_runner_wait(runner, UINT64_MAX);
  atomic_store(&interrupted, true);
  assert_int_equal(pthread_join(waker, NULL), 0);
  assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
  assert_false(waited);
  post(&red, 1);
  assert_true(rsci_runner_wait(runner, UINT64_MAX));
  assert_int_equal(step(0), 1);
}

/* ---- Closing an engine ---- */

/* "From here on nothing runs on it: posts are refused, and tasks that wait are dropped. Idempotent." */
static void test_close_drops_the_tasks_of_that_engine_only(void **state) {
  (void)state;
  post(&red, 1);
  post(&blue, 2);
  post_here(&red, 3);
  post_here(&blue, 4);
  post(&red, 5);
  post(&blue, 6);
  rsci_engine_close(&red);
  assert_int_equal(noted, 3);
  assert_true(order[0] < 0 && order[1] < 0 && order[2] < 0);
  assert_int_equal(order[0] + order[1] + order[2], -(1 + 3 + 5));
  noted = 0;
  assert_true(rsci_engine_is_closed(&red));
  assert_false(rsci_engine_is_closed(&blue));
  assert_false(rsci_engine_post(&red, &jobs[7].task));
  assert_false(rsci_engine_post_here(&red, &jobs[7].task));
  rsci_engine_close(&red);
  assert_int_equal(noted, 0);
  assert_int_equal(step(0), 3);
  assert_noted(4, 2, 6); /* post_here is ready, the others are in the inbox still */
}

static void close_blue(job *self) {
  (void)self;
  rsci_engine_close(&blue);
}

static void test_close_inside_a_step_drops_what_the_step_had_before_it(void **state) {
  (void)state;
  jobs[1].inside = close_blue;
  post(&red, 1);
  post(&blue, 2);
  post(&red, 3);
  post(&blue, 4);
  assert_int_equal(step(0), 2);
  assert_noted(1, -2, -4, 3);
  assert_int_equal(step(0), 0);
}

static void test_close_leaves_what_a_budget_left_over_in_order(void **state) {
  (void)state;
  post(&red, 1);
  post(&blue, 2);
  post(&red, 3);
  post(&blue, 4);
  post(&red, 5);
  step(1);
  assert_noted(1);
  rsci_engine_close(&blue);
  assert_noted(-2, -4);
  assert_int_equal(step(0), 2);
  assert_noted(3, 5);
}

/* The engine whose last task is being run may be given back by that task. */
static void release_blue(job *self) {
  (void)self;
  rsci_engine_release(&blue);
}

static void test_step_keeps_the_engine_whose_turn_it_is(void **state) {
  (void)state;
  jobs[1].inside = release_blue;
  post(&blue, 1);
  rsci_engine_hold(&blue);
  assert_int_equal(step(0), 1);
  assert_int_equal(rsci_refs_count(&blue.refs), 1);
  assert_int_equal(destroyed, 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  static const struct CMUnitTest tests[] = {
      TEST(test_step_runs_tasks_in_the_order_of_their_posting),
      TEST(test_step_runs_at_most_its_budget),
      TEST(test_step_leaves_what_its_tasks_post_for_the_next),
      TEST(test_step_left_over_comes_before_what_was_posted_meanwhile),
      TEST(test_step_gives_turns_to_engines_as_their_tasks_come),
      TEST(test_step_budget_counts_over_all_engines),
      TEST(test_step_takes_turns_with_what_is_fed),
      TEST(test_step_inside_a_step_does_nothing),
      TEST(test_step_while_another_thread_steps_does_nothing),
      TEST(test_runner_may_be_stepped_by_the_thread_that_steps_only),
      TEST(test_runner_stepped_by_another_thread_is_that_threads),
      TEST(test_enter_is_a_step_until_leave),
      TEST(test_abandoned_step_leaves_its_tasks_for_the_next),
      TEST(test_alarm_due_runs_its_task_in_the_next_step),
      TEST(test_alarm_cleared_never_runs),
      TEST(test_alarm_set_again_inside_its_own_task_waits_for_the_next_step),
      TEST(test_timeout_is_until_the_first_alarm),
      TEST(test_post_from_several_threads_runs_each_once_in_each_threads_order),
      TEST(test_post_from_several_threads_is_seen_through_the_descriptor),
      TEST(test_fd_is_readable_while_something_is_posted),
      TEST(test_fd_asked_for_late_is_readable_at_once),
      TEST(test_fd_stays_readable_while_a_budget_leaves_something),
      TEST(test_fd_is_readable_after_a_step_whose_tasks_posted),
      TEST(test_fd_is_readable_when_something_is_posted_while_it_is_made),
      TEST(test_fd_is_not_readable_for_ever_when_a_step_overtakes_a_post),
      TEST(test_fd_is_minus_one_where_none_can_be_had),
      TEST(test_post_that_nobody_watches_makes_no_system_call),
      TEST(test_posts_between_two_steps_write_once),
      TEST(test_wait_with_something_to_do_returns_at_once),
      TEST(test_wait_is_woken_by_a_post_from_another_thread),
      TEST(test_wait_is_woken_by_a_post_between_its_look_and_its_sleep),
      TEST(test_wait_ends_when_an_alarm_is_due),
      TEST(test_wait_ends_when_its_own_time_has_passed),
      TEST(test_wait_interrupted_by_a_signal_returns_false),
      TEST(test_close_drops_the_tasks_of_that_engine_only),
      TEST(test_close_inside_a_step_drops_what_the_step_had_before_it),
      TEST(test_close_leaves_what_a_budget_left_over_in_order),
      TEST(test_step_keeps_the_engine_whose_turn_it_is),
  };
  return cmocka_run_group_tests_name("runner", tests, NULL, NULL);
}
