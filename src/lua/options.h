/*
 * Options: the tables that scripts pass, checked key by key.
 *
 * Provides: rscl_check_*_options
 * Uses:     Lua only
 */
#ifndef RSCL_OPTIONS_H
#define RSCL_OPTIONS_H

#include <stdint.h>

#include <lua.h>
#include <rsca/manager.h>

/* The time limit at `index`, an option of the table that is argument `arg`: seconds above 0, in nanoseconds; UINT64_MAX
 * for math.huge. [-0, +0, v] */
uint64_t rscl_check_limit_option(lua_State *L, int arg, int index);

/* The options of a call: { time_limit = seconds }, or nothing. Its limit; 0: none of its own. [-0, +0, v] */
uint64_t rscl_check_call_options(lua_State *L, int arg);

/* What rsca.manager makes: the options, and the script, as its path or its text; both borrowed from the table. */
typedef struct rscl_manager_options {
  rsca_config config;
  const char *script, *chunk;
  size_t chunk_size;
} rscl_manager_options;

rscl_manager_options rscl_check_manager_options(lua_State *L, int arg);

#endif
