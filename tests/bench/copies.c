/*
 * Counts copies of a response: a library to be preloaded, so that memcpy and memmove of the whole program come by here,
 * Lua's own too; and a Lua module to ask it.
 *
 * A copy counts when it has the watched length or more, and begins with the watched bytes. What realloc moves, and what
 * the kernel does, is not seen.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

enum { MARK_SIZE = 8 };

static char mark[MARK_SIZE];
static size_t least; /* 0: nothing is watched */
static uint64_t copies;

static void *(*real_memmove)(void *to, const void *from, size_t size);

__attribute__((constructor)) static void find_real(void) {
  void *found = dlsym(RTLD_NEXT, "memmove");
  __builtin_memcpy(&real_memmove, &found, sizeof found);
}

/* Before the constructor has run. */
static void *move_bytes(void *to, const void *from, size_t size) {
  volatile char *target = to;
  const volatile char *source = from;
  if ((uintptr_t)to <= (uintptr_t)from)
    for (size_t i = 0; i < size; i++)
      target[i] = source[i];
  else
    for (size_t i = size; i-- > 0;)
      target[i] = source[i];
  return to;
}

static bool is_watched(const char *from, size_t size) {
  if (least == 0 || size < least)
    return false;
  for (int i = 0; i < MARK_SIZE; i++)
    if (from[i] != mark[i])
      return false;
  return true;
}

__attribute__((visibility("default"))) void *memmove(void *to, const void *from, size_t size) {
  copies += is_watched(from, size);
  return real_memmove ? real_memmove(to, from, size) : move_bytes(to, from, size);
}

__attribute__((visibility("default"))) void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  copies += is_watched(from, size);
  return real_memmove ? real_memmove(to, from, size) : move_bytes(to, from, size);
}

/* watch(response): from here on its copies are counted, from 0 */
static int copies_watch(lua_State *L) {
  size_t size;
  const char *bytes = luaL_checklstring(L, 1, &size);
  luaL_argcheck(L, size >= MARK_SIZE, 1, "too short");
  for (int i = 0; i < MARK_SIZE; i++)
    mark[i] = bytes[i];
  least = size;
  copies = 0;
  return 0;
}

/* count() */
static int copies_count(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)copies);
  return 1;
}

static const luaL_Reg functions[] = {{"watch", copies_watch}, {"count", copies_count}, {NULL, NULL}};

__attribute__((visibility("default"))) int luaopen_copies(lua_State *L);

int luaopen_copies(lua_State *L) {
  luaL_newlib(L, functions);
  return 1;
}
