#include "hanging.h"

#include "manager_proxy.h"

rscl_slot rscl_hang(lua_State *L, rscl_state *state, int hanging, int proxy, void *owner) {
  luaL_checkstack(L, 3, NULL);
  hanging = lua_absindex(L, hanging);
  proxy = proxy > LUA_REGISTRYINDEX ? lua_absindex(L, proxy) : proxy;
  if (lua_getiuservalue(L, proxy, 2) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, proxy, 2);
  }
  rscl_slots_reserve(L, hanging, &state->hanging);
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, (lua_Integer)state->hanging.free);
  lua_pop(L, 1);
  return rscl_slots_put(L, hanging, &state->hanging, owner);
}

/* Leaves the table of what hangs on the owner's proxy, or did, on top; the box, at `box`, was there. */
static bool push_hanging_of(lua_State *L, int box, const void *owner) {
  static const int caches[] = {RSCL_UV_MANAGERS, RSCL_UV_NATIVES};
  for (size_t i = 0; i < sizeof caches / sizeof *caches; i++) {
    lua_getiuservalue(L, box, caches[i]);
    bool found = lua_rawgetp(L, -1, owner) == LUA_TUSERDATA && lua_getiuservalue(L, -1, 2) == LUA_TTABLE;
    if (found)
      return true;
    lua_settop(L, box);
  }
  lua_getiuservalue(L, box, RSCL_UV_ANCHORS);
  lua_rawgetp(L, -1, owner);
  return lua_istable(L, -1);
}

void rscl_unhang(lua_State *L, rscl_state *state, const void *owner, rscl_slot slot) {
  luaL_checkstack(L, 6, NULL);
  (void)rscl_push_box(L);
  int box = lua_gettop(L);
  if (push_hanging_of(L, box, owner)) {
    lua_pushnil(L);
    lua_rawseti(L, -2, (lua_Integer)slot);
  }
  lua_getiuservalue(L, box, RSCL_UV_HANGING);
  rscl_slots_clear(L, -1, &state->hanging, slot);
  lua_getiuservalue(L, box, RSCL_UV_MANAGERS);
  if (lua_rawgetp(L, -1, owner) == LUA_TUSERDATA)
    rscl_manager_settle(L, box, lua_gettop(L)); /* there may be nothing left to keep it for */
  lua_settop(L, box - 1);
}

void rscl_keep_hanging(lua_State *L, int box, int proxy, const rsca_manager *manager) {
  if (lua_getiuservalue(L, proxy, 2) == LUA_TTABLE) {
    lua_pushnil(L);
    if (lua_next(L, -2)) {
      lua_pop(L, 2);
      lua_getiuservalue(L, box, RSCL_UV_ANCHORS);
      lua_insert(L, -2);
      lua_rawsetp(L, -2, manager);
    }
  }
  lua_pop(L, 1);
}
