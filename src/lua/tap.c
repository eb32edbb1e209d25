#include "tap.h"

#include "hanging.h"
#include "manager_proxy.h"
#include "request.h"
#include "subscription.h"

int rscl_kind(lua_State *L) {
  if (rscl_object_test(L, 1, &rscl_request_type))
    lua_pushliteral(L, "request");
  else if (rscl_object_test(L, 1, &rscl_subscription_type))
    lua_pushliteral(L, "subscription");
  else if (rscl_manager_test(L, 1))
    lua_pushliteral(L, "manager");
  else
    lua_pushnil(L);
  return 1;
}

int rscl_registration(lua_State *L) {
  rsca_manager *manager = rscl_manager_test(L, 1);
  size_t size;
  const char *name = luaL_checklstring(L, 2, &size);
  lua_pushinteger(L, manager ? (lua_Integer)rsci_manager_registration(manager, name, size) : 0);
  return 1;
}

static bool has_handler(const rscl_subscription *sub) {
  return sub && sub->slot && sub->delivering;
}

int rscl_tap(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  rscl_owner *object = rscl_object_check(L, 1, &rscl_subscription_type);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  rscl_subscription *sub = rscl_subscription_of(object);
  if (!has_handler(sub)) {
    lua_pushboolean(L, 0);
    return 1;
  }
  lua_getiuservalue(L, RSCL_BOX, RSCL_UV_HANGING);
  lua_getiuservalue(L, 1, 1);
  enum { HANGING = 3, PROXY };
  lua_pushvalue(L, 2);
  lua_rawgeti(L, HANGING, (lua_Integer)sub->slot);
  lua_call(L, 1, 1);
  bool tapped = has_handler(sub) && lua_isfunction(L, -1);
  if (tapped) {
    rscl_slot slot = rscl_hang(L, state, HANGING, PROXY, NULL);
    tapped = has_handler(sub); /* a finalizer may have closed it */
    rscl_unhang(L, state, sub->owner, tapped ? sub->slot : slot);
    if (tapped)
      sub->slot = slot;
  }
  lua_pushboolean(L, tapped);
  return 1;
}
