#include "hosts.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#include <rsca/shared.h>

#include "actions.h"
#include "clients.h"
#include "memory.h"
#include "scripts.h"

enum { MOST_HOSTS = 4, WAIT_MS = 5 };

typedef struct host {
  pthread_t thread;
  unsigned number;
  chance luck;
  life *published; /* a reference to its manager; NULL: none; the lock */
} host;

static host all[MOST_HOSTS];
static unsigned count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* Protects what is published, and what they wait for */
static pthread_cond_t looked = PTHREAD_COND_INITIALIZER;
static atomic_bool ending;

static _Thread_local const life *stepping;

unsigned hosts_count(void) {
  return count;
}

life *hosts_borrow(unsigned number) {
  (void)pthread_mutex_lock(&lock);
  life *of = all[number].published;
  if (of)
    (void)rsca_manager_add_ref(of->manager);
  (void)pthread_mutex_unlock(&lock);
  return of;
}

void hosts_wake(void) {
  (void)pthread_mutex_lock(&lock);
  (void)pthread_cond_broadcast(&looked);
  (void)pthread_mutex_unlock(&lock);
}

static void publish(host *self, life *of) {
  history_add(&of->past, PUBLISHED, 0);
  (void)rsca_manager_add_ref(of->manager);
  (void)pthread_mutex_lock(&lock);
  self->published = of;
  (void)pthread_mutex_unlock(&lock);
}

/* From here on any reference may be the last. */
static void take_away(host *self) {
  life *of = self->published;
  life_allow(of, MAY_CANCEL | MAY_SHUT | (life_is_pool(of) ? MAY_DISCONNECT : 0));
  history_add(&of->past, TAKEN_AWAY, 0);
  (void)pthread_mutex_lock(&lock);
  self->published = NULL;
  (void)pthread_mutex_unlock(&lock);
  (void)rsca_manager_release(of->manager);
}

static bool is_done(const life *of) {
  return atomic_load(&ending) || atomic_load(&of->asked) >= of->lifetime || life_allows(of, MAY_SHUT);
}

/* ---- Making managers ---- */

static void configure(chance *luck, life *of) {
  rsca_config *config = &of->config;
  bool pool = life_is_pool(of);
  of->steady = chance_one_in(luck, 3);
  of->holders = chance_one_in(luck, 2);
  of->blockers = !of->steady && chance_one_in(luck, 2);
  if (chance_one_in(luck, 4))
    config->queue_limit = chance_between(luck, 1, 60);
  if (chance_one_in(luck, 6))
    config->queue_bytes = chance_between(luck, 2000, 20000);
  if (chance_one_in(luck, 6))
    config->response_limit = chance_between(luck, 60, 5000);
  if (chance_one_in(luck, 2))
    config->stream_limit = chance_between(luck, 1, 20);
  config->workers = pool ? chance_between(luck, 1, 4) : 0;
  config->drain_ms = of->steady ? chance_between(luck, 1, 200) : chance_between(luck, 1, 20);
  config->kill_ms = of->steady ? 600000 : chance_between(luck, 5, 50);
  config->clean_up_ms = chance_between(luck, 1, 10);
  config->time_limit_ms = RSCA_NO_LIMIT;
  if (!of->steady && chance_one_in(luck, 3))
    config->time_limit_ms = (uint32_t)(of->limit_ms = chance_between(luck, 2, 100));
  if (of->kind == POOL_LUA && !of->steady && chance_one_in(luck, 2))
    config->memory_limit = (size_t)chance_between(luck, 500, 4000) << 10;
  of->lifetime = chance_one_in(luck, 3) ? chance_between(luck, 1, 300) : chance_between(luck, 300, 20000);
  if (pool && !of->steady)
    life_allow(of, MAY_DISCONNECT); /* with a worker that was held up, or had no time */
}

static life *make(chance *luck, life_kind kind) {
  life *of = life_new();
  of->kind = kind;
  configure(luck, of);
  bool calm = !chance_one_in(luck, 3);
  HRESULT status;
  do {
    if (calm)
      memory_calm_all(); /* its script is loaded on a thread of its own */
    status = rsca_manager_create(&of->config, &of->manager);
    if (SUCCEEDED(status) && kind == POOL_LUA && FAILED(status = scripts_load(of)))
      (void)rsca_manager_release(of->manager);
    if (calm)
      memory_uncalm_all();
    if (FAILED(status) && (calm || !memory_has_failed()) && !of->limit_ms)
      model_broken_life(of, "it could not be made: 0x%08x", (unsigned)status);
    /* Its script may be too slow for the limit, too. */
    calm = true;
    of->limit_ms = FAILED(status) ? 0 : of->limit_ms;
    if (!of->limit_ms)
      of->config.time_limit_ms = RSCA_NO_LIMIT;
  } while (FAILED(status));
  actions_register(of);
  return of;
}

/* ---- Stepping ---- */

bool hosts_is_stepping(const life *of) {
  return stepping == of;
}

void hosts_give_back_in_step(life *of) {
  if (stepping != of || !atomic_exchange(&of->host_steps, false))
    return;
  history_add(&of->past, LAST_OF_HOST, 1);
  (void)rsca_manager_release(of->manager);
}

static HRESULT step(chance *luck, life *of) {
  stepping = of;
  HRESULT status = rsca_manager_step(of->manager, chance_one_in(luck, 4) ? chance_between(luck, 1, 5) : 0);
  stepping = NULL;
  if (status != S_OK && status != S_FALSE && status != RSCA_E_POSSIBLE_DEADLOCK)
    model_broken_life(of, "a step was answered 0x%08x", (unsigned)status);
  return status;
}

static void wait_for_work(life *of) {
  struct pollfd watched = {.fd = rsca_manager_fd(of->manager), .events = POLLIN, .revents = 0};
  int timeout_ms = rsca_manager_timeout_ms(of->manager);
  (void)poll(&watched, 1, timeout_ms < 0 || timeout_ms > WAIT_MS ? WAIT_MS : timeout_ms);
}

static void step_or_wait(chance *luck, life *of) {
  if (step(luck, of) != S_OK)
    wait_for_work(of);
}

/* Until all have been told; the last of them may give back our reference. */
static void step_to_the_end(chance *luck, life *of) {
  atomic_store(&of->host_steps, true);
  while (atomic_load(&of->open) > 0) {
    HRESULT status = step(luck, of);
    if (!atomic_load(&of->host_steps))
      return;
    if (status != S_OK)
      wait_for_work(of);
  }
  if (atomic_exchange(&of->host_steps, false)) {
    history_add(&of->past, LAST_OF_HOST, 0);
    (void)rsca_manager_release(of->manager);
  }
}

/* What can be said of a manager whose calls have all been told, and that nobody else uses. */
static void check_quiet(life *of) {
  rsca_manager_stats stats;
  rsca_manager_get_stats(of->manager, &stats);
  if (stats.accepted != stats.ended || stats.queued_bytes != 0)
    model_broken_life(of, "%" PRIu64 " calls were accepted, %" PRIu64 " have ended, and %zu bytes are queued",
                      stats.accepted, stats.ended, stats.queued_bytes);
  if (life_has_lua(of) || atomic_load(&of->unrecorded))
    return;
  if (stats.ended != atomic_load(&of->told))
    model_broken_life(of, "%" PRIu64 " calls have ended, which is not how many were told", stats.ended);
  if (stats.failed_callback != atomic_load(&of->failed_callbacks))
    model_broken_life(of, "%" PRIu64 " callbacks failed, of %u", stats.failed_callback,
                      atomic_load(&of->failed_callbacks));
}

/* Others may be adding to it. */
static void check_shared(life *of) {
  rsca_value sum;
  int64_t done = atomic_load(&of->shared_done);
  memory_calm();
  (void)rsca_shared_get(of->manager, "sum", 3, &sum);
  memory_uncalm();
  int64_t value = sum.kind == RSCA_INTEGER ? sum.integer : 0;
  if (value < done || value > atomic_load(&of->shared_begun))
    model_broken_life(of, "its shared value is %" PRId64 ", after %" PRId64 " additions", value, done);
  rsca_value_release(&sum);
}

static void close_state(life *of, lua_State *L) {
  life_allow(of, MAY_DISCONNECT);
  history_add(&of->past, STATE_CLOSING, 0);
  lua_close(L);
  history_add(&of->past, STATE_CLOSED, 0);
}

static void live_stepped(host *self, life *of) {
  chance *luck = &self->luck;
  lua_State *L = of->kind == STEPPED_LUA ? scripts_open(luck, of) : NULL;
  publish(self, of);
  while (!is_done(of)) {
    if (L && chance_one_in(luck, 3))
      scripts_drive(L, luck);
    step_or_wait(luck, of);
  }
  if (L && chance_one_in(luck, 3)) { /* its native actions go on */
    close_state(of, L);
    L = NULL;
    for (unsigned i = chance_below(luck, 20); i > 0; i--)
      step_or_wait(luck, of);
  }
  check_shared(of);
  take_away(self);
  bool shut = of->holders || chance_one_in(luck, 2);
  if (shut)
    (void)clients_shut_down(luck, of);
  if (shut && L && chance_one_in(luck, 2))
    scripts_end(L);
  if (L && (!shut || chance_one_in(luck, 2))) {
    close_state(of, L);
    L = NULL;
  }
  if (shut && L) { /* its state outlives its calls */
    while (atomic_load(&of->open) > 0)
      step_or_wait(luck, of);
    close_state(of, L);
  }
  if (shut) {
    step_to_the_end(luck, of);
    return;
  }
  history_add(&of->past, LAST_OF_HOST, 0);
  (void)rsca_manager_release(of->manager);
}

/* ---- Pools ---- */

static void live_in_threads(host *self, life *of) {
  publish(self, of);
  (void)pthread_mutex_lock(&lock);
  while (!is_done(of))
    (void)pthread_cond_wait(&looked, &lock);
  (void)pthread_mutex_unlock(&lock);
  check_shared(of);
  take_away(self);
  if (of->holders || chance_below(&self->luck, 3) > 0) {
    HRESULT status = clients_shut_down(&self->luck, of);
    if (chance_one_in(&self->luck, 3))
      status = clients_shut_down(&self->luck, of);
    /* All threads have been joined, so whatever they were telling has been told. */
    if (status == S_OK && of->steady)
      check_quiet(of);
  }
  history_add(&of->past, LAST_OF_HOST, 0);
  (void)rsca_manager_release(of->manager);
}

/* ---- Threads ---- */

static void *host_main(void *user) {
  host *self = user;
  do {
    life *of = make(&self->luck, (life_kind)((self->number + chance_below(&self->luck, 3)) % LIFE_KINDS));
    if (life_is_pool(of))
      live_in_threads(self, of);
    else
      live_stepped(self, of);
  } while (!atomic_load(&ending));
  return NULL;
}

void hosts_begin(uint64_t seed) {
  chance luck = {seed};
  atomic_store(&ending, false);
  count = chance_between(&luck, 1, MOST_HOSTS);
  for (unsigned i = 0; i < count; i++) /* all of them first: they look at each other */
    all[i] = (host){.number = i, .luck = {chance_next(&luck)}};
  for (unsigned i = 0; i < count; i++)
    if (pthread_create(&all[i].thread, NULL, host_main, &all[i]) != 0)
      model_broken(NULL, "no thread for a host");
}

void hosts_end(void) {
  atomic_store(&ending, true);
  hosts_wake();
  for (unsigned i = 0; i < count; i++)
    (void)pthread_join(all[i].thread, NULL);
}
