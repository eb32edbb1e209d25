/*
 * The C side of the benchmarks: a Lua host with rsca linked into it, and the modules bench.* for its scripts.
 *
 * Provides: bench_modules, bench_now_ns, bench_batch
 * Uses:     the public headers, Lua
 */
#ifndef RSCA_TESTS_BENCH_H
#define RSCA_TESTS_BENCH_H

#include <stdint.h>

#include <lauxlib.h>
#include <lua.h>

/* "bench.NAME" and its opener, for package.preload; the last has no name. */
extern const luaL_Reg bench_modules[];

int bench_open_core(lua_State *L);
int bench_open_process(lua_State *L);
int bench_open_path(lua_State *L);
int bench_open_footprint(lua_State *L);
int bench_open_uv(lua_State *L);
int bench_open_workers(lua_State *L);

uint64_t bench_now_ns(void);

/* What scripts pass for the number of operations: at least 1. [-0, +0, v] */
uint64_t bench_check_count(lua_State *L, int arg);

#endif
