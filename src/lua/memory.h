/*
 * The memory of a state of our own: counted, and refused beyond a limit; and what is raised where there is none.
 *
 * Provides: rscl_memory, rscl_memory_raise
 * Uses:     region, core/budget
 * Threads:  the state's own
 */
#ifndef RSCL_MEMORY_H
#define RSCL_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#include <lua.h>

#include "core/budget.h"
#include "region.h"

typedef struct rscl_memory {
  size_t used;          /* by Lua */
  rsci_budget *account; /* what is held for it outside of Lua; borrowed */
  size_t limit;         /* of both together */
  size_t reserve;       /* what it may have beyond the limit, for now */
  rscl_region region;   /* part of what Lua uses */
  bool refused;         /* something was, since this was last looked at */
} rscl_memory;

/* What it has, in Lua and outside. */
size_t rscl_memory_total(const rscl_memory *memory);

/* What an error and its traceback may take beyond the limit. */
enum { RSCL_MEMORY_RESERVE = 256 * 1024 };

/* For lua_newstate; `user` is the rscl_memory. */
void *rscl_memory_allocate(void *user, void *block, size_t old_size, size_t size);

/* For an allocation of our own that has failed: raises what Lua does for its own. Never returns. [-0, +0, m] */
int rscl_memory_raise(lua_State *L);

#endif
