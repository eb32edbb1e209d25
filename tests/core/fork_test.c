/*
 * A manager in the child of a fork: the child has an fd of its own; it drops inherited work and calls none of its
 * parent's callbacks; with `keep`, queued calls are kept and running ones end with ERROR_CANCELLED.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rsca/call.h>
#include <rsca/protocol_manager.h>

#include "client.h"
#include "support/child.h"

/* A manager with one call that runs, one that is queued, and a descriptor that is watched. */
typedef struct world {
  rsca_manager *manager;
  int fd;
  obedient echo, pending;
  outcome running, queued;
} world;

static void world_init_with(world *w, const rsca_config *config) {
  memset(w, 0, sizeof *w);
  w->manager = make_manager(config);
  w->fd = rsca_manager_fd(w->manager);
  w->echo.echo = true;
  w->pending.status = E_PENDING;
  assert_int_equal(register_obedient(w->manager, "echo", &w->echo), S_OK);
  assert_int_equal(register_obedient(w->manager, "pending", &w->pending), S_OK);
  assert_int_equal(submit(w->manager, "pending", "", &w->running, NULL), S_OK);
  (void)step_all(w->manager);
  assert_int_equal(submit(w->manager, "echo", "queued", &w->queued, NULL), S_OK);
}

static void world_init(world *w) {
  world_init_with(w, NULL);
}

/* The parent goes on as if nothing had been. */
static void world_fini(world *w) {
  (void)step_all(w->manager);
  assert_true(ended_with(&w->queued, S_OK, "queued", 6));
  assert_int_equal(w->running.reports, 0);
  assert_int_equal(rsca_call_finish(w->pending.call, S_OK, "late", 4), S_OK);
  (void)step_all(w->manager);
  assert_true(ended_with(&w->running, S_OK, "late", 4));
  assert_int_equal(rsca_manager_release(w->manager), 0);
}

static unsigned long long in_flight(rsca_manager *manager) {
  rsca_manager_stats stats;
  rsca_manager_get_stats(manager, &stats);
  return stats.accepted - stats.ended;
}

/* ---- Dropping ---- */

static void child_drops(void *user) {
  world *w = user;
  child_expects(rsca_manager_timeout_ms(w->manager) == 0);
  (void)step_all(w->manager);
  child_expects(w->queued.reports == 0 && w->running.reports == 0);
  child_expects(w->echo.runs == 0);
  child_expects(in_flight(w->manager) == 0);
  child_expects(rsca_manager_timeout_ms(w->manager) == -1);

  /* What is its own works as ever; whoever still has a call of the parent's may finish it. */
  outcome own = {0};
  child_expects(submit(w->manager, "echo", "own", &own, NULL) == S_OK);
  child_expects(rsca_call_finish(w->pending.call, S_OK, "late", 4) == S_OK);
  (void)step_all(w->manager);
  child_expects(ended_with(&own, S_OK, "own", 3));
  child_expects(w->running.reports == 0);
  child_expects(rsca_manager_release(w->manager) == 0);
  child_expects(w->echo.freed == 1 && w->pending.freed == 1);
}

static void test_child_drops_inherited_work_and_calls_none_of_its_parents_callbacks(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  assert_int_equal(in_child(child_drops, &w), 0);
  world_fini(&w);
}

static void child_submits_first(void *user) {
  world *w = user;
  outcome own = {0};
  child_expects(submit(w->manager, "echo", "own", &own, NULL) == S_OK);
  (void)step_all(w->manager);
  child_expects(ended_with(&own, S_OK, "own", 3));
  child_expects(w->queued.reports == 0 && w->running.reports == 0);
  child_expects(rsca_call_finish(w->pending.call, S_OK, NULL, 0) == S_OK);
  child_expects(rsca_manager_release(w->manager) == 0);
}

static void test_child_that_submits_before_it_steps_keeps_its_own_call(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  assert_int_equal(in_child(child_submits_first, &w), 0);
  world_fini(&w);
}

static void child_only_releases(void *user) {
  world *w = user;
  child_expects(rsca_manager_release(w->manager) == 0);
  child_expects(w->queued.reports == 0 && w->running.reports == 0);
  child_expects(rsca_call_finish(w->pending.call, S_OK, NULL, 0) == S_OK);
  child_expects(w->echo.freed == 1 && w->pending.freed == 1);
}

static void test_child_that_only_releases_tells_nobody(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  assert_int_equal(in_child(child_only_releases, &w), 0);
  world_fini(&w);
}

static void child_shuts_down(void *user) {
  world *w = user;
  child_expects(rsca_manager_shutdown(w->manager, false) == S_OK);
  child_expects(w->queued.reports == 0 && w->running.reports == 0);
  child_expects(rsca_call_finish(w->pending.call, S_OK, NULL, 0) == S_OK);
  child_expects(rsca_manager_release(w->manager) == 0);
}

static void test_child_that_shuts_down_waits_for_nothing_of_its_parents(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  assert_int_equal(in_child(child_shuts_down, &w), 0);
  world_fini(&w);
}

/* ---- Keeping ---- */

/* Threads of this process. */
static unsigned count_threads(void) {
  unsigned threads = 0;
  char line[256];
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file))
    (void)sscanf(line, "Threads: %u", &threads);
  if (file)
    (void)fclose(file);
  return threads;
}

static void child_keeps(void *user) {
  world *w = user;
  child_expects(rsca_manager_after_fork(w->manager, true) == S_OK);
  child_expects(ended_saying_why(&w->running, RSCA_E_CANCELLED));
  child_expects(w->queued.reports == 0);
  child_expects(rsca_manager_after_fork(w->manager, true) == S_FALSE);
  (void)step_all(w->manager);
  child_expects(ended_with(&w->queued, S_OK, "queued", 6));
  child_expects(w->running.reports == 1);
  child_expects(rsca_call_finish(w->pending.call, S_OK, NULL, 0) == S_OK);
  child_expects(rsca_manager_release(w->manager) == 0);
}

static void child_starts_no_thread(void *user) {
  unsigned before = count_threads();
  child_expects(before > 0);
  child_expects(rsca_manager_after_fork(((world *)user)->manager, true) == S_OK);
  child_expects(count_threads() == before);
  _exit(0);
}

static void test_child_that_keeps_starts_no_thread_that_its_parent_had_not(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  assert_int_equal(in_child(child_starts_no_thread, &w), 0);
  world_fini(&w);
}

static void test_child_that_keeps_runs_queued_calls_and_running_ones_end_cancelled(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  assert_int_equal(in_child(child_keeps, &w), 0);
  world_fini(&w);
}

static void child_is_late(void *user) {
  world *w = user;
  (void)rsca_manager_step(w->manager, 0);
  child_expects(rsca_manager_after_fork(w->manager, true) == RSCA_E_INVALID_STATE);
  child_expects(rsca_manager_after_fork(w->manager, false) == S_FALSE);
  _exit(0);
}

static void test_after_fork_says_when_there_is_nothing_to_inherit_or_it_is_too_late(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  assert_int_equal(rsca_manager_after_fork(w.manager, true), S_FALSE);
  assert_int_equal(rsca_manager_after_fork(w.manager, false), S_FALSE);
  assert_int_equal(rsca_manager_after_fork(NULL, true), E_INVALIDARG);
  assert_int_equal(in_child(child_is_late, &w), 0);
  world_fini(&w);
}

/* A daemon that forks twice, as daemons do, and keeps its work both times. */
static void grandchild_keeps(void *user) {
  world *w = user;
  child_expects(rsca_manager_after_fork(w->manager, true) == S_OK);
  (void)step_all(w->manager);
  child_expects(ended_with(&w->queued, S_OK, "queued", 6));
  child_expects(w->running.reports == 1);
  _exit(0);
}

static void child_keeps_and_forks(void *user) {
  world *w = user;
  child_expects(rsca_manager_after_fork(w->manager, true) == S_OK);
  child_expects(in_child(grandchild_keeps, w) == 0);
  _exit(0);
}

static void child_forks_at_once(void *user) {
  world *w = user;
  child_expects(in_child(grandchild_keeps, w) == 0);
  _exit(0);
}

static void test_child_of_a_child_keeps_too(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  assert_int_equal(in_child(child_keeps_and_forks, &w), 0);
  assert_int_equal(in_child(child_forks_at_once, &w), 0);
  world_fini(&w);
}

static void grandchild_drops(void *user) {
  world *w = user;
  (void)step_all(w->manager);
  child_expects(w->queued.reports == 0);
  _exit(0);
}

static void child_keeps_and_its_child_drops(void *user) {
  world *w = user;
  child_expects(rsca_manager_after_fork(w->manager, true) == S_OK);
  child_expects(in_child(grandchild_drops, w) == 0);
  (void)step_all(w->manager);
  child_expects(ended_with(&w->queued, S_OK, "queued", 6));
  _exit(0);
}

static void test_what_a_child_kept_its_own_child_may_drop(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  assert_int_equal(in_child(child_keeps_and_its_child_drops, &w), 0);
  world_fini(&w);
}

/* ---- The descriptor ---- */

static void child_watches(void *user) {
  world *w = user;
  int fd = rsca_manager_fd(w->manager);
  child_expects(fd == w->fd); /* a loop that goes on watching the number watches the right thing */
  child_expects(is_readable(fd));
  (void)step_all(w->manager);
  child_expects(!is_readable(fd));
  outcome own = {0};
  child_expects(submit(w->manager, "echo", "own", &own, NULL) == S_OK);
  child_expects(is_readable(fd));
  (void)step_all(w->manager);
  child_expects(!is_readable(fd));
  _exit(0);
}

static void test_child_has_a_descriptor_of_its_own_and_steals_none_of_its_parents_wake_ups(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  assert_true(is_readable(w.fd));
  assert_int_equal(in_child(child_watches, &w), 0);
  assert_true(is_readable(w.fd));
  (void)step_all(w.manager);
  assert_false(is_readable(w.fd));
  world_fini(&w);
}

static void child_waits_for_its_own(void *user) {
  world *w = user;
  char byte;
  (void)step_all(w->manager);
  child_expects(write(((int *)w->queued.user)[1], "x", 1) == 1); /* the parent posts now */
  child_expects(read(((int *)w->queued.user)[2], &byte, 1) == 1);
  child_expects(!is_readable(w->fd));
  _exit(0);
}

static void test_parents_wake_ups_do_not_reach_the_child(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  int to_parent[2], to_child[2];
  assert_int_equal(pipe(to_parent), 0);
  assert_int_equal(pipe(to_child), 0);
  int pipes[] = {to_parent[0], to_parent[1], to_child[0], to_child[1]};
  w.queued.user = pipes;
  (void)step_all(w.manager);
  (void)fflush(NULL);
  pid_t child = fork();
  if (child == 0)
    child_waits_for_its_own(&w);
  assert_true(child > 0);
  char byte;
  assert_int_equal(read(pipes[0], &byte, 1), 1);
  outcome more = {0};
  assert_int_equal(submit(w.manager, "echo", "more", &more, NULL), S_OK);
  assert_true(is_readable(w.fd));
  assert_int_equal(write(pipes[3], "x", 1), 1);
  assert_int_equal(child_status(child), 0);
  assert_true(is_readable(w.fd));
  for (int i = 0; i < 4; i++)
    (void)close(pipes[i]);
  world_fini(&w);
  assert_true(ended_with(&more, S_OK, "more", 4));
}

/* A daemon that closes all descriptors, and opens a file that gets the number. */
static void child_closes_descriptors(void *user) {
  world *w = user;
  char path[] = "/tmp/rsca-fork-XXXXXX";
  int file = mkstemp(path);
  child_expects(file >= 0 && unlink(path) == 0);
  (void)close(w->fd);
  child_expects(dup2(file, w->fd) == w->fd);
  outcome own = {0};
  child_expects(submit(w->manager, "echo", "own", &own, NULL) == S_OK);
  (void)step_all(w->manager);
  child_expects(own.reports == 1);
  int fd = rsca_manager_fd(w->manager);
  child_expects(fd >= 0 && fd != w->fd);
  child_expects(submit(w->manager, "echo", "own", &own, NULL) == S_OK);
  child_expects(is_readable(fd));
  struct stat status;
  child_expects(fstat(w->fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size == 0);
  _exit(0);
}

static void test_child_that_closed_the_number_finds_its_own_file_untouched(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  assert_int_equal(in_child(child_closes_descriptors, &w), 0);
  world_fini(&w);
}

static void child_blocks(void *user) {
  world *w = user;
  wait_as_host(w->manager);
  (void)step_all(w->manager);
  outcome own = {0};
  child_expects(submit(w->manager, "echo", "own", &own, NULL) == S_OK);
  wait_as_host(w->manager);
  (void)step_all(w->manager);
  child_expects(own.reports == 1);
  _exit(0);
}

static void test_child_waits_as_any_host(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  assert_int_equal(in_child(child_blocks, &w), 0);
  world_fini(&w);
}

/* ---- A fork inside an action ---- */

typedef struct forking {
  world w;
  pid_t child;
  bool keep;
} forking;

static void fork_inside(obedient *self, void *user) {
  forking *f = user;
  (void)self;
  (void)fflush(NULL);
  f->child = fork();
  if (f->child == 0 && f->keep)
    child_expects(rsca_manager_after_fork(f->w.manager, true) == S_OK);
}

static void fork_in_an_action(forking *f) {
  world_init(&f->w);
  obedient forks = {.inside = fork_inside, .user = f, .echo = true};
  assert_int_equal(register_obedient(f->w.manager, "forks", &forks), S_OK);
  outcome heard = {0}, behind = {0};
  assert_int_equal(submit(f->w.manager, "forks", "both", &heard, NULL), S_OK);
  assert_int_equal(submit(f->w.manager, "echo", "behind", &behind, NULL), S_OK);
  (void)step_all(f->w.manager);
  if (f->child == 0) { /* it came back out of the step, as the parent does */
    child_expects(heard.reports == f->keep && behind.reports == f->keep);
    child_expects(f->w.running.reports == f->keep);
    child_expects(f->w.queued.reports == 1); /* before the fork, in the same step */
    child_expects(in_flight(f->w.manager) == 0);
    _exit(0);
  }
  assert_true(f->child > 0);
  assert_int_equal(child_status(f->child), 0);
  assert_true(ended_with(&heard, S_OK, "both", 4));
  assert_true(ended_with(&behind, S_OK, "behind", 6));
  world_fini(&f->w);
}

static void test_fork_inside_an_action_is_heard_of_in_the_parent_only(void **unused) {
  (void)unused;
  forking f = {.keep = false};
  fork_in_an_action(&f);
}

static void test_fork_inside_an_action_may_keep_what_follows(void **unused) {
  (void)unused;
  forking f = {.keep = true};
  fork_in_an_action(&f);
}

/* ---- Time limits: the thread that sees to them is the parent's ---- */

#ifndef __SANITIZE_THREAD__ /* its runtime starts no threads in a child */
static void test_child_of_a_manager_with_a_time_limit_drops_too(void **unused) {
  (void)unused;
  world w;
  const rsca_config config = {.time_limit_ms = 1000000};
  world_init_with(&w, &config);
  assert_int_equal(in_child(child_drops, &w), 0);
  assert_int_equal(in_child(child_keeps, &w), 0);
  assert_int_equal(in_child(child_only_releases, &w), 0);
  assert_int_equal(in_child(child_shuts_down, &w), 0);
  world_fini(&w);
}

static void open_gate(void *user) {
  gate_open(user);
}

static void child_keeps_what_is_limited(void *user) {
  world *w = user;
  gate told;
  gate_init(&told);
  w->queued.inside = open_gate;
  w->queued.user = &told;
  child_expects(rsca_manager_after_fork(w->manager, true) == S_OK);
  gate_pass(&told); /* nobody steps: the limit ends it */
  child_expects(w->queued.reports == 1 && w->queued.status == RSCA_E_TIMEOUT);
  _exit(0);
}

static void test_calls_that_a_child_keeps_keep_their_time_limit(void **unused) {
  (void)unused;
  world w;
  const rsca_config config = {.time_limit_ms = 1000};
  world_init_with(&w, &config);
  assert_int_equal(in_child(child_keeps_what_is_limited, &w), 0);
  assert_int_equal(rsca_manager_shutdown(w.manager, true), S_OK);
  assert_int_equal(rsca_call_finish(w.pending.call, S_OK, NULL, 0), S_OK);
  assert_int_equal(rsca_manager_release(w.manager), 0);
}
#endif

/* ---- Other callbacks ---- */

typedef struct others {
  rsca_manager *manager;
  counting_callback callback;
  outcome stream;
  obedient pending;
  unsigned asked; /* ReportHealth */
} others;

typedef struct asking {
  IHealthStatusCallback iface;
  others *world;
  unsigned references;
} asking;

static ULONG asking_AddRef(IHealthStatusCallback *iface) {
  return ++((asking *)iface)->references;
}

static ULONG asking_Release(IHealthStatusCallback *iface) {
  return --((asking *)iface)->references;
}

static HRESULT asking_ReportHealth(IHealthStatusCallback *iface, BOOL healthy) {
  ((asking *)iface)->world->asked += healthy ? 1 : 100;
  return S_OK;
}

static const IHealthStatusCallbackVtbl asking_vtbl = {asking_AddRef, asking_Release, asking_ReportHealth};

static void on_stream(void *user, HRESULT status, const void *response, size_t size, bool final) {
  outcome *heard = user;
  (void)response;
  (void)size;
  (void) final;
  heard->status = status;
  atomic_fetch_add(&heard->reports, 1);
}

static void child_has_others_dropped(void *user) {
  others *o = user;
  (void)step_all(o->manager);
  child_expects(o->callback.heard.reports == 0);
  child_expects(o->callback.references == 1); /* given back all the same */
  child_expects(o->stream.reports == 0);
  child_expects(o->asked == 0);
  child_expects(rsca_call_report(o->pending.call, "late", 4) == RSCA_E_CANCELLED);
  (void)step_all(o->manager);
  child_expects(o->stream.reports == 0);
  _exit(0);
}

static void child_has_others_kept(void *user) {
  others *o = user;
  child_expects(rsca_manager_after_fork(o->manager, true) == S_OK);
  (void)step_all(o->manager);
  child_expects(o->callback.heard.reports == 1 && o->callback.heard.status == S_OK);
  child_expects(o->callback.references == 1);
  child_expects(o->stream.reports == 1 && o->stream.status == RSCA_E_CANCELLED);
  child_expects(o->asked == 1);
  _exit(0);
}

static void test_interface_callbacks_streams_and_health_are_dropped_or_kept_alike(void **unused) {
  (void)unused;
  others o = {.manager = make_manager(NULL), .pending.status = E_PENDING};
  obedient echo = {.echo = true};
  asking asks = {.iface = {&asking_vtbl}, .world = &o, .references = 1};
  counting_callback_init(&o.callback);
  assert_int_equal(register_obedient(o.manager, "echo", &echo), S_OK);
  assert_int_equal(register_obedient(o.manager, "pending", &o.pending), S_OK);
  assert_int_equal(rsca_manager_subscribe(o.manager, "pending", "", on_stream, &o.stream, NULL), S_OK);
  (void)step_all(o.manager);
  IPmCustomActions *actions = rsca_manager_custom_actions(o.manager);
  assert_int_equal(submit_to_interface(actions, u"echo", u"x", &o.callback), S_OK);
  (void)actions->lpVtbl->Release(actions);
  IPmHealthAndIdleMonitor *monitor = rsca_manager_health_monitor(o.manager);
  assert_int_equal(monitor->lpVtbl->CheckHealth(monitor, &asks.iface), S_OK);
  (void)monitor->lpVtbl->Release(monitor);

  assert_int_equal(in_child(child_has_others_dropped, &o), 0);
  assert_int_equal(in_child(child_has_others_kept, &o), 0);

  (void)step_all(o.manager);
  assert_int_equal(o.callback.heard.reports, 1);
  assert_int_equal(o.asked, 1);
  assert_int_equal(rsca_call_finish(o.pending.call, S_OK, NULL, 0), S_OK);
  (void)step_all(o.manager);
  assert_int_equal(o.stream.reports, 1);
  assert_int_equal(rsca_manager_release(o.manager), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_child_drops_inherited_work_and_calls_none_of_its_parents_callbacks),
      cmocka_unit_test(test_child_that_submits_before_it_steps_keeps_its_own_call),
      cmocka_unit_test(test_child_that_only_releases_tells_nobody),
      cmocka_unit_test(test_child_that_shuts_down_waits_for_nothing_of_its_parents),
      cmocka_unit_test(test_child_that_keeps_starts_no_thread_that_its_parent_had_not),
      cmocka_unit_test(test_child_that_keeps_runs_queued_calls_and_running_ones_end_cancelled),
      cmocka_unit_test(test_after_fork_says_when_there_is_nothing_to_inherit_or_it_is_too_late),
      cmocka_unit_test(test_child_of_a_child_keeps_too),
      cmocka_unit_test(test_what_a_child_kept_its_own_child_may_drop),
      cmocka_unit_test(test_child_has_a_descriptor_of_its_own_and_steals_none_of_its_parents_wake_ups),
      cmocka_unit_test(test_parents_wake_ups_do_not_reach_the_child),
      cmocka_unit_test(test_child_that_closed_the_number_finds_its_own_file_untouched),
      cmocka_unit_test(test_child_waits_as_any_host),
      cmocka_unit_test(test_fork_inside_an_action_is_heard_of_in_the_parent_only),
      cmocka_unit_test(test_fork_inside_an_action_may_keep_what_follows),
#ifndef __SANITIZE_THREAD__
      cmocka_unit_test(test_child_of_a_manager_with_a_time_limit_drops_too),
      cmocka_unit_test(test_calls_that_a_child_keeps_keep_their_time_limit),
#endif
      cmocka_unit_test(test_interface_callbacks_streams_and_health_are_dropped_or_kept_alike),
  };
  return cmocka_run_group_tests_name("fork", tests, NULL, NULL);
}
