#include "object.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "memory.h"
#include "state.h"

/* Pushes a table of the functions, if any, with room for `more`. [-0, +1, m] */
static void push_functions(lua_State *L, const luaL_Reg *functions, int more, int box) {
  int count = 0;
  while (functions && functions[count].name)
    count++;
  lua_createtable(L, 0, count + more);
  lua_pushvalue(L, box);
  if (functions)
    luaL_setfuncs(L, functions, 1);
  else
    lua_pop(L, 1);
}

static int index_first(lua_State *L);

/* Makes the methods of the type whose metatable is on top. [-0, +0, m] */
static void make_methods(lua_State *L, const rscl_type *type, int box) {
  push_functions(L, type->methods, 0, box);
  if (type->index) {
    lua_pushvalue(L, box);
    lua_insert(L, -2);
    lua_pushcclosure(L, type->index, 2);
  }
  lua_setfield(L, -2, "__index");
}

/* object[key], the first time for any of its type: there are no methods yet. */
static int index_first(lua_State *L) {
  const rscl_type *type = lua_touserdata(L, lua_upvalueindex(2));
  lua_settop(L, 2);
  lua_rawgetp(L, LUA_REGISTRYINDEX, type);
  make_methods(L, type, lua_upvalueindex(1));
  lua_pop(L, 1);
  lua_gettable(L, 1);
  return 1;
}

void rscl_object_open(lua_State *L, const rscl_type *type, int box) {
  box = lua_absindex(L, box);
  luaL_checkstack(L, 4, NULL);
  enum { MORE = 3 }; /* __name, __metatable, __index */
  push_functions(L, type->meta, MORE, box);
  lua_pushstring(L, type->name);
  lua_setfield(L, -2, "__name");
  lua_pushboolean(L, 0); /* what getmetatable answers: finalizers are not for scripts to call */
  lua_setfield(L, -2, "__metatable");
  if (type->methods || type->index) {
    lua_pushvalue(L, box);
    lua_pushlightuserdata(L, (void *)(uintptr_t)type);
    lua_pushcclosure(L, index_first, 2);
    lua_setfield(L, -2, "__index");
  }
  lua_rawsetp(L, LUA_REGISTRYINDEX, type);
}

/* Pushes the metatable. [-0, +1, m] */
static void push_metatable(lua_State *L, const rscl_type *type) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, type) != LUA_TNIL)
    return;
  lua_pop(L, 1);
  (void)rscl_push_box(L);
  rscl_object_open(L, type, -1);
  lua_pop(L, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, type);
}

void rscl_object_set_type(lua_State *L, const rscl_type *type) {
  push_metatable(L, type);
  lua_setmetatable(L, -2);
}

void rscl_object_make_methods(lua_State *L, const rscl_type *type, int box) {
  push_metatable(L, type);
  if (lua_getfield(L, -1, "__index") == LUA_TFUNCTION && lua_tocfunction(L, -1) == index_first) {
    lua_pop(L, 1);
    make_methods(L, type, box);
    lua_pop(L, 1);
  } else {
    lua_pop(L, 2);
  }
}

void *rscl_object_test(lua_State *L, int index, const rscl_type *type) {
  if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index))
    return NULL;
  lua_rawgetp(L, LUA_REGISTRYINDEX, type);
  int same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same ? lua_touserdata(L, index) : NULL;
}

void *rscl_object_check(lua_State *L, int arg, const rscl_type *type) {
  void *object = rscl_object_test(L, arg, type);
  if (!object)
    luaL_typeerror(L, arg, type->name);
  return object;
}

rscl_owner *rscl_owner_push(lua_State *L, rscl_owned_list *list, int user_values, const rscl_type *type) {
  rscl_owner *owner = lua_newuserdatauv(L, sizeof *owner, user_values);
  *owner = (rscl_owner){list, NULL};
  rscl_object_set_type(L, type);
  return owner;
}

void rscl_own(rscl_owned_list *list, rscl_owner *owner, rscl_owned *owned, void (*drop)(rscl_owned *owned)) {
  owner->owned = owned;
  owned->drop = drop;
  owned->next = list->first;
  owned->link = &list->first;
  if (owned->next)
    owned->next->link = &owned->next;
  list->first = owned;
}

void *rscl_push_owned(lua_State *L, rscl_owned_list *list, int user_values, const rscl_type *type, size_t size,
                      void (*drop)(rscl_owned *owned)) {
  rscl_owner *owner = rscl_owner_push(L, list, user_values, type);
  rscl_owned *owned = calloc(1, size);
  if (!owned)
    (void)rscl_memory_raise(L);
  rscl_own(list, owner, owned, drop);
  return owned;
}

rscl_owned *rscl_owned_by(const rscl_owner *owner) {
  return owner->list->dropped ? NULL : owner->owned;
}

static void drop(rscl_owned *owned) {
  *owned->link = owned->next;
  if (owned->next)
    owned->next->link = owned->link;
  owned->link = NULL;
  owned->drop(owned);
}

void rscl_disown(rscl_owner *owner) {
  rscl_owned *owned = rscl_owned_by(owner);
  owner->owned = NULL;
  if (owned)
    drop(owned);
}

int rscl_owner_gc(lua_State *L) {
  rscl_disown(lua_touserdata(L, 1));
  return 0;
}

void rscl_drop_owned(rscl_owned_list *list) {
  list->dropped = true;
  while (list->first)
    drop(list->first);
}
