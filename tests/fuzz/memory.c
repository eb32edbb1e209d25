#include "memory.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "chance.h"

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __real_free(void *memory);
void __wrap_free(void *memory);

static atomic_uint one_in;
static _Atomic uint64_t epoch; /* a new one begins with each memory_fail_one_in */
static atomic_uint threads;
static atomic_uint calm;
static atomic_bool has_failed;
static atomic_size_t live;

static _Thread_local struct {
  uint64_t epoch;
  chance luck;
  unsigned burst;     /* how many fail after the one that did */
  unsigned countdown; /* 1: the next one fails; 0: none is meant to */
  unsigned calm;
} here;

void memory_fail_one_in(unsigned count, uint64_t seed) {
  atomic_store(&one_in, count);
  atomic_store(&threads, 0);
  atomic_store(&has_failed, false);
  atomic_store(&epoch, seed);
}

void memory_fail_at(unsigned number) {
  here.countdown = number;
}

void memory_calm(void) {
  here.calm++;
}

void memory_uncalm(void) {
  here.calm--;
}

void memory_calm_all(void) {
  (void)atomic_fetch_add(&calm, 1);
}

void memory_uncalm_all(void) {
  (void)atomic_fetch_sub(&calm, 1);
}

bool memory_has_failed(void) {
  return atomic_load(&has_failed);
}

size_t memory_live(void) {
  return atomic_load(&live);
}

static bool is_unlucky(unsigned count) {
  uint64_t now = atomic_load_explicit(&epoch, memory_order_relaxed);
  if (here.epoch != now) {
    here.epoch = now;
    here.luck = chance_of(now, atomic_fetch_add(&threads, 1));
    here.burst = 0;
  }
  if (here.burst > 0) {
    here.burst--;
    return true;
  }
  if (!chance_one_in(&here.luck, count))
    return false;
  if (chance_one_in(&here.luck, 4))
    here.burst = chance_between(&here.luck, 1, 8);
  return true;
}

static bool fails(void) {
  if (here.calm > 0 || atomic_load_explicit(&calm, memory_order_relaxed) > 0)
    return false;
  bool fails = here.countdown > 0 && --here.countdown == 0;
  unsigned count = atomic_load_explicit(&one_in, memory_order_relaxed);
  fails = (count > 0 && is_unlucky(count)) || fails;
  if (fails) {
    atomic_store(&has_failed, true);
  }
  return fails;
}

static void *counted(void *memory) {
  if (memory)
    (void)atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
  return memory;
}

void *__wrap_malloc(size_t size) {
  return fails() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size) {
  return fails() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *old, size_t size) {
  if (fails())
    return NULL;
  return old ? __real_realloc(old, size) : counted(__real_malloc(size));
}

void __wrap_free(void *memory) {
  if (memory)
    (void)atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
  __real_free(memory);
}

void *memory_allocate_for_lua(void *unused, void *block, size_t old_size, size_t size) {
  (void)unused;
  if (size == 0) {
    free(block);
    return NULL;
  }
  void *moved = realloc(block, size);
  if (!moved && size <= old_size) /* Lua counts on a block that shrinks */
    return block;
  return moved;
}

void *memory_take(size_t size) {
  void *memory = __real_calloc(1, size);
  if (!memory) {
    (void)fprintf(stderr, "no memory for the test itself\n");
    abort();
  }
  return memory;
}

void memory_give(void *memory) {
  __real_free(memory);
}
