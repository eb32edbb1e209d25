/*
 * The host's side of the binding: rsca/lua.h. Every function is one protected call of a C function.
 */
#include <rsca/lua.h>

#include <string.h>

#include <lualib.h>

#include "callback.h"
#include "callback2.h"
#include "embedded.h"
#include "error.h"
#include "foreign.h"
#include "manager_proxy.h"
#include "native_proxy.h"
#include "module.h"
#include "worker.h"

/* What a host's call is about; passed as a light userdata. */
typedef struct work {
  rsca_manager *manager;
  struct rscl_worker *worker;
  ICustomActionResultCallback *callback;
  const rscl_type *type;
  IWpfReferencedObject *native;
  HRESULT status;
} work;

/* Calls `main` with (work, value at `index` if not 0) under protection, leaving `nresults` on S_OK. */
static HRESULT protect(lua_State *L, lua_CFunction main, work *what, int index, int nresults) {
  if (!L)
    return E_INVALIDARG;
  if (!lua_checkstack(L, 4))
    return E_OUTOFMEMORY;
  if (index && lua_isnone(L, index))
    return E_INVALIDARG;
  if (index)
    index = lua_absindex(L, index);
  int top = lua_gettop(L);
  lua_pushcfunction(L, main);
  lua_pushlightuserdata(L, what);
  if (index)
    lua_pushvalue(L, index);
  int status = lua_pcall(L, index ? 2 : 1, nresults, 0);
  if (status != LUA_OK)
    what->status = status == LUA_ERRMEM ? E_OUTOFMEMORY : E_FAIL;
  if (FAILED(what->status))
    lua_settop(L, top);
  return what->status;
}

enum { EMBEDDED = sizeof rscl_embedded_modules / sizeof *rscl_embedded_modules };

static int load_embedded(lua_State *L);

/* Whether it comes with another module, and is found once that has been loaded. */
static bool is_part(const char *name) {
  static const char repl[] = "rsca.repl.";
  return strncmp(name, repl, sizeof repl - 1) == 0;
}

/* Makes require find the parts, or all others. [-0, +0, m] */
static void preload(lua_State *L, bool parts) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  for (size_t i = 0; i < EMBEDDED; i++)
    if (is_part(rscl_embedded_modules[i].name) == parts) {
      lua_pushcfunction(L, load_embedded);
      lua_setfield(L, -2, rscl_embedded_modules[i].name);
    }
  lua_pop(L, 1);
}

/* For require: (name, ":preload:") */
static int load_embedded(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  size_t i = 0;
  while (i < EMBEDDED && strcmp(rscl_embedded_modules[i].name, name) != 0)
    i++;
  luaL_argcheck(L, i < EMBEDDED, 1, "not a module of rsca");
  const rscl_embedded *module = &rscl_embedded_modules[i];
  if (strcmp(name, "rsca.repl") == 0)
    preload(L, true);
  if (luaL_loadbufferx(L, (const char *)module->text, module->size, module->chunk, "t") != LUA_OK)
    return lua_error(L);
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, 1);
  return 1;
}

static int open_main(lua_State *L) {
  work *what = lua_touserdata(L, 1);
  (void)luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, LUA_LOADLIBNAME) != LUA_TTABLE) {
    what->status = E_INVALIDARG;
    return 0;
  }
  what->status = rscl_module_open(L, what->manager, what->worker);
  if (FAILED(what->status))
    return 0;
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_rsca_core);
  lua_setfield(L, -2, "rsca.core");
  lua_pushcfunction(L, luaopen_rsca_core); /* it is all that lua/rsca/init.lua returns */
  lua_setfield(L, -2, "rsca");
  lua_pop(L, 1);
  preload(L, false);
  return 0;
}

HRESULT rscl_lua_open(lua_State *L, rsca_manager *manager, struct rscl_worker *worker) {
  work what = {.manager = manager, .worker = worker};
  return protect(L, open_main, &what, 0, 0);
}

HRESULT rsca_lua_open(lua_State *L, rsca_manager *manager) {
  if (manager && manager->pool)
    return E_INVALIDARG;
  return rscl_lua_open(L, manager, NULL);
}

HRESULT rsca_lua_load_script(rsca_manager *manager, const rsca_lua_script *script, char *message, size_t size) {
  if (size > 0 && message)
    *message = '\0';
  if (!manager || !manager->pool || !script || !script->path == !script->text || (size > 0 && !message))
    return E_INVALIDARG;
  return rscl_script_load(manager, script, NULL, NULL, message, size);
}

HRESULT rsca_lua_own_manager(lua_State *L, rsca_manager **out) {
  if (!out)
    return E_INVALIDARG;
  *out = NULL;
  if (!L || !lua_checkstack(L, 1))
    return E_INVALIDARG;
  rscl_state *state = rscl_push_box(L);
  lua_pop(L, 1);
  if (!state)
    return RSCA_E_NOT_FOUND;
  (void)rsca_manager_add_ref(state->own);
  *out = state->own;
  return S_OK;
}

HRESULT rsca_lua_set_hooks(lua_State *L, const rsca_lua_hooks *hooks) {
  if (!L || !lua_checkstack(L, 1))
    return E_INVALIDARG;
  rscl_state *state = rscl_push_box(L);
  lua_pop(L, 1);
  if (!state)
    return RSCA_E_NOT_FOUND;
  state->hooks = hooks ? *hooks : (rsca_lua_hooks){0};
  return S_OK;
}

static int push_manager_main(lua_State *L) {
  work *what = lua_touserdata(L, 1);
  rscl_state *state = rscl_push_box(L);
  what->status = state ? S_OK : RSCA_E_NOT_FOUND;
  if (!state)
    return 0;
  rscl_manager_push(L, -1, state, what->manager);
  return 1;
}

HRESULT rsca_lua_push_manager(lua_State *L, rsca_manager *manager) {
  work what = {.manager = manager};
  return manager ? protect(L, push_manager_main, &what, 0, 1) : E_INVALIDARG;
}

static int to_manager_main(lua_State *L) {
  work *what = lua_touserdata(L, 1);
  rsca_manager *manager = rscl_manager_test(L, 2);
  if (!manager) {
    what->status = E_INVALIDARG;
    return 0;
  }
  (void)rsca_manager_add_ref(manager);
  what->manager = manager;
  if (rscl_push_box(L))
    rscl_manager_settle(L, -1, 2); /* somebody outside needs it from now on */
  return 0;
}

HRESULT rsca_lua_to_manager(lua_State *L, int index, rsca_manager **out) {
  if (!out)
    return E_INVALIDARG;
  work what = {0};
  HRESULT status = protect(L, to_manager_main, &what, index, 0);
  *out = SUCCEEDED(status) ? what.manager : NULL;
  if (FAILED(status) && what.manager)
    (void)rsca_manager_release(what.manager);
  return status;
}

static int push_native_main(lua_State *L) {
  work *what = lua_touserdata(L, 1);
  what->status = rscl_push_box(L) ? S_OK : RSCA_E_NOT_FOUND;
  if (FAILED(what->status))
    return 0;
  rscl_native_push(L, -1, what->type, what->native);
  return 1;
}

/* Every interface begins with that of a referenced object. */
static HRESULT push_native(lua_State *L, const rscl_type *type, void *native) {
  work what = {.type = type, .native = native};
  return native ? protect(L, push_native_main, &what, 0, 1) : E_INVALIDARG;
}

HRESULT rsca_lua_push_callback(lua_State *L, ICustomActionResultCallback *callback) {
  return push_native(L, &rscl_callback_type, callback);
}

HRESULT rsca_lua_push_callback2(lua_State *L, ICustomAction2ResultCallback *callback) {
  return push_native(L, &rscl_callback2_type, callback);
}

HRESULT rsca_lua_push_custom_actions(lua_State *L, IPmCustomActions *actions) {
  rsca_manager *manager = actions ? rsci_manager_of_custom_actions(actions) : NULL;
  return manager ? rsca_lua_push_manager(L, manager) : push_native(L, &rscl_custom_actions_type, actions);
}

HRESULT rsca_lua_push_custom_actions2(lua_State *L, IPmCustomActions2 *actions) {
  rsca_manager *manager = actions ? rsci_manager_of_custom_actions2(actions) : NULL;
  return manager ? rsca_lua_push_manager(L, manager) : push_native(L, &rscl_custom_actions2_type, actions);
}

static int to_callback_main(lua_State *L) {
  work *what = lua_touserdata(L, 1);
  rscl_state *state = rscl_push_box(L);
  if (!state) {
    what->status = RSCA_E_NOT_FOUND;
    return 0;
  }
  bool handler = lua_isfunction(L, 2) || rscl_object_test(L, 2, &rscl_callback_type);
  if (!handler && lua_istable(L, 2))
    handler = lua_getfield(L, 2, "ReportResult") != LUA_TNIL;
  if (!handler) {
    what->status = E_INVALIDARG;
    return 0;
  }
  what->callback = rscl_callback_create(L, state, 3, 2);
  what->status = what->callback ? S_OK : E_OUTOFMEMORY;
  return 0;
}

HRESULT rsca_lua_to_callback(lua_State *L, int index, ICustomActionResultCallback **out) {
  if (!out)
    return E_INVALIDARG;
  work what = {0};
  HRESULT status = protect(L, to_callback_main, &what, index, 0);
  *out = SUCCEEDED(status) ? what.callback : NULL;
  return status;
}
