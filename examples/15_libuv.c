/*
 * The same in a program whose loop is libuv's. A manager without workers joins the loop with a uv_poll_t and a
 * uv_timer_t; what the callbacks of a pool hear on its threads goes into a list, and a uv_async_t has the loop take it.
 */
#define _POSIX_C_SOURCE 200809L

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

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

static const char *name_of(HRESULT status) {
  const rsca_status_entry *entry = rsca_status_find(status);
  return entry ? entry->name : "?";
}

/* ---- A manager that the loop steps ---- */

typedef struct stepper {
  rsca_manager *manager; /* a reference */
  uv_poll_t readable;
  uv_timer_t due;
} stepper;

static void step(stepper *self);

static void on_readable(uv_poll_t *handle, int status, int events) {
  (void)status;
  (void)events;
  step(handle->data);
}

static void on_due(uv_timer_t *handle) {
  step(handle->data);
}

/* Runs what is due, with a budget, so that other handles have their turn; and says when to come back. */
static void step(stepper *self) {
  (void)rsca_manager_step(self->manager, 64);
  int timeout_ms = rsca_manager_timeout_ms(self->manager);
  if (timeout_ms >= 0) /* not at once: libuv would run it again and again before it does anything else */
    (void)uv_timer_start(&self->due, on_due, timeout_ms > 0 ? (uint64_t)timeout_ms : 1, 0);
  else
    (void)uv_timer_stop(&self->due);
}

static bool stepper_start(stepper *self, uv_loop_t *loop, rsca_manager *manager) {
  self->manager = manager;
  (void)rsca_manager_add_ref(manager);
  self->readable.data = self->due.data = self;
  return uv_timer_init(loop, &self->due) == 0 && uv_poll_init(loop, &self->readable, rsca_manager_fd(manager)) == 0 &&
         uv_poll_start(&self->readable, UV_READABLE, on_readable) == 0;
}

static void stepper_stop(stepper *self) {
  uv_close((uv_handle_t *)&self->readable, NULL);
  uv_close((uv_handle_t *)&self->due, NULL);
  (void)rsca_manager_release(self->manager);
}

/* ---- Results of a pool, on their way to the loop ---- */

typedef struct result {
  struct result *next;
  const char *name;
  HRESULT status;
  bool final;
  size_t size;
  char bytes[];
} result;

typedef struct program {
  uv_loop_t *loop;
  stepper own;
  uv_timer_t ticker;
  uv_async_t arrived;
  uv_mutex_t lock; /* Protects the list */
  result *first, **last;
  unsigned ticks;
  int pending; /* calls of the pool that have not ended */
} program;

typedef struct call {
  program *owner;
  const char *name;
} call;

/* On a thread of the pool. */
static void on_pool_result(void *user, HRESULT status, const void *response, size_t size, bool final) {
  const call *of = user;
  program *self = of->owner;
  result *sent = malloc(sizeof *sent + size);
  if (!sent)
    abort(); /* a program that is to go on would count this */
  *sent = (result){.name = of->name, .status = status, .final = final, .size = size};
  if (size > 0)
    memcpy(sent->bytes, response, size);
  uv_mutex_lock(&self->lock);
  *self->last = sent;
  self->last = &sent->next;
  uv_mutex_unlock(&self->lock);
  (void)uv_async_send(&self->arrived);
}

static void on_own_result(void *user, HRESULT status, const void *response, size_t size, bool final) {
  program *self = user;
  (void) final;
  printf("ticks: %s %.*s\n", name_of(status), (int)size, size > 0 ? (const char *)response : "");
  stepper_stop(&self->own);
  uv_close((uv_handle_t *)&self->ticker, NULL);
  uv_close((uv_handle_t *)&self->arrived, NULL); /* the loop has nothing left to do, and ends */
}

/* In the loop. */
static void take_results(program *self) {
  uv_mutex_lock(&self->lock);
  result *got = self->first;
  self->first = NULL;
  self->last = &self->first;
  uv_mutex_unlock(&self->lock);
  while (got) {
    result *next = got->next;
    printf("%s: %s %.*s\n", got->name, name_of(got->status), FAILED(got->status) ? 0 : (int)got->size, got->bytes);
    self->pending -= got->final;
    free(got);
    got = next;
  }
}

static void on_arrived(uv_async_t *handle) {
  program *self = handle->data;
  take_results(self);
  if (self->pending == 0)
    (void)rsca_manager_run(self->own.manager, "ticks", "", on_own_result, self, NULL);
}

static void on_tick(uv_timer_t *handle) {
  ((program *)handle->data)->ticks++;
}

/* An action of the loop's own manager: it may look at everything that the loop does. */
static HRESULT ticks_action(void *user, rsca_call *answered, const char *args, size_t size) {
  const program *self = user;
  const char *text = self->ticks > 1 ? "the loop went on" : "the loop stood still";
  (void)args;
  (void)size;
  return rsca_call_report(answered, text, strlen(text));
}

int main(void) {
  program self = {.loop = uv_default_loop()};
  self.last = &self.first;
  self.arrived.data = self.ticker.data = &self;
  const rsca_config pool_config = {.workers = 1, .time_limit_ms = 200};
  const rsca_lua_script source = {.text = script, .name = "the script"};
  rsca_manager *pool = NULL, *own = NULL;
  char message[256] = "";
  if (FAILED(rsca_manager_create(&pool_config, &pool)) ||
      FAILED(rsca_lua_load_script(pool, &source, message, sizeof message)) || FAILED(rsca_manager_create(NULL, &own)) ||
      FAILED(rsca_manager_register(own, "ticks", "whether the loop goes on", ticks_action, &self, NULL)) ||
      uv_mutex_init(&self.lock) < 0 || uv_async_init(self.loop, &self.arrived, on_arrived) < 0 ||
      uv_timer_init(self.loop, &self.ticker) < 0 || uv_timer_start(&self.ticker, on_tick, 10, 10) < 0 ||
      !stepper_start(&self.own, self.loop, own)) {
    fprintf(stderr, "the program can't start: %s\n", message);
    return EXIT_FAILURE;
  }

  call sum = {&self, "sum"}, count = {&self, "count"}, endless = {&self, "endless"};
  self.pending += rsca_manager_run(pool, "sum", "1 2 39", on_pool_result, &sum, NULL) == S_OK;
  self.pending += rsca_manager_subscribe(pool, "count", "3", on_pool_result, &count, NULL) == S_OK;
  self.pending += rsca_manager_run(pool, "endless", "", on_pool_result, &endless, NULL) == S_OK;
  (void)uv_run(self.loop, UV_RUN_DEFAULT);

  /* The pool goes first: what it still has to say would go to the loop. */
  (void)rsca_manager_shutdown(pool, true);
  take_results(&self);
  (void)rsca_manager_release(pool);
  (void)rsca_manager_release(own);
  uv_mutex_destroy(&self.lock);
  return uv_loop_close(self.loop) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
