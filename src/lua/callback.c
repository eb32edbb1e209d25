#include "callback.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "fiber.h"
#include "handler.h"
#include "native_proxy.h"
#include "request.h"

/* ---- A native callback as a Lua object ---- */

ICustomActionResultCallback *rscl_callback_test(lua_State *L, int index) {
  return rscl_native_test(L, index, &rscl_callback_type);
}

static int callback_ReportResult(lua_State *L) {
  (void)rscl_native_check(L, 1, &rscl_callback_type);
  HRESULT status = S_OK;
  if (!rscl_to_status(L, 2, &status))
    luaL_typeerror(L, 2, "status (an integer of 32 bits)");
  size_t size = 0;
  const char *bytes = lua_isnoneornil(L, 3) ? NULL : luaL_checklstring(L, 3, &size);
  luaL_argcheck(L, size <= UINT32_MAX, 3, "response of less than 4 GiB expected");
  ICustomActionResultCallback *callback = rscl_native_hold(L, 1, &rscl_callback_type);
  status = callback->lpVtbl->ReportResult(callback, status, size ? (PBYTE)(uintptr_t)bytes : NULL, (DWORD)size);
  (void)callback->lpVtbl->Release(callback);
  rscl_push_status(L, status);
  return 1;
}

static const luaL_Reg callback_methods[] = {{"AddRef", rscl_native_AddRef},
                                            {"Release", rscl_native_Release},
                                            {"ReportResult", callback_ReportResult},
                                            {"close", rscl_native_close},
                                            {NULL, NULL}};
const rscl_type rscl_callback_type = {"rsca.callback", rscl_native_meta, callback_methods, NULL};

/* ---- A Lua handler as a native callback ---- */

typedef struct lua_callback lua_callback;

/* A result on its way to the handler's thread. */
typedef struct result {
  rsci_task task;
  lua_callback *callback; /* held */
  unsigned forks;         /* the process that it was reported in */
  HRESULT status;
  size_t size;
  const char *bytes; /* behind it, or constant */
} result;

struct lua_callback {
  ICustomActionResultCallback iface;
  rsci_refs refs;        /* the clients', and one per result on its way */
  rscl_state *state;     /* held */
  rscl_slot slot;        /* where the handler is anchored; 0: there is none */
  rscl_request *request; /* held; else what is waiting for the result */
  bool once;             /* for a call of a foreign manager: it is to report once */
  bool refused;          /* that call: whatever was reported is not for anybody; the state's own thread */
  atomic_bool reported;
  result abandoned; /* what it is told if the manager lets go without a result */
  rsci_task forget;
};

static lua_callback *impl_from(ICustomActionResultCallback *iface) {
  return (lua_callback *)iface; /* its first member */
}

static void free_callback(lua_callback *callback) {
  if (callback->request)
    rscl_request_release(callback->request);
  rsci_engine_release(&callback->state->engine);
  free(callback);
}

static void forget_run(rsci_task *task) {
  lua_callback *callback = (lua_callback *)((char *)task - offsetof(lua_callback, forget));
  rscl_state *state = callback->state;
  if (callback->slot)
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
  if (count == 0 && callback->once && !atomic_exchange(&callback->reported, true)) {
    /* Nobody else has it any more: it lives on for the one result that it is owed. */
    (void)rsci_refs_add(&callback->refs);
    if (rsci_engine_post(&callback->state->engine, &callback->abandoned.task))
      return 0;
    (void)rsci_refs_drop(&callback->refs);
  }
  /* The handler is let go on its own thread, wherever this is. */
  if (count == 0 && !rsci_engine_post(&callback->state->engine, &callback->forget))
    free_callback(callback);
  return count;
}

static void result_free(result *message) {
  lua_callback *callback = message->callback;
  if (message != &callback->abandoned)
    free(message);
  (void)lua_callback_Release(&callback->iface);
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
  if (message->callback->refused) {
    result_free(message);
    return;
  }
  bool dropped = rsci_runner_drops(state->engine.runner, message->forks);
  if (message->callback->request) {
    rscl_request_complete(message->callback->request, message->status, message->bytes, message->size);
    result_free(message);
    return;
  }
  if (dropped) {
    if (message->callback->once)
      state->expected--;
    result_free(message);
    return;
  }
  rscl_guard_set(state, undo_result, message);
  lua_rawgeti(L, RSCL_TURN_SLOTS, (lua_Integer)message->callback->slot);
  int nargs = 3 + rscl_push_invocation(L);
  rscl_push_status(L, message->status);
  lua_pushlstring(L, message->bytes, message->size);
  lua_pushboolean(L, 1);
  rscl_fiber *fiber = rscl_fiber_create(L, RSCL_TURN_SLOTS, state, RSCL_HANDLER, NULL);
  if (message->callback->once)
    state->expected--;
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
  if (callback->once && atomic_exchange(&callback->reported, true)) {
    free(message);
    return S_FALSE; /* it has heard the end: dropped */
  }
  char *bytes = (char *)(message + 1);
  *message = (result){{.ops = &result_ops}, callback, rsci_forks(), hrStatus, cbResponse, bytes};
  if (cbResponse > 0)
    memcpy(bytes, pbResponse, cbResponse);
  (void)rsci_refs_add(&callback->refs);
  if (rsci_engine_post(&callback->state->engine, &message->task))
    return S_OK;
  result_free(message);
  return RPC_E_DISCONNECTED;
}

static const ICustomActionResultCallbackVtbl lua_callback_vtbl = {lua_callback_AddRef, lua_callback_Release,
                                                                  lua_callback_ReportResult};

/* With one reference and nothing to call yet; NULL: out of memory. */
static lua_callback *create(rscl_state *state) {
  lua_callback *callback = malloc(sizeof *callback);
  if (!callback)
    return NULL;
  static const char text[] = "the manager let go of the call without a result";
  *callback = (lua_callback){.iface = {&lua_callback_vtbl}, .state = state, .forget = {.ops = &forget_ops}};
  callback->abandoned =
      (result){{.ops = &result_ops}, callback, rsci_forks(), RPC_E_DISCONNECTED, sizeof text - 1, text};
  rsci_refs_init(&callback->refs);
  atomic_init(&callback->reported, false);
  rsci_engine_hold(&state->engine);
  return callback;
}

static lua_callback *create_for_handler(lua_State *L, rscl_state *state, int box, int index) {
  index = lua_absindex(L, index);
  luaL_checkstack(L, 4, NULL);
  lua_getiuservalue(L, box, RSCL_UV_SLOTS);
  rscl_slots_reserve(L, -1, &state->slots);
  lua_callback *callback = create(state);
  if (callback) {
    lua_pushvalue(L, index);
    callback->slot = rscl_slots_put(L, -2, &state->slots, NULL);
  }
  lua_pop(L, 1);
  return callback;
}

ICustomActionResultCallback *rscl_callback_create(lua_State *L, rscl_state *state, int box, int index) {
  ICustomActionResultCallback *native = rscl_callback_test(L, index);
  if (native) {
    (void)native->lpVtbl->AddRef(native);
    return native;
  }
  lua_callback *callback = create_for_handler(L, state, box, index);
  return callback ? &callback->iface : NULL;
}

ICustomActionResultCallback *rscl_callback_for_call(lua_State *L, rscl_state *state, int index) {
  lua_callback *callback = create_for_handler(L, state, RSCL_BOX, index);
  if (!callback)
    return NULL;
  callback->once = true;
  return &callback->iface;
}

ICustomActionResultCallback *rscl_callback_for_request(rscl_state *state, rscl_request *request) {
  lua_callback *callback = create(state);
  if (!callback)
    return NULL;
  (void)rsci_refs_add(&request->refs);
  callback->request = request;
  callback->once = true;
  return &callback->iface;
}

void rscl_callback_disarm(ICustomActionResultCallback *callback) {
  impl_from(callback)->refused = true;
  atomic_store(&impl_from(callback)->reported, true);
}
