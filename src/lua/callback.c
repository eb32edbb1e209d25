#include "callback.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "fiber.h"
#include "handler.h"

/* ---- A native callback as a Lua object ---- */

typedef struct callback_proxy {
  ICustomActionResultCallback *callback; /* one reference; NULL: released */
  lua_Integer extra;                     /* references the script took and has not given back */
} callback_proxy;

static callback_proxy *check_open(lua_State *L, int arg) {
  callback_proxy *proxy = rscl_object_check(L, arg, &rscl_callback_type);
  if (!proxy->callback)
    luaL_error(L, "this callback has been released");
  return proxy;
}

ICustomActionResultCallback *rscl_callback_test(lua_State *L, int index) {
  if (!rscl_object_test(L, index, &rscl_callback_type))
    return NULL;
  return check_open(L, index)->callback;
}

void rscl_callback_push(lua_State *L, int box, ICustomActionResultCallback *callback) {
  luaL_checkstack(L, 5, NULL);
  box = lua_absindex(L, box);
  /* Empty first: making it may run finalizers, which may make a proxy of the same object. What can fail comes before
   * the reference is taken. */
  callback_proxy *proxy = lua_newuserdatauv(L, sizeof *proxy, 0);
  *proxy = (callback_proxy){NULL, 0};
  lua_getiuservalue(L, box, RSCL_UV_CALLBACKS);
  if (lua_rawgetp(L, -1, callback) == LUA_TUSERDATA) {
    lua_replace(L, -3);
    lua_pop(L, 1);
    return;
  }
  lua_pop(L, 1);
  lua_insert(L, -2);
  rscl_object_set_type(L, &rscl_callback_type);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, -3, callback);
  (void)callback->lpVtbl->AddRef(callback);
  proxy->callback = callback;
  lua_replace(L, -2);
}

/* Gives back everything. `evict`: it may still be in the cache. */
static void release_all(lua_State *L, callback_proxy *proxy, int index, bool evict) {
  ICustomActionResultCallback *callback = proxy->callback;
  if (!callback)
    return;
  if (evict && ((rscl_box *)lua_touserdata(L, RSCL_BOX))->state) {
    lua_getiuservalue(L, RSCL_BOX, RSCL_UV_CALLBACKS);
    lua_rawgetp(L, -1, callback);
    if (lua_rawequal(L, -1, index)) {
      lua_pushnil(L);
      lua_rawsetp(L, -3, callback);
    }
    lua_pop(L, 2);
  }
  proxy->callback = NULL;
  for (lua_Integer i = proxy->extra; i >= 0; i--)
    (void)callback->lpVtbl->Release(callback);
}

static int callback_close(lua_State *L) {
  release_all(L, rscl_object_check(L, 1, &rscl_callback_type), 1, true);
  return 0;
}

static int callback_gc(lua_State *L) {
  release_all(L, rscl_object_check(L, 1, &rscl_callback_type), 1, false);
  return 0;
}

static int callback_AddRef(lua_State *L) {
  callback_proxy *proxy = check_open(L, 1);
  proxy->extra++;
  lua_pushinteger(L, (lua_Integer)proxy->callback->lpVtbl->AddRef(proxy->callback));
  return 1;
}

static int callback_Release(lua_State *L) {
  callback_proxy *proxy = check_open(L, 1);
  if (proxy->extra == 0) {
    /* The proxy's own: after this it is released. The count is asked for before, for it may be the last. */
    ICustomActionResultCallback *callback = proxy->callback;
    (void)callback->lpVtbl->AddRef(callback);
    release_all(L, proxy, 1, true);
    lua_pushinteger(L, (lua_Integer)callback->lpVtbl->Release(callback));
    return 1;
  }
  proxy->extra--;
  lua_pushinteger(L, (lua_Integer)proxy->callback->lpVtbl->Release(proxy->callback));
  return 1;
}

static int callback_ReportResult(lua_State *L) {
  callback_proxy *proxy = check_open(L, 1);
  HRESULT status = S_OK;
  if (!rscl_to_status(L, 2, &status))
    luaL_typeerror(L, 2, "status (an integer of 32 bits)");
  size_t size = 0;
  const char *bytes = lua_isnoneornil(L, 3) ? NULL : luaL_checklstring(L, 3, &size);
  luaL_argcheck(L, size <= UINT32_MAX, 3, "response of less than 4 GiB expected");
  ICustomActionResultCallback *callback = proxy->callback;
  rscl_push_status(L, callback->lpVtbl->ReportResult(callback, status, size ? (PBYTE)(uintptr_t)bytes : NULL, (DWORD)size));
  return 1;
}

static int callback_tostring(lua_State *L) {
  callback_proxy *proxy = rscl_object_check(L, 1, &rscl_callback_type);
  if (proxy->callback)
    lua_pushfstring(L, "rsca.callback: %p", (void *)proxy->callback);
  else
    lua_pushliteral(L, "rsca.callback: released");
  return 1;
}

static const luaL_Reg callback_methods[] = {{"AddRef", callback_AddRef},
                                            {"Release", callback_Release},
                                            {"ReportResult", callback_ReportResult},
                                            {"close", callback_close},
                                            {NULL, NULL}};
static const luaL_Reg callback_meta[] = {
    {"__gc", callback_gc}, {"__close", callback_close}, {"__tostring", callback_tostring}, {NULL, NULL}};
const rscl_type rscl_callback_type = {"rsca.callback", callback_meta, callback_methods, NULL};

/* ---- A Lua handler as a native callback ---- */

typedef struct lua_callback {
  ICustomActionResultCallback iface;
  rsci_refs refs;    /* the clients', and one per result on its way */
  rscl_state *state; /* held */
  rscl_slot slot;    /* where the handler is anchored */
  rsci_task forget;
} lua_callback;

/* A result on its way to the handler's thread. */
typedef struct result {
  rsci_task task;
  lua_callback *callback; /* held */
  HRESULT status;
  size_t size;
  char bytes[];
} result;

static lua_callback *impl_from(ICustomActionResultCallback *iface) {
  return (lua_callback *)iface; /* its first member */
}

static void free_callback(lua_callback *callback) {
  rsci_engine_release(&callback->state->engine);
  free(callback);
}

static void forget_run(rsci_task *task) {
  lua_callback *callback = (lua_callback *)((char *)task - offsetof(lua_callback, forget));
  rscl_state *state = callback->state;
  rscl_slots_clear(state->turn, RSCL_TURN_SLOTS, &state->slots, callback->slot);
  free_callback(callback);
}

static void forget_drop(rsci_task *task) {
  free_callback((lua_callback *)((char *)task - offsetof(lua_callback, forget)));
}

static const rsci_task_ops forget_ops = {forget_run, forget_drop};

static ULONG lua_callback_AddRef(ICustomActionResultCallback *iface) {
  return rsci_refs_add(&impl_from(iface)->refs);
}

static ULONG lua_callback_Release(ICustomActionResultCallback *iface) {
  lua_callback *callback = impl_from(iface);
  uint32_t count = rsci_refs_drop(&callback->refs);
  /* The handler is let go on its own thread, wherever this is. */
  if (count == 0 && !rsci_engine_post(&callback->state->engine, &callback->forget))
    free_callback(callback);
  return count;
}

static void result_free(result *message) {
  (void)lua_callback_Release(&message->callback->iface);
  free(message);
}

/* Out of memory: the next step tries again. */
static void undo_result(rscl_state *state, void *subject, lua_State *L, int status) {
  (void)L;
  (void)status;
  result *message = subject;
  rsci_runner_post_here(state->engine.runner, &message->task);
}

static void result_run(rsci_task *task) {
  result *message = (result *)task;
  rscl_state *state = message->callback->state;
  lua_State *L = state->turn;
  rscl_guard_set(state, undo_result, message);
  lua_rawgeti(L, RSCL_TURN_SLOTS, (lua_Integer)message->callback->slot);
  int nargs = 3 + rscl_push_invocation(L);
  rscl_push_status(L, message->status);
  lua_pushlstring(L, message->bytes, message->size);
  lua_pushboolean(L, 1);
  rscl_fiber *fiber = rscl_fiber_create(L, RSCL_TURN_SLOTS, state, RSCL_HANDLER, NULL);
  lua_pop(L, 1);
  result_free(message);
  rscl_fiber_run(fiber, nargs);
}

static void result_drop(rsci_task *task) {
  result_free((result *)task);
}

static const rsci_task_ops result_ops = {result_run, result_drop};

static HRESULT lua_callback_ReportResult(ICustomActionResultCallback *iface, HRESULT hrStatus, PBYTE pbResponse,
                                         DWORD cbResponse) {
  lua_callback *callback = impl_from(iface);
  if (!pbResponse && cbResponse > 0)
    return E_INVALIDARG;
  result *message = malloc(sizeof *message + cbResponse);
  if (!message)
    return E_OUTOFMEMORY;
  *message = (result){.task = {.ops = &result_ops}, .callback = callback, .status = hrStatus, .size = cbResponse};
  if (cbResponse > 0)
    memcpy(message->bytes, pbResponse, cbResponse);
  (void)rsci_refs_add(&callback->refs);
  if (rsci_engine_post(&callback->state->engine, &message->task))
    return S_OK;
  result_free(message);
  return RPC_E_DISCONNECTED;
}

static const ICustomActionResultCallbackVtbl lua_callback_vtbl = {lua_callback_AddRef, lua_callback_Release,
                                                                  lua_callback_ReportResult};

ICustomActionResultCallback *rscl_callback_create(lua_State *L, rscl_state *state, int box, int index) {
  ICustomActionResultCallback *native = rscl_callback_test(L, index);
  if (native) {
    (void)native->lpVtbl->AddRef(native);
    return native;
  }
  index = lua_absindex(L, index);
  luaL_checkstack(L, 4, NULL);
  lua_getiuservalue(L, box, RSCL_UV_SLOTS);
  rscl_slots_reserve(L, -1, &state->slots);
  lua_callback *callback = malloc(sizeof *callback);
  if (callback) {
    *callback = (lua_callback){.iface = {&lua_callback_vtbl}, .state = state, .forget = {.ops = &forget_ops}};
    rsci_refs_init(&callback->refs);
    rsci_engine_hold(&state->engine);
    lua_pushvalue(L, index);
    callback->slot = rscl_slots_put(L, -2, &state->slots, NULL);
  }
  lua_pop(L, 1);
  return callback ? &callback->iface : NULL;
}
