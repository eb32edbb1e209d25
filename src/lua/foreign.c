#include "foreign.h"

#include "callback.h"
#include "callback2.h"
#include "error.h"
#include "fiber.h"
#include "handler.h"
#include "native_proxy.h"
#include "request.h"
#include "foreign_registration.h"
#include "responses.h"
#include "subscription.h"
#include "text_args.h"
#include "utf16.h"

/* ---- IPmCustomActions ---- */

static int actions_call(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  (void)rscl_native_check(L, 1, &rscl_custom_actions_type);
  const rscl_target target = {.proxy = 1, .foreign = true};
  (void)rscl_check_name(L, 2);
  rscl_text args = rscl_check_args(L, 3);
  return rscl_request_call(L, state, target, 2, args);
}

/* A native callback goes through as it is. [-0, +0, v] */
static HRESULT run_with_native(lua_State *L, PCWSTR name, PCWSTR args, int index) {
  (void)rscl_native_check(L, index, &rscl_callback_type);
  IPmCustomActions *actions = rscl_native_hold(L, 1, &rscl_custom_actions_type);
  ICustomActionResultCallback *native = rscl_native_hold(L, index, &rscl_callback_type);
  HRESULT status = actions->lpVtbl->RunCustomAction(actions, name, args, native);
  (void)native->lpVtbl->Release(native);
  (void)actions->lpVtbl->Release(actions);
  return status;
}

/* A handler is told once. [-0, +0, v] */
static HRESULT run_with_handler(lua_State *L, rscl_state *state, PCWSTR name, PCWSTR args, int index) {
  ICustomActionResultCallback *callback = rscl_callback_for_call(L, state, index);
  if (!callback)
    return E_OUTOFMEMORY;
  IPmCustomActions *actions = rscl_native_peek(L, 1, &rscl_custom_actions_type);
  if (!actions) { /* a finalizer has released it meanwhile */
    rscl_callback_disarm(callback);
    (void)callback->lpVtbl->Release(callback);
    (void)rscl_native_check(L, 1, &rscl_custom_actions_type); /* raises */
    return E_FAIL;
  }
  (void)actions->lpVtbl->AddRef(actions);
  state->expected++; /* first: it may report before the call has returned */
  HRESULT status = actions->lpVtbl->RunCustomAction(actions, name, args, callback);
  if (FAILED(status)) {
    state->expected--;
    rscl_callback_disarm(callback);
  }
  (void)callback->lpVtbl->Release(callback);
  (void)actions->lpVtbl->Release(actions);
  return status;
}

/* Runs an action of the manager whose proxy is at 1, with the callback at `index`. [-0, +0, v] */
static HRESULT run_with(lua_State *L, rscl_state *state, rscl_text name, rscl_text args, int index) {
  luaL_checkstack(L, 4, NULL);
  PCWSTR name16 = rscl_push_utf16(L, name), args16 = rscl_push_utf16(L, args);
  return rscl_object_test(L, index, &rscl_callback_type) ? run_with_native(L, name16, args16, index)
                                                         : run_with_handler(L, state, name16, args16, index);
}

static int actions_run(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  (void)rscl_native_check(L, 1, &rscl_custom_actions_type);
  rscl_text name = rscl_check_name(L, 2), args = rscl_check_args(L, 3);
  if (lua_isnoneornil(L, 4))
    return rscl_request_run(L, state, (rscl_target){.proxy = 1, .foreign = true}, name, args);
  rscl_check_callback(L, 4);
  HRESULT status = run_with(L, state, name, args, 4);
  if (FAILED(status))
    return rscl_refused(L, status, name.data);
  lua_pushboolean(L, 1); /* somebody else's calls have no number */
  return 1;
}

static int actions_RunCustomAction(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  (void)rscl_native_check(L, 1, &rscl_custom_actions_type);
  rscl_text name, args;
  if (!lua_isnoneornil(L, 4))
    rscl_check_callback(L, 4);
  HRESULT status = rscl_check_documented(L, &name, &args);
  if (SUCCEEDED(status))
    status = run_with(L, state, name, args, 4);
  rscl_push_status(L, status);
  return 1;
}

static const luaL_Reg actions_methods[] = {{"call", actions_call},
                                           {"run", actions_run},
                                           {"RunCustomAction", actions_RunCustomAction},
                                           {"AddRef", rscl_native_AddRef},
                                           {"Release", rscl_native_Release},
                                           {"close", rscl_native_close},
                                           {NULL, NULL}};
const rscl_type rscl_custom_actions_type = {"rsca.custom_actions", rscl_native_meta, actions_methods, NULL};

/* ---- IPmCustomActions2 ---- */

static int actions2_subscribe(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  IPmCustomActions2 *actions = rscl_native_check(L, 1, &rscl_custom_actions2_type);
  rscl_text name = rscl_check_name(L, 2), args = rscl_check_args(L, 3);
  rscl_check_handler(L, 4);
  return rscl_subscribe_foreign(L, state, actions, 1, name, args, 4);
}

static int actions2_responses(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  IPmCustomActions2 *actions = rscl_native_check(L, 1, &rscl_custom_actions2_type);
  rscl_text name = rscl_check_name(L, 2), args = rscl_check_args(L, 3);
  return rscl_responses_foreign(L, state, actions, 1, name, args);
}

static int actions2_RegisterCustomActionCallback(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  IPmCustomActions2 *actions = rscl_native_check(L, 1, &rscl_custom_actions2_type);
  rscl_text name, args;
  if (!lua_isnoneornil(L, 4))
    rscl_check_callback2(L, 4);
  HRESULT status = rscl_check_documented(L, &name, &args);
  if (SUCCEEDED(status) && rscl_is_callback2(L, 4))
    status = rscl_callback2_register_foreign(L, 1, name, args, 4);
  else if (SUCCEEDED(status))
    status = rscl_register_foreign(L, state, actions, 1, name, args, 4);
  rscl_push_status(L, status);
  return 1;
}

static int actions2_UnregisterCustomActionCallback(lua_State *L) {
  (void)rscl_native_check(L, 1, &rscl_custom_actions2_type);
  rscl_text name = {"", 0};
  if (!lua_isnoneornil(L, 2))
    name.data = luaL_checklstring(L, 2, &name.size);
  HRESULT status = name.size == 0 ? E_INVALIDARG : rscl_text_status(name);
  if (SUCCEEDED(status)) {
    PCWSTR name16 = rscl_push_utf16(L, name);
    IPmCustomActions2 *actions = rscl_native_hold(L, 1, &rscl_custom_actions2_type);
    status = actions->lpVtbl->UnregisterCustomActionCallback(actions, name16);
    (void)actions->lpVtbl->Release(actions);
  }
  rscl_push_status(L, status);
  return 1;
}

static const luaL_Reg actions2_methods[] = {{"subscribe", actions2_subscribe},
                                            {"responses", actions2_responses},
                                            {"RegisterCustomActionCallback", actions2_RegisterCustomActionCallback},
                                            {"UnregisterCustomActionCallback", actions2_UnregisterCustomActionCallback},
                                            {"AddRef", rscl_native_AddRef},
                                            {"Release", rscl_native_Release},
                                            {"close", rscl_native_close},
                                            {NULL, NULL}};
const rscl_type rscl_custom_actions2_type = {"rsca.custom_actions2", rscl_native_meta, actions2_methods, NULL};
