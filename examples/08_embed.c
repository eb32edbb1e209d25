/*
 * A C program with a loop of its own becomes one that can be asked: a manager, two actions written in C, and calls that
 * run them by name. The loop is poll() over the program's descriptors, a timer here, and the manager's: when
 * rsca_manager_fd is readable or rsca_manager_timeout_ms is over, rsca_manager_step runs what is due.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <rsca/manager.h>
#include <rsca/status.h>

typedef struct program {
  int timer;
  unsigned ticks;
  rsca_call *waiting; /* a call of "tick" that has not been answered yet */
  unsigned results;
} program;

/* ---- Actions ---- */

/* The lines of /proc/self/status that begin with the arguments. */
static HRESULT status_action(void *user, rsca_call *call, const char *args, size_t size) {
  (void)user;
  FILE *file = fopen("/proc/self/status", "r");
  if (!file) {
    static const char message[] = "/proc/self/status can't be opened";
    (void)rsca_call_report(call, message, sizeof message - 1);
    return E_FAIL;
  }
  char line[256];
  bool found = false;
  while (fgets(line, sizeof line, file)) {
    if (strncmp(line, args, size) == 0) {
      found = true;
      (void)rsca_call_report(call, line, strcspn(line, "\n"));
    }
  }
  (void)fclose(file);
  if (found)
    return S_OK;
  static const char message[] = "/proc/self/status has no such line";
  (void)rsca_call_report(call, message, sizeof message - 1);
  return E_INVALIDARG;
}

/* Answers later: E_PENDING leaves the call with the program, which finishes it when its timer ticks. */
static HRESULT tick_action(void *user, rsca_call *call, const char *args, size_t size) {
  program *self = user;
  (void)args;
  (void)size;
  if (self->waiting)
    return RSCA_E_BUSY;
  self->waiting = call;
  return E_PENDING;
}

static void on_tick(program *self) {
  uint64_t expirations;
  if (read(self->timer, &expirations, sizeof expirations) != (ssize_t)sizeof expirations)
    return;
  self->ticks++;
  if (!self->waiting)
    return;
  char text[32];
  int length = snprintf(text, sizeof text, "tick %u", self->ticks);
  rsca_call *call = self->waiting;
  self->waiting = NULL;
  (void)rsca_call_finish(call, S_OK, text, (size_t)length);
}

/* ---- Calls ---- */

static void on_result(void *user, HRESULT status, const void *response, size_t size, bool final) {
  program *self = user;
  const rsca_status_entry *known = rsca_status_find(status);
  printf("%s: %.*s\n", known ? known->name : "?", (int)size, size > 0 ? (const char *)response : "");
  self->results += final;
}

/* Whether the call was accepted: then its result will come. */
static bool run(program *self, rsca_manager *manager, const char *name, const char *args) {
  HRESULT status = rsca_manager_run(manager, name, args, on_result, self, NULL);
  if (FAILED(status)) {
    const rsca_status_entry *known = rsca_status_find(status);
    printf("refused: %s %s: %s\n", name, args, known ? known->meaning : "?");
  }
  return SUCCEEDED(status);
}

static void print_action(void *user, const rsca_action_info *action) {
  (void)user;
  printf("%-8s %s\n", action->name, action->help);
}

/* ---- The loop ---- */

static bool loop(program *self, rsca_manager *manager, unsigned results) {
  struct pollfd watched[] = {{.fd = self->timer, .events = POLLIN}, {.fd = rsca_manager_fd(manager), .events = POLLIN}};
  while (self->results < results) {
    int ready = poll(watched, 2, rsca_manager_timeout_ms(manager));
    if (ready < 0 && errno != EINTR)
      return false;
    if (ready > 0 && (watched[0].revents & POLLIN))
      on_tick(self);
    if (FAILED(rsca_manager_step(manager, 0)))
      return false;
  }
  return true;
}

int main(void) {
  program self = {.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)};
  const struct itimerspec every_50_ms = {.it_interval.tv_nsec = 50000000, .it_value.tv_nsec = 50000000};
  rsca_manager *manager = NULL;
  if (self.timer < 0 || timerfd_settime(self.timer, 0, &every_50_ms, NULL) < 0 ||
      FAILED(rsca_manager_create(NULL, &manager)) ||
      FAILED(rsca_manager_register(manager, "status", "lines of /proc/self/status", status_action, NULL, NULL)) ||
      FAILED(rsca_manager_register(manager, "tick", "answers at the next tick", tick_action, &self, NULL))) {
    fputs("the program can't start\n", stderr);
    return EXIT_FAILURE;
  }

  (void)rsca_manager_list(manager, print_action, NULL);
  unsigned accepted = 0;
  accepted += run(&self, manager, "tick", "");
  accepted += run(&self, manager, "status", "VmRSS");
  accepted += run(&self, manager, "status", "Vmrss");
  accepted += run(&self, manager, "statsu", "");
  bool done = loop(&self, manager, accepted);

  if (self.waiting) /* what has been left pending must be finished, whatever became of the call */
    (void)rsca_call_finish(self.waiting, RSCA_E_CANCELLED, NULL, 0);
  (void)rsca_manager_shutdown(manager, true);
  (void)rsca_manager_release(manager);
  (void)close(self.timer);
  return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
