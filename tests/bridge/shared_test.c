/*
 * Shared values between the host, and Lua states on several threads.
 */
#include <rsca/shared.h>

#include "support.h"

static rsca_value got(rsca_manager *manager, const char *key) {
  rsca_value value;
  assert_int_equal(rsca_shared_get(manager, key, strlen(key), &value), S_OK);
  return value;
}

static void set(rsca_manager *manager, const char *key, rsca_value value) {
  assert_int_equal(rsca_shared_set(manager, key, strlen(key), &value, 0), S_OK);
}

/* What the host sets the script gets, and the other way round: the same kinds. */
static void test_host_and_script_share_values_of_each_kind(void **unused) {
  (void)unused;
  rsca_manager *manager = make_manager();
  lua_State *L = open_state(manager);
  set(manager, "integer", rsca_value_integer(7));
  set(manager, "float", rsca_value_float(7));
  set(manager, "boolean", rsca_value_boolean(false));
  set(manager, "string", rsca_value_string("a\0b", 3));
  run_lua(L, "local s = rsca.shared\n"
             "assert(math.type(s:get 'integer') == 'integer' and s:get 'integer' == 7)\n"
             "assert(math.type(s:get 'float') == 'float' and s:get 'float' == 7)\n"
             "assert(s:get 'boolean' == false and s:get 'string' == 'a\\0b')\n"
             "s:set('integer', -1); s:set('float', 0.5); s:set('boolean', true); s:set('string', 'c\\0')");
  assert_true(got(manager, "integer").kind == RSCA_INTEGER && got(manager, "integer").integer == -1);
  assert_true(got(manager, "float").kind == RSCA_FLOAT && got(manager, "float").number == 0.5);
  assert_true(got(manager, "boolean").kind == RSCA_BOOLEAN && got(manager, "boolean").boolean);
  rsca_value string = got(manager, "string");
  lua_close(L);
  assert_true(string.kind == RSCA_STRING && string.size == 2);
  assert_memory_equal(string.bytes, "c", 2);
  rsca_value_release(&string);
  assert_int_equal(got(manager, "integer").integer, -1); /* the state is gone, its values are not */
  assert_int_equal(rsca_manager_release(manager), 0);
  assert_int_equal(managers_alive, 0);
}

/* Two managers of one state don't mix, and the object of the host's manager is that of the host. */
static void test_object_means_the_manager_that_it_was_got_from(void **unused) {
  (void)unused;
  rsca_manager *manager = make_manager(), *other = make_manager();
  lua_State *L = open_state(manager);
  assert_int_equal(rsca_lua_push_manager(L, other), S_OK);
  lua_setglobal(L, "other");
  run_lua(L, "rsca.shared:set('name', 'own'); other:shared():set('name', 'other')");
  rsca_value own_name = got(manager, "name"), other_name = got(other, "name");
  assert_int_equal(own_name.size, 3);
  assert_int_equal(other_name.size, 5);
  rsca_value_release(&own_name);
  rsca_value_release(&other_name);
  lua_close(L);
  assert_int_equal(rsca_manager_release(other), 0);
  assert_int_equal(rsca_manager_release(manager), 0);
  assert_int_equal(managers_alive, 0);
}

/* The object holds its manager as long as it lives, and not for longer. */
static void test_object_holds_its_manager(void **unused) {
  (void)unused;
  lua_State *L = open_state(NULL);
  run_lua(L, "do local m = rsca.manager {}; mark(m); shared = m:shared() end");
  collect(L);
  assert_int_equal(managers_alive, 1);
  run_lua(L, "assert(shared:set('a', 1)); shared = nil");
  collect(L);
  run_lua(L, "rsca.step()");
  assert_int_equal(managers_alive, 0);
  lua_close(L);
}

/* Finalizers run while all else goes: they get an error at worst, which Lua drops. */
static void test_finalizers_use_shared_values_while_the_state_closes(void **unused) {
  (void)unused;
  rsca_manager *manager = make_manager();
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  run_lua(L, "early = setmetatable({}, { __gc = function() if use then use('early') end end })");
  assert_int_equal(rsca_lua_open(L, manager), S_OK);
  run_lua(L, "local shared, text = require 'rsca'.shared, ('x'):rep(1000)\n"
             "function use(who)\n"
             "  local before = shared:get(who)\n"
             "  shared:set(who, shared:compare_and_set(who, before, text) and #shared:keys() == 1 and text)\n"
             "end\n"
             "late = setmetatable({}, { __gc = function() use 'late' end })");
  lua_close(L);
  rsca_value value = got(manager, "late");
  assert_int_equal(value.size, 1000);
  rsca_value_release(&value);
  assert_int_equal(rsca_manager_release(manager), 0);
  assert_int_equal(managers_alive, 0);
}

enum { THREADS = 4, ROUNDS = 2000 };

static const char script[] = "local manager, rounds = ...\n"
                             "local shared = manager:shared()\n"
                             "local me = tostring(shared:add('states', 1))\n"
                             "for i = 1, rounds do\n"
                             "  shared:add('count', 1)\n"
                             "  shared:add('sum', 0.5)\n"
                             "  local seen, done\n"
                             "  repeat done, seen = shared:compare_and_set('even', seen, (seen or 0) + 2) until done\n"
                             "  shared:set('text', me:rep(1 + i % 700), i % 3 == 0 and 0.001 or nil)\n"
                             "  local text = shared:get('text')\n"
                             "  assert(not text or text == text:sub(1, 1):rep(#text), 'torn')\n"
                             "  if i % 100 == 0 then assert(#shared:keys() >= 4) end\n"
                             "end\n"
                             "repeat until shared:compare_and_set('lock', nil, me)\n"
                             "shared:set('inside', shared:get('inside') + 1)\n"
                             "assert(shared:compare_and_set('lock', me, nil))";

typedef struct worker {
  pthread_t thread;
  rsca_manager *manager;
  char wrong[200]; /* looked at when it is joined */
} worker;

static void *run_worker(void *user) {
  worker *self = user;
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  if (rsca_lua_open(L, NULL) != S_OK || luaL_loadstring(L, script) != LUA_OK ||
      rsca_lua_push_manager(L, self->manager) != S_OK)
    strcpy(self->wrong, "the script can't be run");
  lua_pushinteger(L, ROUNDS);
  if (!*self->wrong && lua_pcall(L, 2, 0, 0) != LUA_OK)
    strncpy(self->wrong, lua_tostring(L, -1), sizeof self->wrong - 1);
  lua_close(L);
  return NULL;
}

/* "Atomic": nothing is lost, whatever the states do at the same time. */
static void test_states_on_many_threads_share_one_managers_values(void **unused) {
  (void)unused;
  rsca_manager *manager = make_manager();
  set(manager, "inside", rsca_value_integer(0));
  worker workers[THREADS];
  for (int i = 0; i < THREADS; i++) {
    workers[i] = (worker){.manager = manager};
    assert_int_equal(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]), 0);
  }
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
  for (int i = 0; i < THREADS; i++)
    assert_string_equal(workers[i].wrong, "");
  assert_int_equal(got(manager, "states").integer, THREADS);
  assert_int_equal(got(manager, "count").integer, THREADS * ROUNDS);
  assert_true(got(manager, "sum").number == THREADS * ROUNDS / 2);
  assert_int_equal(got(manager, "even").integer, THREADS * ROUNDS * 2);
  assert_int_equal(got(manager, "inside").integer, THREADS);
  assert_int_equal(rsca_manager_release(manager), 0);
  assert_int_equal(managers_alive, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_host_and_script_share_values_of_each_kind),
      cmocka_unit_test(test_object_means_the_manager_that_it_was_got_from),
      cmocka_unit_test(test_object_holds_its_manager),
      cmocka_unit_test(test_finalizers_use_shared_values_while_the_state_closes),
      cmocka_unit_test(test_states_on_many_threads_share_one_managers_values),
  };
  return cmocka_run_group_tests_name("bridge.shared", tests, NULL, NULL);
}
