#include "memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

size_t rscl_memory_total(const rscl_memory *memory) {
  return memory->used + rsci_budget_used(memory->account);
}

static void *take(rscl_memory *memory, size_t size) {
  void *block = rscl_region_take(&memory->region, size);
  return block ? block : malloc(size);
}

static void give(rscl_memory *memory, void *block, size_t size) {
  if (rscl_region_has(&memory->region, block))
    rscl_region_give(&memory->region, block, size);
  else
    free(block);
}

/* NULL: there is no memory, which is not said where it shrinks. */
static void *resize(rscl_memory *memory, void *block, size_t old_size, size_t size) {
  if (!block)
    return take(memory, size);
  if (!rscl_region_has(&memory->region, block))
    return realloc(block, size);
  if (size <= old_size)
    return block;
  void *moved = take(memory, size);
  if (moved) {
    memcpy(moved, block, old_size);
    rscl_region_give(&memory->region, block, old_size);
  }
  return moved;
}

void *rscl_memory_allocate(void *user, void *block, size_t old_size, size_t size) {
  rscl_memory *memory = user;
  if (!block)
    old_size = 0; /* it tells the kind of object then */
  if (size == 0) {
    if (block)
      give(memory, block, old_size);
    memory->used -= old_size;
    return NULL;
  }
  size_t limit = memory->limit < SIZE_MAX - memory->reserve ? memory->limit + memory->reserve : SIZE_MAX;
  if (size > old_size) {
    size_t total = rscl_memory_total(memory);
    if (total >= limit || size - old_size > limit - total) {
      memory->refused = true;
      return NULL;
    }
  }
  void *moved = resize(memory, block, old_size, size);
  if (moved)
    memory->used += size - old_size;
  return moved;
}

int rscl_memory_raise(lua_State *L) {
  lua_pushliteral(L, "not enough memory"); /* with these very words Lua takes it for its own */
  return lua_error(L);
}
