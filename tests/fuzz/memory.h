/*
 * Memory that fails now and then. The linker puts this in front of the allocator, for this program and our libraries.
 *
 * Provides: memory_*
 * Uses:     chance
 * Threads:  any
 */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* From here on one allocation in `count` fails, on every thread, now and then with some that follow it; 0: none. */
void memory_fail_one_in(unsigned count, uint64_t seed);

/* On this thread the `number`th allocation from here on fails, too; 0: none does. */
void memory_fail_at(unsigned number);

/* Between these nothing fails on this thread. They nest. */
void memory_calm(void);
void memory_uncalm(void);

/* The same on all threads: for what is done by several. */
void memory_calm_all(void);
void memory_uncalm_all(void);

/* Whether any may have failed since memory_fail_one_in was last called, or memory_fail_at was used. */
bool memory_has_failed(void);

/* Allocated and not yet freed. */
size_t memory_live(void);

/* lua_Alloc. */
void *memory_allocate_for_lua(void *unused, void *block, size_t old_size, size_t size);

/* The program's own memory, which neither fails nor counts; aborts where there is none. All zero. */
void *memory_take(size_t size);
void memory_give(void *memory);

#endif
