/*
 * Allocations that fail: of the program's own code, with the linker's --wrap, and of Lua's, through the state's
 * allocator.
 *
 * Provides: failing_*
 * Threads:  any
 */
#ifndef BRIDGE_FAILING_H
#define BRIDGE_FAILING_H

#include <stdbool.h>
#include <stddef.h>

/* The n-th from now on fails, once; 0: the next. */
void failing_arm(long n);

/* None fails until it is armed with what this returns. */
long failing_suspend(void);

/* None fails any more. Whether one has since it was armed. */
bool failing_disarm(void);

/* How many allocations have not been freed. */
long failing_live(void);

/* For lua_newstate. Lua tries a second time, after a collection: that fails too. */
void *failing_allocator(void *user, void *block, size_t old_size, size_t size);

#endif
