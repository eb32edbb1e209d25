#include "memory.h"

#include <stdint.h>
#include <stdlib.h>

void rscl_memory_charge(rscl_memory *memory, size_t bytes) {
  memory->used += bytes;
  memory->charged += bytes;
}

void rscl_memory_discharge(rscl_memory *memory, size_t bytes) {
  memory->used -= bytes;
  memory->charged -= bytes;
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
  if (size > old_size && (memory->used >= limit || size - old_size > limit - memory->used)) {
    memory->refused = true;
    return NULL;
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
