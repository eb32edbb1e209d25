#include "memory.h"

#include <stdint.h>
#include <stdlib.h>

size_t rscl_memory_total(const rscl_memory *memory) {
  return memory->used + rsci_budget_used(memory->account);
}

void *rscl_memory_allocate(void *user, void *block, size_t old_size, size_t size) {
  rscl_memory *memory = user;
  if (!block)
    old_size = 0; /* it tells the kind of object then */
  if (size == 0) {
    free(block);
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
  void *moved = realloc(block, size);
  if (moved)
    memory->used += size - old_size;
  return moved;
}

int rscl_memory_raise(lua_State *L) {
  lua_pushliteral(L, "not enough memory"); /* with these very words Lua takes it for its own */
  return lua_error(L);
}
