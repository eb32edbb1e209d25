#include "native_proxy.h"

#include <stdlib.h>

#include "callback.h"
#include "callback2.h"
#include "foreign.h"
#include "memory.h"

typedef struct native_proxy {
  rscl_owned owned;
  IWpfReferencedObject *object; /* one reference; NULL: released */
  lua_Integer extra;            /* references the script took and has not given back */
} native_proxy;

static native_proxy *proxy_of(const rscl_owner *object) {
  return (native_proxy *)rscl_owned_by(object);
}

/* The object at `arg`, of whichever of these types. */
static rscl_owner *check_any(lua_State *L, int arg) {
  const rscl_type *const types[] = {&rscl_callback_type, &rscl_callback2_type, &rscl_custom_actions_type,
                                    &rscl_custom_actions2_type};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    rscl_owner *object = rscl_object_test(L, arg, types[i]);
    if (object)
      return object;
  }
  luaL_typeerror(L, arg, "native object of rsca");
  return NULL;
}

/* Its proxy; NULL: it was released. */
static native_proxy *test_open(const rscl_owner *object) {
  native_proxy *proxy = proxy_of(object);
  return proxy && proxy->object ? proxy : NULL;
}

static native_proxy *check_open(lua_State *L, const rscl_owner *object) {
  native_proxy *proxy = test_open(object);
  if (!proxy)
    luaL_error(L, "this native object has been released");
  return proxy;
}

void *rscl_native_test(lua_State *L, int index, const rscl_type *type) {
  const rscl_owner *object = rscl_object_test(L, index, type);
  return object ? check_open(L, object)->object : NULL;
}

void *rscl_native_peek(lua_State *L, int index, const rscl_type *type) {
  const rscl_owner *object = rscl_object_test(L, index, type);
  const native_proxy *proxy = object ? test_open(object) : NULL;
  return proxy ? proxy->object : NULL;
}

void *rscl_native_check(lua_State *L, int arg, const rscl_type *type) {
  return check_open(L, rscl_object_check(L, arg, type))->object;
}

void *rscl_native_hold(lua_State *L, int arg, const rscl_type *type) {
  IWpfReferencedObject *object = rscl_native_check(L, arg, type);
  (void)object->lpVtbl->AddRef(object);
  return object;
}

/* Gives back everything. */
static void give_back(native_proxy *proxy) {
  IWpfReferencedObject *object = proxy->object;
  proxy->object = NULL;
  for (lua_Integer i = proxy->extra; object && i >= 0; i--)
    (void)object->lpVtbl->Release(object);
}

static void drop_proxy(rscl_owned *owned) {
  give_back((native_proxy *)owned);
  free(owned);
}

void rscl_native_push(lua_State *L, int box, const rscl_type *type, IWpfReferencedObject *object) {
  luaL_checkstack(L, 5, NULL);
  box = lua_absindex(L, box);
  /* Empty first: making it may run finalizers, which may make a proxy of the same object. What can fail comes before
   * the reference is taken. */
  enum { USER_VALUES = 2 }; /* unused; what hangs on it */
  native_proxy *proxy = rscl_push_owned(L, rscl_owned_of_box(L, box), USER_VALUES, type, sizeof *proxy, drop_proxy);
  lua_getiuservalue(L, box, RSCL_UV_NATIVES);
  lua_rawgetp(L, -1, object);
  if (rscl_object_test(L, -1, type)) {
    lua_replace(L, -3);
    lua_pop(L, 1);
    return;
  }
  lua_pop(L, 1);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, object);
  lua_pop(L, 1);
  (void)object->lpVtbl->AddRef(object);
  proxy->object = object;
}

/* Gives back everything, and takes it out of the cache. */
static void release_all(lua_State *L, native_proxy *proxy, int index) {
  if (((rscl_box *)lua_touserdata(L, RSCL_BOX))->state) {
    lua_getiuservalue(L, RSCL_BOX, RSCL_UV_NATIVES);
    lua_rawgetp(L, -1, proxy->object);
    if (lua_rawequal(L, -1, index)) {
      lua_pushnil(L);
      lua_rawsetp(L, -3, proxy->object);
    }
    lua_pop(L, 2);
  }
  give_back(proxy);
}

int rscl_native_close(lua_State *L) {
  native_proxy *proxy = test_open(check_any(L, 1));
  if (proxy)
    release_all(L, proxy, 1);
  return 0;
}

static int native_gc(lua_State *L) {
  rscl_disown(check_any(L, 1)); /* the cache has forgotten it */
  return 0;
}

int rscl_native_AddRef(lua_State *L) {
  native_proxy *proxy = check_open(L, check_any(L, 1));
  proxy->extra++;
  lua_pushinteger(L, (lua_Integer)proxy->object->lpVtbl->AddRef(proxy->object));
  return 1;
}

int rscl_native_Release(lua_State *L) {
  native_proxy *proxy = check_open(L, check_any(L, 1));
  IWpfReferencedObject *object = proxy->object;
  if (proxy->extra > 0) {
    proxy->extra--;
  } else {
    /* The proxy's own: after this it is released. The count is asked for at the end, for it may be the last. */
    (void)object->lpVtbl->AddRef(object);
    release_all(L, proxy, 1);
  }
  lua_pushinteger(L, (lua_Integer)object->lpVtbl->Release(object));
  return 1;
}

static int native_tostring(lua_State *L) {
  const native_proxy *proxy = test_open(check_any(L, 1));
  (void)luaL_getmetafield(L, 1, "__name");
  if (proxy)
    lua_pushfstring(L, "%s: %p", lua_tostring(L, -1), (void *)proxy->object);
  else
    lua_pushfstring(L, "%s: released", lua_tostring(L, -1));
  return 1;
}

const luaL_Reg rscl_native_meta[] = {
    {"__gc", native_gc}, {"__close", rscl_native_close}, {"__tostring", native_tostring}, {NULL, NULL}};
