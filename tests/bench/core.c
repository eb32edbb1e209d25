/*
 * bench.core: clocks, memory, and the place that callgrind counts.
 */
#include "bench.h"

#include <malloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static uint64_t clock_ns(clockid_t id) {
  struct timespec now;
  (void)clock_gettime(id, &now);
  return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

uint64_t bench_now_ns(void) {
  return clock_ns(CLOCK_MONOTONIC);
}

uint64_t bench_check_count(lua_State *L, int arg) {
  lua_Integer count = luaL_checkinteger(L, arg);
  luaL_argcheck(L, count > 0, arg, "a number of operations expected");
  return (uint64_t)count;
}

/* now(): monotonic, in ns */
static int core_now(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)bench_now_ns());
  return 1;
}

/* cpu(): of all threads of this process, in ns */
static int core_cpu(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)clock_ns(CLOCK_PROCESS_CPUTIME_ID));
  return 1;
}

/* resident(): in bytes */
static int core_resident(lua_State *L) {
  FILE *file = fopen("/proc/self/statm", "re");
  if (!file)
    return luaL_error(L, "/proc/self/statm can't be read");
  unsigned long size, pages;
  int fields = fscanf(file, "%lu %lu", &size, &pages);
  (void)fclose(file);
  if (fields != 2)
    return luaL_error(L, "/proc/self/statm has another form");
  lua_pushinteger(L, (lua_Integer)pages * sysconf(_SC_PAGESIZE));
  return 1;
}

/* allocated(): bytes that malloc has handed out and not got back */
static int core_allocated(lua_State *L) {
  struct mallinfo2 info = mallinfo2();
  lua_pushinteger(L, (lua_Integer)(info.uordblks + info.hblkhd));
  return 1;
}

/* trim(): gives free memory back to the system */
static int core_trim(lua_State *L) {
  (void)L;
  (void)malloc_trim(0);
  return 0;
}

/* cpus(): how many this process may use */
static int core_cpus(lua_State *L) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0)
    return luaL_error(L, "the CPUs of this process are not to be had");
  lua_pushinteger(L, CPU_COUNT(&set));
  return 1;
}

/* sleep(seconds): blocks this thread */
static int core_sleep(lua_State *L) {
  lua_Number seconds = luaL_checknumber(L, 1);
  struct timespec left = {.tv_sec = (time_t)seconds};
  left.tv_nsec = (long)((seconds - (lua_Number)left.tv_sec) * 1e9);
  while (nanosleep(&left, &left) != 0)
    ;
  return 0;
}

/* setenv(name, value) */
static int core_setenv(lua_State *L) {
  if (setenv(luaL_checkstring(L, 1), luaL_checkstring(L, 2), 1) != 0)
    return luaL_error(L, "the environment can't be changed");
  return 0;
}

void bench_counted(lua_State *L, int nargs);

/* Callgrind is told to count what is called from here, and nothing else. */
__attribute__((noinline)) void bench_counted(lua_State *L, int nargs) {
  lua_call(L, nargs, 0);
}

/* counted(f, ...): f(...) */
static int core_counted(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  bench_counted(L, lua_gettop(L) - 1);
  return 0;
}

static const luaL_Reg functions[] = {
    {"now", core_now},         {"cpu", core_cpu},   {"resident", core_resident}, {"allocated", core_allocated},
    {"trim", core_trim},       {"cpus", core_cpus}, {"sleep", core_sleep},       {"setenv", core_setenv},
    {"counted", core_counted}, {NULL, NULL}};

int bench_open_core(lua_State *L) {
  luaL_newlib(L, functions);
#ifdef __clang__
  lua_pushliteral(L, "Clang " __clang_version__);
#else
  lua_pushliteral(L, "GCC " __VERSION__);
#endif
  lua_setfield(L, -2, "compiler");
  lua_pushliteral(L, LUA_RELEASE);
  lua_setfield(L, -2, "lua_release");
  return 1;
}
