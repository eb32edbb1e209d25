#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "failure.h"
#include "json.h"
#include "output.h"

#define GRACE_MS 1000u               /* for the action, to end by itself */
#define STOP_NS UINT64_C(2000000000) /* then it is stopped; and when this is over, too, the program ends */
#define NEVER UINT64_MAX

enum { STOP = 0, DUE = 253 }; /* events beside the reasons */

static struct {
  const cli_options *options;
  pthread_t thread;
  int events[2]; /* a pipe: one byte for each event */
  uint64_t due_ns;
  pthread_mutex_t lock;  /* for all below */
  rsca_manager *manager; /* NULL: there is no call, or none any more */
  uint64_t id;
  bool claimed;
  int reason;
  int exit_status; /* if it has to be cut */
} guard = {.events = {-1, -1}, .lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t now_ns(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

int cli_exit_status(int reason) {
  return reason == CLI_TIME_OVER ? CLI_FAILED : 128 + reason;
}

char *cli_time_over_message(const cli_options *options) {
  char *text;
  return asprintf(&text, "the time limit of %s s is over", options->limit) < 0 ? NULL : text;
}

/* ---- Events ---- */

static void send_event(int event) {
  const unsigned char byte = (unsigned char)event;
  int saved = errno;
  while (write(guard.events[1], &byte, 1) < 0 && errno == EINTR)
    ;
  errno = saved;
}

static void on_signal(int signal_number) {
  send_event(signal_number);
}

static void catch_signals(void) {
  static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)(SA_RESTART | SA_RESETHAND)};
  for (size_t i = 0; i < sizeof ending / sizeof *ending; i++) {
    struct sigaction old;
    bool keep = ending[i] == SIGHUP && sigaction(SIGHUP, NULL, &old) == 0 && old.sa_handler == SIG_IGN; /* nohup */
    if (!keep)
      (void)sigaction(ending[i], &action, NULL);
  }
}

static int timeout_ms(uint64_t due_ns) {
  if (due_ns == NEVER)
    return -1;
  uint64_t now = now_ns();
  uint64_t ms = due_ns > now ? (due_ns - now + 999999) / 1000000 : 0;
  return ms > INT_MAX ? INT_MAX : (int)ms;
}

static int next_event(uint64_t due_ns) {
  for (;;) {
    struct pollfd watched = {.fd = guard.events[0], .events = POLLIN};
    int ready = poll(&watched, 1, timeout_ms(due_ns));
    unsigned char byte;
    if (ready > 0 && read(guard.events[0], &byte, 1) == 1)
      return byte;
    if (ready == 0 && now_ns() >= due_ns)
      return DUE;
  }
}

/* ---- Ending: with the lock held ---- */

static void end_call(void) {
  if (!guard.manager)
    return;
  /* A registration that is not wanted any more has not failed; one that has run out of time has. */
  if (guard.reason != CLI_TIME_OVER)
    (void)rsca_manager_unsubscribe(guard.manager, guard.id);
  (void)rsca_manager_cancel(guard.manager, guard.id, GRACE_MS);
}

static void begin(int reason) {
  guard.reason = reason;
  if (reason != CLI_NO_READER)
    guard.exit_status = cli_exit_status(reason);
  guard.due_ns = now_ns() + STOP_NS;
  end_call();
}

static bool is_writable(int fd) {
  struct pollfd watched = {.fd = fd, .events = POLLOUT};
  return poll(&watched, 1, 0) == 1 && (watched.revents & POLLOUT);
}

/* The main thread is stuck, in the action perhaps, or in writing; nothing that it may hold is touched. */
static void report_time_over(void) {
  char *message = cli_time_over_message(guard.options);
  const cli_failure failure =
      cli_failure_of(RSCA_E_TIMEOUT, message, message ? strlen(message) : 0, guard.options->name);
  cli_failure_print(&failure);
  char *line = guard.options->json && is_writable(STDOUT_FILENO) ? cli_json_failure(guard.options, &failure) : NULL;
  if (line) {
    size_t size = strlen(line);
    line[size] = '\n'; /* instead of its end */
    (void)cli_write(STDOUT_FILENO, line, size + 1);
  }
}

static void give_up(void) {
  if (guard.reason == CLI_TIME_OVER)
    report_time_over();
  _exit(guard.exit_status);
}

static void on_event(int event) {
  bool in_time = guard.claimed && (guard.reason == CLI_NO_REASON || guard.reason == CLI_TIME_OVER);
  if (event != DUE) {
    if (guard.reason == CLI_NO_REASON || in_time)
      begin(event);
  } else if (in_time) {
    guard.due_ns = NEVER; /* what is left is to write the result, which may take its time */
  } else if (guard.reason == CLI_NO_REASON) {
    begin(CLI_TIME_OVER);
  } else {
    give_up();
  }
}

static void *guard_main(void *unused) {
  for (int event; (event = next_event(guard.due_ns)) != STOP;) {
    (void)pthread_mutex_lock(&guard.lock);
    on_event(event);
    (void)pthread_mutex_unlock(&guard.lock);
  }
  return unused;
}

/* ---- For the main thread ---- */

/* Signals are for the main thread: they shall interrupt what it waits for. */
static bool start_thread(void) {
  sigset_t all, old;
  (void)sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &old);
  int error = pthread_create(&guard.thread, NULL, guard_main, NULL);
  (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
  return error == 0;
}

bool cli_guard_start(const cli_options *options) {
  guard.options = options;
  guard.due_ns = options->limit ? now_ns() + options->limit_ns : NEVER;
  if (pipe2(guard.events, O_CLOEXEC) != 0)
    return false;
  if (!start_thread())
    return false;
  catch_signals();
  return true;
}

void cli_guard_attach(rsca_manager *manager, uint64_t id) {
  (void)pthread_mutex_lock(&guard.lock);
  guard.manager = manager;
  guard.id = id;
  if (guard.reason != CLI_NO_REASON)
    end_call();
  (void)pthread_mutex_unlock(&guard.lock);
}

void cli_guard_end(int exit_status) {
  (void)pthread_mutex_lock(&guard.lock);
  if (guard.reason == CLI_NO_REASON)
    guard.exit_status = exit_status;
  (void)pthread_mutex_unlock(&guard.lock);
  send_event(CLI_NO_READER);
}

int cli_guard_claim(void) {
  (void)pthread_mutex_lock(&guard.lock);
  guard.manager = NULL;
  guard.claimed = true;
  int reason = guard.reason;
  (void)pthread_mutex_unlock(&guard.lock);
  return reason;
}

void cli_guard_stop(void) {
  send_event(STOP);
  (void)pthread_join(guard.thread, NULL);
}
