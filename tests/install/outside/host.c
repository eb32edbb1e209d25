/* A host of an installed rsca with a Lua of its own: a manager, an action of each half, and one calls the other. */
#include <stdio.h>
#include <stdlib.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <rsca/lua.h>
#include <rsca/manager.h>

static HRESULT in_c(void *user, rsca_call *call, const char *args, size_t size) {
  (void)user;
  return rsca_call_report(call, args, size);
}

static void on_result(void *user, HRESULT status, const void *response, size_t size, bool final) {
  int *told = user;
  *told += final;
  printf("host 0x%08X %.*s\n", (unsigned)status, (int)size, size > 0 ? (const char *)response : "");
}

int main(void) {
  static const char script[] = "local rsca = require 'rsca'\n"
                               "rsca.register('in_lua', function(args, ctx)\n"
                               "  assert(ctx:sleep(0.01))\n"
                               "  return assert(rsca.call('in_c', args)) .. ', from ' .. rsca._VERSION\n"
                               "end)\n";
  int told = 0;
  rsca_manager *manager;
  lua_State *L = luaL_newstate();
  if (!L || FAILED(rsca_manager_create(NULL, &manager)) ||
      FAILED(rsca_manager_register(manager, "in_c", NULL, in_c, NULL, NULL)))
    return EXIT_FAILURE;
  luaL_openlibs(L);
  if (FAILED(rsca_lua_open(L, manager)))
    return EXIT_FAILURE;
  if (luaL_dostring(L, script) != LUA_OK) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    return EXIT_FAILURE;
  }
  if (FAILED(rsca_manager_run(manager, "in_lua", "hello", on_result, &told, NULL)))
    return EXIT_FAILURE;
  while (told == 0)
    (void)rsca_manager_step(manager, 0);
  lua_close(L);
  return rsca_manager_release(manager) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
