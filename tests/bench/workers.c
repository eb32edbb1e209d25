/*
 * bench.workers: pools of workers that run actions in C, and callers on threads of their own.
 */
#include "bench.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <rsca/lua.h>
#include <rsca/manager.h>

enum { MOST_THREADS = 16 };

/* ---- Work ---- */

/* Nothing that sleeps or looks at a clock: more threads than cores don't get more of it done. */
static uint64_t spin(uint64_t rounds) {
  uint64_t value = rounds;
  for (uint64_t i = 0; i < rounds; i++) {
    value = value * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    __asm__ volatile("" : "+r"(value)); /* or the compiler finds out that nobody wants it */
  }
  return value;
}

/* spin(n, rounds): n pieces of work, here */
static int workers_spin(lua_State *L) {
  uint64_t rounds = bench_check_count(L, 2);
  for (uint64_t count = bench_check_count(L, 1); count > 0; count--)
    (void)spin(rounds);
  return 0;
}

/* What a thread does: pieces of work, or calls. */
typedef struct task {
  pthread_t thread;
  uint64_t count, rounds, in_flight;
  rsca_manager *manager;
  HRESULT status;
  sem_t all_ended;
  _Atomic uint64_t left; /* of the calls in flight */
  atomic_bool wrong;
} task;

/* Runs `main` on so many threads, which share `count`. False: not all could be started. */
static bool on_threads(task *tasks, unsigned threads, const task *all, void *(*main)(void *)) {
  unsigned started = 0;
  uint64_t given = 0;
  for (; started < threads; started++) {
    task *self = &tasks[started];
    self->rounds = all->rounds;
    self->in_flight = all->in_flight;
    self->manager = all->manager;
    self->count = all->count * (started + 1) / threads - given;
    given += self->count;
    if (pthread_create(&self->thread, NULL, main, self) != 0)
      break;
  }
  for (unsigned i = 0; i < started; i++)
    (void)pthread_join(tasks[i].thread, NULL);
  return started == threads;
}

static unsigned check_threads(lua_State *L, int arg) {
  lua_Integer threads = luaL_checkinteger(L, arg);
  luaL_argcheck(L, threads > 0 && threads <= MOST_THREADS, arg, "a number of threads expected");
  return (unsigned)threads;
}

static void *work(void *user) {
  const task *self = user;
  for (uint64_t i = 0; i < self->count; i++)
    (void)spin(self->rounds);
  return NULL;
}

/* threads(n, rounds, threads): n pieces of work, shared by so many plain threads */
static int workers_threads(lua_State *L) {
  task tasks[MOST_THREADS] = {0};
  const task all = {.count = bench_check_count(L, 1), .rounds = bench_check_count(L, 2)};
  if (!on_threads(tasks, check_threads(L, 3), &all, work))
    return luaL_error(L, "no thread could be had");
  return 0;
}

/* ---- Pools ---- */

static const char type_name[] = "bench.workers";

typedef struct pool {
  rsca_manager *manager; /* NULL: closed */
} pool;

static HRESULT spin_action(void *user, rsca_call *call, const char *args, size_t size) {
  (void)user;
  (void)size;
  (void)spin(strtoull(args, NULL, 10));
  return rsca_call_report(call, "done", 4);
}

static rsca_manager *check_manager(lua_State *L) {
  const pool *self = luaL_checkudata(L, 1, type_name);
  luaL_argcheck(L, self->manager, 1, "it is closed");
  return self->manager;
}

static int pool_close(lua_State *L) {
  pool *self = luaL_checkudata(L, 1, type_name);
  rsca_manager *manager = self->manager;
  self->manager = NULL;
  if (manager) {
    (void)rsca_manager_shutdown(manager, false);
    (void)rsca_manager_release(manager);
  }
  return 0;
}

static HRESULT add_action(rsca_manager *manager, const char *script) {
  if (!script)
    return rsca_manager_register(manager, "spin", NULL, spin_action, NULL, NULL);
  return rsca_lua_load_script(manager, &(rsca_lua_script){.text = script}, NULL, 0);
}

/* open(workers [, script]): a pool of so many, to be closed; its threads start at the first call. Its action "spin" is
 * one in C, or one of the script */
static int workers_open(lua_State *L) {
  const rsca_config config = {.workers = (uint32_t)bench_check_count(L, 1), .queue_limit = 1 << 20};
  const char *script = luaL_optstring(L, 2, NULL);
  pool *self = lua_newuserdatauv(L, sizeof *self, 0);
  self->manager = NULL;
  luaL_setmetatable(L, type_name);
  if (FAILED(rsca_manager_create(&config, &self->manager)) || FAILED(add_action(self->manager, script)))
    return luaL_error(L, "a pool can't be made");
  return 1;
}

static void on_result(void *user, HRESULT status, const void *response, size_t size, bool final) {
  task *self = user;
  if (status != S_OK || !response || size != 4 || !final)
    atomic_store(&self->wrong, true);
  if (atomic_fetch_sub(&self->left, 1) == 1)
    (void)sem_post(&self->all_ended);
}

static void submit(task *self, const char *args, uint64_t batch) {
  atomic_store(&self->left, batch);
  for (uint64_t i = 0; i < batch; i++) {
    HRESULT status = rsca_manager_run(self->manager, "spin", args, on_result, self, NULL);
    if (FAILED(status)) {
      self->status = status;
      on_result(self, status, NULL, 0, true); /* it will not be called */
    }
  }
}

static void *call(void *user) {
  task *self = user;
  char args[24];
  (void)snprintf(args, sizeof args, "%llu", (unsigned long long)self->rounds);
  if (sem_init(&self->all_ended, 0, 0) != 0) {
    self->status = E_FAIL;
    return NULL;
  }
  for (uint64_t done = 0; done < self->count;) {
    uint64_t batch = self->count - done < self->in_flight ? self->count - done : self->in_flight;
    submit(self, args, batch);
    while (sem_wait(&self->all_ended) != 0)
      ;
    done += batch;
  }
  (void)sem_destroy(&self->all_ended);
  return NULL;
}

/* pool:run(n, rounds, in_flight [, threads]): n calls of an action that does a piece of work, from here or from so many
 * threads; each waits for those in flight before it submits more */
static int pool_run(lua_State *L) {
  task tasks[MOST_THREADS] = {0};
  const task all = {.manager = check_manager(L),
                    .count = bench_check_count(L, 2),
                    .rounds = (uint64_t)luaL_checkinteger(L, 3),
                    .in_flight = bench_check_count(L, 4)};
  unsigned threads = 1;
  if (lua_isnoneornil(L, 5)) {
    tasks[0].manager = all.manager;
    tasks[0].count = all.count;
    tasks[0].rounds = all.rounds;
    tasks[0].in_flight = all.in_flight;
    (void)call(&tasks[0]);
  } else {
    threads = check_threads(L, 5);
    if (!on_threads(tasks, threads, &all, call))
      return luaL_error(L, "no thread could be had");
  }
  for (unsigned i = 0; i < threads; i++)
    if (FAILED(tasks[i].status) || atomic_load(&tasks[i].wrong))
      return luaL_error(L, "a call failed");
  return 0;
}

static const luaL_Reg methods[] = {
    {"run", pool_run}, {"close", pool_close}, {"__gc", pool_close}, {"__close", pool_close}, {NULL, NULL}};
static const luaL_Reg functions[] = {
    {"spin", workers_spin}, {"threads", workers_threads}, {"open", workers_open}, {NULL, NULL}};

int bench_open_workers(lua_State *L) {
  if (luaL_newmetatable(L, type_name)) {
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
  }
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  return 1;
}
