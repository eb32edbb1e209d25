#include "shared.h"

#include <stdlib.h>
#include <string.h>

#include "core/manager_shared.h"
#include "error.h"
#include "fiber.h"
#include "manager_proxy.h"
#include "memory.h"

/* An object has nothing of its own but its manager's proxy, a user value. */
enum { UV_MANAGER = 1, UV_COUNT = UV_MANAGER };

/* ---- What core hands out, while Lua makes its own of it ---- */

/* Owns it should that raise. A string is copied to the stack where it fits, and needs no such owner. */
typedef struct keeper {
  rscl_owned owned;
  rsca_value value;
  rsci_keys *keys;
} keeper;

enum { COPIED_BYTES = 512 };

static void keeper_drop(rscl_owned *owned) {
  keeper *self = (keeper *)owned;
  rsca_value_release(&self->value);
  free(self->keys);
  free(self);
}

static const luaL_Reg keeper_meta[] = {{"__gc", rscl_owner_gc}, {NULL, NULL}};
static const rscl_type keeper_type = {"rsca.keeper", keeper_meta, NULL, NULL};

/* To be disowned when Lua has made its own of it. [-0, +1, m] */
static keeper *push_keeper(lua_State *L) {
  keeper *self = rscl_push_owned(L, rscl_owned_of_box(L, RSCL_BOX), 0, &keeper_type, sizeof *self, keeper_drop);
  self->value = rsca_value_nil();
  return self;
}

/* Pushes the value and releases it. A long string is somebody's who releases it should this raise. [-0, +1, m] */
static void push_value(lua_State *L, rsca_value *value) {
  char copy[COPIED_BYTES];
  rsca_value copied = *value;
  if (value->kind == RSCA_STRING && value->size <= sizeof copy) {
    if (value->size > 0)
      memcpy(copy, value->bytes, value->size);
    rsca_value_release(value);
    copied.bytes = copy;
  }
  switch (copied.kind) {
  case RSCA_NIL:
    lua_pushnil(L);
    break;
  case RSCA_BOOLEAN:
    lua_pushboolean(L, copied.boolean);
    break;
  case RSCA_INTEGER:
    lua_pushinteger(L, copied.integer);
    break;
  case RSCA_FLOAT:
    lua_pushnumber(L, copied.number);
    break;
  case RSCA_STRING:
    lua_pushlstring(L, copied.bytes, copied.size);
    break;
  }
  rsca_value_release(value);
}

static bool is_long(const rsca_value *value) {
  return value->kind == RSCA_STRING && value->size > COPIED_BYTES;
}

/* ---- Arguments ---- */

static rsca_manager *check_manager(lua_State *L) {
  (void)rscl_object_check(L, 1, &rscl_shared_type);
  lua_getiuservalue(L, 1, UV_MANAGER);
  rsca_manager *manager = rscl_manager_test(L, -1);
  lua_pop(L, 1);
  if (!manager)
    luaL_error(L, "the manager of these shared values has been closed");
  return manager;
}

static rsci_bytes check_key(lua_State *L, int arg) {
  luaL_checktype(L, arg, LUA_TSTRING);
  rsci_bytes key;
  key.data = lua_tolstring(L, arg, &key.size);
  luaL_argcheck(L, key.size > 0, arg, "key expected, a string that is not empty");
  return key;
}

static rsca_value to_number(lua_State *L, int index) {
  return lua_isinteger(L, index) ? rsca_value_integer(lua_tointeger(L, index))
                                 : rsca_value_float(lua_tonumber(L, index));
}

/* Borrowed from the Lua value, which must be said, be it nil. */
static rsca_value check_value(lua_State *L, int arg) {
  size_t size;
  const char *bytes;
  switch (lua_type(L, arg)) {
  case LUA_TNIL:
    return rsca_value_nil();
  case LUA_TBOOLEAN:
    return rsca_value_boolean(lua_toboolean(L, arg));
  case LUA_TNUMBER:
    return to_number(L, arg);
  case LUA_TSTRING:
    bytes = lua_tolstring(L, arg, &size);
    return rsca_value_string(bytes, size);
  default:
    luaL_typeerror(L, arg, "string, number, boolean or nil");
    return rsca_value_nil();
  }
}

static uint64_t check_lifetime(lua_State *L, int arg) {
  return lua_isnoneornil(L, arg) ? RSCI_FOREVER : rscl_check_ns(L, arg);
}

/* There is no memory, or no room below the bound. [-0, +2, m] */
static int no_room(lua_State *L, const rsca_manager *manager) {
  const char *message = lua_pushfstring(L, "no room for another shared value (shared_bytes is %I)",
                                        (LUAI_UACINT)manager->config.shared_bytes);
  return rscl_fail(L, E_OUTOFMEMORY, message, NULL);
}

/* ---- Methods ---- */

/* shared:get(key): value, or nil */
static int shared_get(lua_State *L) {
  rsci_shared *shared = rsci_manager_peek_shared(check_manager(L));
  rsci_bytes key = check_key(L, 2);
  rsca_value value = rsca_value_nil();
  if (shared)
    (void)rsci_shared_get(shared, key, &value);
  if (!is_long(&value)) {
    push_value(L, &value);
    return 1;
  }
  /* Once more, with somebody to own it. It may be another by now, and a finalizer may have closed the manager. */
  rsca_value_release(&value);
  keeper *kept = push_keeper(L);
  rscl_owner *owner = lua_touserdata(L, -1);
  (void)rsci_shared_get(rsci_manager_peek_shared(check_manager(L)), key, &kept->value);
  push_value(L, &kept->value);
  rscl_disown(owner);
  return 1;
}

/* shared:set(key, value [, seconds]): true, or nil, err */
static int shared_set(lua_State *L) {
  rsca_manager *manager = check_manager(L);
  rsci_bytes key = check_key(L, 2);
  rsca_value value = check_value(L, 3);
  uint64_t lifetime_ns = check_lifetime(L, 4);
  rsci_shared *shared = rsci_manager_shared(manager);
  if (!shared || FAILED(rsci_shared_set(shared, key, &value, lifetime_ns)))
    return no_room(L, manager);
  lua_pushboolean(L, 1);
  return 1;
}

/* shared:add(key, number [, seconds]): the new value, or nil, err */
static int shared_add(lua_State *L) {
  rsca_manager *manager = check_manager(L);
  rsci_bytes key = check_key(L, 2);
  luaL_checktype(L, 3, LUA_TNUMBER);
  const rsca_value amount = to_number(L, 3);
  uint64_t lifetime_ns = check_lifetime(L, 4);
  rsci_shared *shared = rsci_manager_shared(manager);
  rsca_value sum;
  HRESULT status = shared ? rsci_shared_add(shared, key, &amount, lifetime_ns, &sum) : E_OUTOFMEMORY;
  if (status == RSCA_E_INVALID_DATA)
    return rscl_fail(L, status, "what is there is no number to add to", NULL);
  if (FAILED(status))
    return no_room(L, manager);
  push_value(L, &sum);
  return 1;
}

/* shared:compare_and_set(key, expected, value [, seconds]): true; false, current; or nil, err */
static int shared_compare_and_set(lua_State *L) {
  (void)check_manager(L);
  rsci_bytes key = check_key(L, 2);
  rsca_value expected = check_value(L, 3), value = check_value(L, 4);
  uint64_t lifetime_ns = check_lifetime(L, 5);
  keeper *kept = push_keeper(L);
  rscl_owner *owner = lua_touserdata(L, -1);
  rsca_manager *manager = check_manager(L); /* only now: a finalizer may have closed it */
  rsci_shared *shared = rsci_manager_shared(manager);
  HRESULT status = E_OUTOFMEMORY;
  if (shared)
    status = rsci_shared_compare_and_set(shared, key, &expected, &value, lifetime_ns, &kept->value);
  if (FAILED(status))
    return no_room(L, manager);
  lua_pushboolean(L, status == S_OK);
  if (status == S_OK)
    return 1;
  push_value(L, &kept->value);
  rscl_disown(owner);
  return 2;
}

/* shared:keys(): all keys, ordered by their bytes; or nil, err */
static int shared_keys(lua_State *L) {
  (void)check_manager(L);
  keeper *kept = push_keeper(L);
  rscl_owner *owner = lua_touserdata(L, -1);
  rsci_shared *shared = rsci_manager_peek_shared(check_manager(L));
  if (shared && !(kept->keys = rsci_shared_keys(shared)))
    return rscl_fail(L, E_OUTOFMEMORY, NULL, NULL);
  size_t count = kept->keys ? kept->keys->count : 0;
  lua_createtable(L, count < INT32_MAX ? (int)count : 0, 0);
  for (size_t i = 0; i < count; i++) {
    const rsci_bytes *key = &kept->keys->keys[i];
    lua_pushlstring(L, key->data, key->size);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  rscl_disown(owner);
  return 1;
}

/* ---- The object ---- */

/* Pushes one for the manager whose proxy is at `proxy`. [-0, +1, m] */
static void push_shared(lua_State *L, int proxy) {
  proxy = lua_absindex(L, proxy);
  (void)lua_newuserdatauv(L, 0, UV_COUNT);
  rscl_object_set_type(L, &rscl_shared_type);
  lua_pushvalue(L, proxy);
  lua_setiuservalue(L, -2, UV_MANAGER);
}

int rscl_manager_shared(lua_State *L) {
  (void)rscl_manager_check(L, 1);
  push_shared(L, 1);
  return 1;
}

/* The objects of one manager are equal: they have the same proxy. */
static int shared_eq(lua_State *L) {
  bool same = rscl_object_test(L, 1, &rscl_shared_type) && rscl_object_test(L, 2, &rscl_shared_type);
  if (same) {
    lua_getiuservalue(L, 1, UV_MANAGER);
    lua_getiuservalue(L, 2, UV_MANAGER);
    same = lua_rawequal(L, -1, -2);
  }
  lua_pushboolean(L, same);
  return 1;
}

static int shared_tostring(lua_State *L) {
  (void)rscl_object_check(L, 1, &rscl_shared_type);
  lua_getiuservalue(L, 1, UV_MANAGER);
  const rsca_manager *manager = rscl_manager_test(L, -1);
  if (manager)
    lua_pushfstring(L, "rsca.shared: of manager %p", (const void *)manager);
  else
    lua_pushliteral(L, "rsca.shared: closed");
  return 1;
}

static const luaL_Reg shared_methods[] = {{"get", shared_get},   {"set", shared_set},
                                          {"add", shared_add},   {"compare_and_set", shared_compare_and_set},
                                          {"keys", shared_keys}, {NULL, NULL}};
static const luaL_Reg shared_meta[] = {{"__eq", shared_eq}, {"__tostring", shared_tostring}, {NULL, NULL}};
const rscl_type rscl_shared_type = {"rsca.shared", shared_meta, shared_methods, NULL};

void rscl_open_shared(lua_State *L, int box, rscl_state *state) {
  rscl_object_open(L, &rscl_shared_type, box);
  rscl_manager_push(L, box, state, state->own);
  push_shared(L, -1);
  lua_setfield(L, -3, "shared");
  lua_pop(L, 1);
}
