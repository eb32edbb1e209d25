/*
 * A C program whose loop is plain poll(), and which never waits for an action. Two managers are in it: a pool, whose
 * actions are in Lua and run on threads of their own, and one without workers, whose actions run in the loop, when it
 * steps. The callbacks of a pool are called on its threads: here they send what they hear through a pipe, so that the
 * loop reads it like anything else.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <rsca/lua.h>
#include <rsca/manager.h>
#include <rsca/status.h>

static const char script[] = "local rsca = require 'rsca'\n"
                             "rsca.register('sum', function(args)\n"
                             "  local sum = 0\n"
                             "  for number in args:gmatch('%S+') do sum = sum + number end\n"
                             "  return sum\n"
                             "end)\n"
                             "rsca.register('count', function(args, ctx)\n"
                             "  for n = 1, math.tointeger(args) do ctx:report(n) end\n"
                             "end)\n"
                             "rsca.register('endless', function() while true do end end)\n";

/* What goes through the pipe, in one piece: it is smaller than PIPE_BUF. */
typedef struct result {
  const char *name;
  HRESULT status;
  bool final;
  size_t size;
  char bytes[128];
} result;

typedef struct program {
  int results[2]; /* the pipe */
  int timer;
  unsigned ticks;
  int pending; /* calls of the pool that have not ended */
} program;

typedef struct call {
  program *owner;
  const char *name;
} call;

static const char *name_of(HRESULT status) {
  const rsca_status_entry *entry = rsca_status_find(status);
  return entry ? entry->name : "?";
}

/* On a thread of the pool. */
static void on_pool_result(void *user, HRESULT status, const void *response, size_t size, bool final) {
  const call *of = user;
  result sent = {.name = of->name, .status = status, .final = final};
  sent.size = size < sizeof sent.bytes ? size : sizeof sent.bytes;
  if (sent.size > 0)
    memcpy(sent.bytes, response, sent.size);
  while (write(of->owner->results[1], &sent, sizeof sent) < 0 && errno == EINTR) {
  }
}

/* In the loop. */
static void read_result(program *self) {
  result got;
  if (read(self->results[0], &got, sizeof got) != (ssize_t)sizeof got)
    return;
  printf("%s: %s %.*s\n", got.name, name_of(got.status), FAILED(got.status) ? 0 : (int)got.size, got.bytes);
  self->pending -= got.final;
}

/* An action of the loop's own manager: it may look at everything that the loop does. */
static HRESULT ticks_action(void *user, rsca_call *answered, const char *args, size_t size) {
  const program *self = user;
  const char *text = self->ticks > 1 ? "the loop went on" : "the loop stood still";
  (void)args;
  (void)size;
  return rsca_call_report(answered, text, strlen(text));
}

static void on_own_result(void *user, HRESULT status, const void *response, size_t size, bool final) {
  (void)user;
  (void) final;
  printf("ticks: %s %.*s\n", name_of(status), (int)size, size > 0 ? (const char *)response : "");
}

static bool loop(program *self, rsca_manager *own) {
  struct pollfd watched[] = {{.fd = self->timer, .events = POLLIN},
                             {.fd = self->results[0], .events = POLLIN},
                             {.fd = rsca_manager_fd(own), .events = POLLIN}};
  while (self->pending > 0) {
    if (poll(watched, 3, rsca_manager_timeout_ms(own)) < 0) {
      if (errno == EINTR)
        continue;
      return false;
    }
    uint64_t expirations;
    if ((watched[0].revents & POLLIN) && read(self->timer, &expirations, sizeof expirations) > 0)
      self->ticks++;
    if (watched[1].revents & POLLIN)
      read_result(self);
    if (FAILED(rsca_manager_step(own, 64))) /* a budget, so that the others have their turn */
      return false;
  }
  return true;
}

int main(void) {
  program self = {.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)};
  const struct itimerspec every_10_ms = {.it_interval.tv_nsec = 10000000, .it_value.tv_nsec = 10000000};
  const rsca_config pool_config = {.workers = 1, .time_limit_ms = 200};
  const rsca_lua_script source = {.text = script, .name = "the script"};
  rsca_manager *pool = NULL, *own = NULL;
  char message[256] = "";
  if (self.timer < 0 || timerfd_settime(self.timer, 0, &every_10_ms, NULL) < 0 || pipe(self.results) < 0 ||
      FAILED(rsca_manager_create(&pool_config, &pool)) ||
      FAILED(rsca_lua_load_script(pool, &source, message, sizeof message)) || FAILED(rsca_manager_create(NULL, &own)) ||
      FAILED(rsca_manager_register(own, "ticks", "whether the loop goes on", ticks_action, &self, NULL))) {
    fprintf(stderr, "the program can't start: %s\n", message);
    return EXIT_FAILURE;
  }

  call sum = {&self, "sum"}, count = {&self, "count"}, endless = {&self, "endless"};
  self.pending += rsca_manager_run(pool, "sum", "1 2 39", on_pool_result, &sum, NULL) == S_OK;
  self.pending += rsca_manager_subscribe(pool, "count", "3", on_pool_result, &count, NULL) == S_OK;
  self.pending += rsca_manager_run(pool, "endless", "", on_pool_result, &endless, NULL) == S_OK;
  bool done = loop(&self, own);
  (void)rsca_manager_run(own, "ticks", "", on_own_result, NULL, NULL);
  (void)rsca_manager_step(own, 0);

  /* The end, with work in flight: its callback is told before this returns. */
  (void)rsca_manager_run(pool, "endless", "", on_pool_result, &endless, NULL);
  (void)rsca_manager_shutdown(pool, true);
  read_result(&self);
  (void)rsca_manager_release(pool);
  (void)rsca_manager_release(own);
  (void)close(self.timer);
  (void)close(self.results[0]);
  (void)close(self.results[1]);
  return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
