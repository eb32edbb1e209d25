#include "failing.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void __real_free(void *block);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void __wrap_free(void *block);

static atomic_long countdown = -1; /* allocations until the one that fails; below 0: none does */

static bool fails(void) {
  if (atomic_load(&countdown) < 0)
    return false;
  return atomic_fetch_sub(&countdown, 1) == 0;
}

static atomic_long live;

static void *counted(void *block) {
  if (block)
    (void)atomic_fetch_add(&live, 1);
  return block;
}

static void *reallocate(void *block, size_t size) {
  return block ? __real_realloc(block, size) : counted(__real_malloc(size));
}

long failing_live(void) {
  return atomic_load(&live);
}

void *__wrap_malloc(size_t size) {
  return fails() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size) {
  return fails() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *block, size_t size) {
  return fails() ? NULL : reallocate(block, size);
}

void __wrap_free(void *block) {
  if (block)
    (void)atomic_fetch_sub(&live, 1);
  __real_free(block);
}

static struct {
  const void *block;
  size_t size;
} failed_last; /* Lua's */

void failing_arm(long n) {
  failed_last.size = 0;
  atomic_store(&countdown, n);
}

long failing_suspend(void) {
  failed_last.size = 0;
  return atomic_exchange(&countdown, -1);
}

bool failing_disarm(void) {
  return failing_suspend() < 0;
}

void *failing_allocator(void *user, void *block, size_t old_size, size_t size) {
  (void)user;
  if (size == 0) {
    if (block)
      memset(block, 0xDD, old_size); /* whoever still uses it is found out */
    free(block);
    return NULL;
  }
  if (!block || size > old_size) { /* Lua counts on shrinking */
    if (failed_last.size == size && failed_last.block == block) {
      failed_last.size = 0;
      return NULL;
    }
    if (fails()) {
      failed_last.block = block;
      failed_last.size = size;
      return NULL;
    }
  }
  return reallocate(block, size);
}
