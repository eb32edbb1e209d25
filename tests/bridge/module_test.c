/*
 * The module as a stock Lua host has it: loaded by require, next to the host's own liblua.
 *
 * This program links Lua, and nothing of rsca.
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

static lua_State *open_host(void) {
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  lua_getglobal(L, "package");
  lua_pushliteral(L, RSCA_LUA_DIR "/?/init.lua");
  lua_setfield(L, -2, "path");
  lua_pushliteral(L, RSCA_MODULE_DIR "/?.so");
  lua_setfield(L, -2, "cpath");
  lua_pop(L, 1);
  return L;
}

static void run_lua(lua_State *L, const char *code) {
  if (luaL_dostring(L, code) != LUA_OK)
    fail_msg("Lua: %s", lua_tostring(L, -1));
}

/* The module stays loaded while native code can still call it: that is, for good. */
static void test_module_stays_loaded_after_lua_close(void **unused) {
  (void)unused;
  const char *path = RSCA_MODULE_DIR "/rsca/core.so";
  lua_State *L = open_host();
  assert_null(dlopen(path, RTLD_NOW | RTLD_NOLOAD));
  run_lua(L, "local rsca = require 'rsca'; rsca.register('x', function() return 'y' end)\n"
             "assert(rsca.call('x') == 'y')");
  lua_close(L);
  void *module = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
  assert_non_null(module);
  (void)dlclose(module);
}

/* Two states in one process, each with the module, one after the other and at once. */
static void test_module_in_several_states(void **unused) {
  (void)unused;
  for (int i = 0; i < 3; i++) {
    lua_State *a = open_host(), *b = open_host();
    run_lua(a, "rsca = require 'rsca'; rsca.register('who', function() return 'a' end)");
    run_lua(b, "rsca = require 'rsca'; assert(not rsca.call('who'))\n"
               "rsca.register('wait', function(_, ctx) ctx:sleep(1000) end); rsca.run('wait'); rsca.step()");
    run_lua(a, "assert(rsca.call('who') == 'a')");
    lua_close(i == 1 ? a : b);
    if (i == 1)
      run_lua(b, "assert(not rsca.call('who'))");
    lua_close(i == 1 ? b : a);
  }
}

/* Loaded in a coroutine that ends, as some hosts do. */
static void test_module_loaded_in_a_coroutine_that_ends(void **unused) {
  (void)unused;
  lua_State *L = open_host();
  run_lua(L, "coroutine.wrap(function() rsca = require 'rsca'; rsca.register('x', function() return 'y' end) end)()\n"
             "collectgarbage(); collectgarbage()\n"
             "for i = 1, 100 do assert(rsca.call('x') == 'y') end");
  lua_close(L);
}

/* The statuses are there, whether they are walked through first or asked for. */
static void test_module_statuses_can_be_walked_through_first(void **unused) {
  (void)unused;
  lua_State *L = open_host();
  run_lua(L, "local status, count = require 'rsca'.status, 0\n"
             "for name, value in pairs(status) do assert(status[name] == value); count = count + 1 end\n"
             "assert(count > 20 and status.E_FAIL == 0x80004005 and not getmetatable(status))");
  lua_close(L);
  L = open_host();
  run_lua(L, "local status = require 'rsca'.status\n"
             "assert(status.NONE == nil and status.E_FAIL == 0x80004005 and rawget(status, 'S_OK') == 0)");
  lua_close(L);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_module_stays_loaded_after_lua_close),
      cmocka_unit_test(test_module_in_several_states),
      cmocka_unit_test(test_module_loaded_in_a_coroutine_that_ends),
      cmocka_unit_test(test_module_statuses_can_be_walked_through_first),
  };
  return cmocka_run_group_tests_name("bridge.module", tests, NULL, NULL);
}
