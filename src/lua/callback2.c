#include "callback2.h"

#include "core/sinks.h"
#include "error.h"
#include "foreign.h"
#include "handler.h"
#include "manager_proxy.h"
#include "native_proxy.h"
#include "utf16.h"

bool rscl_is_callback2(lua_State *L, int index) {
  return rscl_object_test(L, index, &rscl_callback2_type) != NULL;
}

void rscl_check_callback2(lua_State *L, int arg) {
  if (rscl_native_test(L, arg, &rscl_callback2_type))
    return;
  if (!lua_isfunction(L, arg) && !lua_istable(L, arg))
    luaL_typeerror(L, arg, "callback (a function, a table with ReportResult, or an rsca.callback2)");
  rscl_check_handler(L, arg);
}

HRESULT rscl_callback2_register(lua_State *L, int proxy, rscl_text name, rscl_text args, int callback) {
  /* Only now: a finalizer may have closed either. From here on nothing can raise. */
  const rsci_sink sink = {.ops = &rsci_callback2_sink, .object = rscl_native_check(L, callback, &rscl_callback2_type)};
  rsca_manager *manager = rscl_manager_test(L, proxy);
  if (!manager)
    return RSCA_E_SHUTDOWN_IN_PROGRESS;
  HRESULT status =
      rsci_manager_run(manager, &manager->default_session, name.data, name.size, args.data, args.size, &sink, NULL);
  rscl_manager_settle(L, RSCL_BOX, proxy);
  return status;
}

HRESULT rscl_callback2_register_foreign(lua_State *L, int proxy, rscl_text name, rscl_text args, int callback) {
  luaL_checkstack(L, 2, NULL);
  PCWSTR name16 = rscl_push_utf16(L, name), args16 = rscl_push_utf16(L, args);
  (void)rscl_native_check(L, callback, &rscl_callback2_type);
  IPmCustomActions2 *actions = rscl_native_hold(L, proxy, &rscl_custom_actions2_type);
  ICustomAction2ResultCallback *native = rscl_native_hold(L, callback, &rscl_callback2_type);
  HRESULT status = actions->lpVtbl->RegisterCustomActionCallback(actions, name16, args16, native);
  (void)native->lpVtbl->Release(native);
  (void)actions->lpVtbl->Release(actions);
  lua_pop(L, 2);
  return status;
}

/* ReportResult(status [, bytes [, final]]) */
static int callback2_ReportResult(lua_State *L) {
  (void)rscl_native_check(L, 1, &rscl_callback2_type);
  HRESULT status = S_OK;
  if (!rscl_to_status(L, 2, &status))
    luaL_typeerror(L, 2, "status (an integer of 32 bits)");
  size_t size = 0;
  const char *bytes = lua_isnoneornil(L, 3) ? NULL : luaL_checklstring(L, 3, &size);
  luaL_argcheck(L, size <= UINT32_MAX, 3, "response of less than 4 GiB expected");
  bool final = status != S_OK;
  if (!lua_isnoneornil(L, 4)) {
    luaL_checktype(L, 4, LUA_TBOOLEAN);
    final = lua_toboolean(L, 4);
  }
  luaL_argcheck(L, rsci_callback2_can_say(status, final), 4,
                "a report is final if its status is not S_OK, and only then: this build can't say otherwise");
  ICustomAction2ResultCallback *callback = rscl_native_hold(L, 1, &rscl_callback2_type);
  status = rsci_callback2_report(callback, status, size ? bytes : NULL, size, final);
  (void)callback->lpVtbl->Release(callback);
  rscl_push_status(L, status);
  return 1;
}

static const luaL_Reg callback2_methods[] = {{"AddRef", rscl_native_AddRef},
                                             {"Release", rscl_native_Release},
                                             {"ReportResult", callback2_ReportResult},
                                             {"close", rscl_native_close},
                                             {NULL, NULL}};
const rscl_type rscl_callback2_type = {"rsca.callback2", rscl_native_meta, callback2_methods, NULL};
