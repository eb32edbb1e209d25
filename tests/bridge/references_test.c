/*
 * Who keeps what alive. The table that the binding keeps to, and that these tests and the model (ownership_test.c)
 * hold it to; "ends" says what ends the hold.
 *
 *   object                 | holder                                  | ends
 *   -----------------------+-----------------------------------------+------------------------------------------------
 *   manager                | its creator                             | rsca_manager_release
 *                          | a proxy: one reference                  | close, __close, __gc, Release by the script
 *                          | a script's AddRef                       | its Release, or with the proxy
 *                          | a Lua state, its own manager            | lua_close
 *   manager's proxy        | the script                              | dropping it
 *                          | the state, while somebody else holds    | the last of those Releases, or call ends
 *                          | the manager or a call is in flight      |
 *                          | the state, its own manager's            | lua_close
 *   action function        | its manager's proxy (user value)        | unregister, replace, collecting the proxy;
 *                          |                                         | not before its queued calls have started
 *   callback of a run, C   | the call                                | after its ReportResult has returned
 *   handler of a run, Lua  | the state (a slot)                      | when it is called, or lua_close
 *   coroutine of a run     | the state (a slot)                      | its end
 *   request                | the script; the call, until it has ended| dropping it; the end of the call
 *   native callback        | its proxy: one reference                | close, __gc, Release by the script
 *   Lua handler handed out | the state (a slot)                      | the last Release, on the state's thread
 *   state context          | the universe; engines' clients: actions,| lua_close; each of them
 *                          | handed-out handlers, calls under way    |
 */
#include "support.h"

/* ---- Proxies ---- */

/* A Lua proxy owns exactly one reference to its native object. */
static void test_proxy_owns_exactly_one_reference(void **unused) {
  (void)unused;
  rsca_manager *own = make_manager(), *other = make_manager();
  lua_State *L = open_state(own);
  assert_int_equal(manager_refs(other), 1);
  assert_int_equal(rsca_lua_push_manager(L, other), S_OK);
  assert_int_equal(manager_refs(other), 2);
  lua_setglobal(L, "m");
  run_lua(L, "local again = m; t = { m, m }");
  assert_int_equal(manager_refs(other), 2);
  run_lua(L, "t = nil; m:close()");
  assert_int_equal(manager_refs(other), 1);
  lua_close(L);
  assert_int_equal(rsca_manager_release(other), 0);
  assert_int_equal(rsca_manager_release(own), 0);
  assert_int_equal(managers_alive, 0);
}

/* The same native object gives the same proxy within a state. */
static void test_same_object_gives_the_same_proxy_within_a_state(void **unused) {
  (void)unused;
  rsca_manager *own = make_manager(), *other = make_manager();
  counting *callback = counting_create();
  lua_State *L = open_state(own);
  for (int i = 0; i < 2; i++)
    assert_int_equal(rsca_lua_push_manager(L, other), S_OK);
  assert_true(lua_rawequal(L, -1, -2));
  for (int i = 0; i < 2; i++)
    assert_int_equal(rsca_lua_push_callback(L, &callback->iface), S_OK);
  assert_true(lua_rawequal(L, -1, -2));
  assert_int_equal(counting_refs(callback), 2);
  assert_int_equal(rsca_lua_push_manager(L, own), S_OK);
  run_lua(L, "return rsca.own_manager()");
  assert_true(lua_rawequal(L, -1, -2));
  lua_close(L);
  assert_int_equal(rsca_manager_release(other), 0);
  assert_int_equal(rsca_manager_release(own), 0);
  counting_end(callback);
}

/* A proxy that was dropped and collected is made anew, and owns one reference again. */
static void test_proxy_made_again_after_collection_owns_one_reference(void **unused) {
  (void)unused;
  counting *callback = counting_create();
  lua_State *L = open_state(NULL);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(rsca_lua_push_callback(L, &callback->iface), S_OK);
    assert_int_equal(counting_refs(callback), 2);
    lua_pop(L, 1);
    collect(L);
    assert_int_equal(counting_refs(callback), 1);
  }
  lua_close(L);
  counting_end(callback);
}

/* close, __close and __gc are idempotent: on anything the script did not make they are Release. */
static void test_close_of_a_pushed_manager_is_release(void **unused) {
  (void)unused;
  rsca_manager *own = make_manager(), *other = make_manager();
  lua_State *L = open_state(own);
  assert_int_equal(rsca_lua_push_manager(L, other), S_OK);
  lua_setglobal(L, "m");
  run_lua(L, "do local x <close> = m end; m:close(); m:close(); assert(not pcall(m.list, m))");
  collect(L);
  assert_int_equal(manager_refs(other), 1);
  /* Not shut down: it still takes actions. */
  assert_int_equal(rsca_manager_unregister(other, "native"), S_OK);
  mark_manager(other);
  lua_close(L);
  assert_int_equal(rsca_manager_release(other), 0);
  assert_int_equal(rsca_manager_release(own), 0);
}

/* On a manager that the script made they are Shutdown(TRUE) and Release. */
static void test_close_of_a_manager_the_script_made_is_shutdown_and_release(void **unused) {
  (void)unused;
  lua_State *L = open_state(NULL);
  run_lua(L, "m = rsca.manager {}; mark(m)\n"
             "m:register('sleep', function(_, ctx) ctx:sleep(1000) end)\n"
             "m:run('sleep', '', function(status) heard = status end)\n"
             "rsca.step(); return m");
  rsca_manager *manager;
  assert_int_equal(rsca_lua_to_manager(L, -1, &manager), S_OK);
  run_lua(L, "m:close(); m:close(); rsca.loop(); assert(heard == rsca.status.ERROR_CANCELLED)");
  assert_int_equal(manager_refs(manager), 1);
  assert_int_equal(rsca_manager_run(manager, "native", "", (rsca_result_fn)abort, NULL, NULL),
                   RSCA_E_SHUTDOWN_IN_PROGRESS);
  assert_int_equal(rsca_manager_release(manager), 0);
  assert_int_equal(managers_alive, 0);
  lua_close(L);
}

/* What a script took with AddRef and never gave back goes with the proxy. */
static void test_what_a_script_took_with_addref_goes_with_the_proxy(void **unused) {
  (void)unused;
  counting *callback = counting_create();
  rsca_manager *own = make_manager(), *other = make_manager();
  lua_State *L = open_state(own);
  assert_int_equal(rsca_lua_push_callback(L, &callback->iface), S_OK);
  lua_setglobal(L, "c");
  assert_int_equal(rsca_lua_push_manager(L, other), S_OK);
  lua_setglobal(L, "m");
  run_lua(L, "assert(c:AddRef() == 3 and c:AddRef() == 4 and c:Release() == 3)\n"
             "assert(m:AddRef() == 3 and m:AddRef() == 4)\n"
             "c = nil; m:close(); m = nil");
  collect(L);
  assert_int_equal(counting_refs(callback), 1);
  assert_int_equal(manager_refs(other), 1);
  lua_close(L);
  assert_int_equal(rsca_manager_release(other), 0);
  assert_int_equal(rsca_manager_release(own), 0);
  counting_end(callback);
}

/* Release gives back an AddRef, then the proxy's own reference; one more is an error, not a crash. */
static void test_over_release_is_an_error_not_a_crash(void **unused) {
  (void)unused;
  counting *callback = counting_create();
  lua_State *L = open_state(NULL);
  assert_int_equal(rsca_lua_push_callback(L, &callback->iface), S_OK);
  lua_setglobal(L, "c");
  run_lua(L, "assert(c:AddRef() == 3)\n"
             "assert(c:Release() == 2)\n"
             "assert(c:Release() == 1)\n"
             "for i = 1, 3 do\n"
             "  local ok, message = pcall(c.Release, c)\n"
             "  assert(not ok and message:find 'has been released', message)\n"
             "end\n"
             "assert(not pcall(c.AddRef, c) and not pcall(c.ReportResult, c, 0))\n"
             "local m = rsca.manager {}\n"
             "assert(m:AddRef() == 2 and m:Release() == 1 and m:Release() == 0)\n"
             "local ok, message = pcall(m.Release, m)\n"
             "assert(not ok and message:find 'closed', message)");
  assert_int_equal(counting_refs(callback), 1);
  lua_close(L);
  counting_end(callback);
}

/* The last Release by a script destroys the object. */
static void test_last_release_by_a_script_destroys_the_object(void **unused) {
  (void)unused;
  counting *callback = counting_create();
  lua_State *L = open_state(NULL);
  assert_int_equal(rsca_lua_push_callback(L, &callback->iface), S_OK);
  lua_setglobal(L, "c");
  assert_int_equal(callback->iface.lpVtbl->Release(&callback->iface), 1);
  run_lua(L, "assert(c:Release() == 0)");
  assert_int_equal(counting_alive, 0);
  lua_close(L);
}

/* ---- What hangs on what ---- */

/* A manager, its handlers and closures that name the manager are collectable as one cycle. */
static void test_manager_and_closures_that_name_it_are_collected_as_one_cycle(void **unused) {
  (void)unused;
  lua_State *L = open_state(NULL);
  run_lua(L, "for i = 1, 100 do\n"
             "  local m = watch(rsca.manager {}); mark(m)\n"
             "  m:register('me', function() return tostring(m) end)\n"
             "  assert(m:call('me') == tostring(m))\n"
             "  m:run('me', '', function() return m and 0 end)\n"
             "end\n"
             "rsca.loop()");
  collect(L);
  run_lua(L, "rsca.loop()"); /* what a finalizer ends is freed by the next step */
  assert_int_equal(lua_global(L, "collected"), 100);
  assert_int_equal(managers_alive, 0);
  lua_close(L);
}

/* The state anchors the proxy while a run is in flight: it is collected only after that has ended. */
static void test_manager_with_a_run_in_flight_is_collected_only_after_that_has_ended(void **unused) {
  (void)unused;
  lua_State *L = open_state(NULL);
  run_lua(L, "do\n"
             "  local m = watch(rsca.manager {}); mark(m)\n"
             "  m:register('wait', function() repeat coroutine.yield() until go; return tostring(m) end)\n"
             "  m:run('wait', '', function(status, response) answer = response end)\n"
             "end\n"
             "rsca.step()");
  for (int i = 0; i < 3; i++) {
    collect(L);
    run_lua(L, "rsca.step()");
  }
  assert_int_equal(lua_global(L, "collected"), 0);
  assert_int_equal(managers_alive, 1);
  run_lua(L, "go = true; rsca.loop(); assert(answer:find 'rsca.manager')");
  collect(L);
  run_lua(L, "rsca.loop()");
  assert_int_equal(lua_global(L, "collected"), 1);
  assert_int_equal(managers_alive, 0);
  lua_close(L);
}

/* One that C code still holds is not collected at all. */
static void test_manager_that_native_code_holds_is_not_collected(void **unused) {
  (void)unused;
  counting *callback = counting_create();
  lua_State *L = open_state(NULL);
  run_lua(L, "local m = watch(rsca.manager {}); mark(m)\n"
             "m:register('me', function() return m and 'here' end)\n"
             "return m");
  rsca_manager *manager;
  assert_int_equal(rsca_lua_to_manager(L, -1, &manager), S_OK);
  lua_settop(L, 0);
  for (int i = 0; i < 3; i++) {
    collect(L);
    run_lua(L, "rsca.step()");
  }
  assert_int_equal(lua_global(L, "collected"), 0);
  IPmCustomActions *actions = rsca_manager_custom_actions(manager);
  assert_int_equal(actions->lpVtbl->RunCustomAction(actions, u"me", NULL, &callback->iface), S_OK);
  run_lua(L, "rsca.loop()");
  assert_string_equal(callback->text, "here");
  /* The interface holds it as well as the manager does. */
  assert_int_equal(rsca_manager_release(manager), 2);
  run_lua(L, "rsca.loop()");
  collect(L);
  assert_int_equal(lua_global(L, "collected"), 0);
  assert_int_equal(actions->lpVtbl->Release(actions), 1);
  run_lua(L, "rsca.loop()");
  collect(L);
  run_lua(L, "rsca.loop()");
  assert_int_equal(lua_global(L, "collected"), 1);
  assert_int_equal(managers_alive, 0);
  lua_close(L);
  counting_end(callback);
}

/* The state's own manager is anchored always. */
static void test_own_manager_is_anchored_always(void **unused) {
  (void)unused;
  lua_State *L = open_state(NULL);
  run_lua(L, "rsca.register('me', function() return 'me' end)\n"
             "for name in pairs(rsca) do rsca[name] = nil end\n"
             "package.loaded.rsca, package.loaded['rsca.core'], rsca = nil");
  collect(L);
  run_lua(L, "rsca = require 'rsca'");
  rsca_manager *own;
  assert_int_equal(rsca_lua_own_manager(L, &own), S_OK);
  counting *callback = counting_create();
  IPmCustomActions *actions = rsca_manager_custom_actions(own);
  assert_int_equal(actions->lpVtbl->RunCustomAction(actions, u"me", NULL, &callback->iface), S_OK);
  step_all(own);
  assert_string_equal(callback->text, "me");
  (void)actions->lpVtbl->Release(actions);
  (void)rsca_manager_release(own);
  lua_close(L);
  counting_end(callback);
}

/* The state itself anchors a run's handler and coroutine. */
static void test_state_anchors_a_runs_handler_and_coroutine(void **unused) {
  (void)unused;
  lua_State *L = open_state(NULL);
  run_lua(L, "rsca.register('wait', function(args) coroutine.yield(); coroutine.yield(); return args end)\n"
             "rsca.run('wait', 'x', watch(function(_, response) answer = response end))");
  collect(L);
  run_lua(L, "rsca.step()");
  collect(L);
  assert_int_equal(lua_global(L, "collected"), 0);
  run_lua(L, "rsca.loop(); assert(answer == 'x')");
  collect(L);
  assert_int_equal(lua_global(L, "collected"), 1);
  lua_close(L);
}

/* Dropping a request object ends nothing. */
static void test_dropping_a_request_ends_nothing(void **unused) {
  (void)unused;
  lua_State *L = open_state(NULL);
  run_lua(L, "rsca.register('count', function() coroutine.yield(); done = (done or 0) + 1 end)\n"
             "for i = 1, 10 do assert(rsca.run('count')) end");
  collect(L);
  run_lua(L, "rsca.step()");
  collect(L);
  run_lua(L, "rsca.loop()");
  assert_int_equal(lua_global(L, "done"), 10);
  lua_close(L);
}

/* An action that was replaced or taken away is let go once its accepted calls have run. */
static void test_action_function_is_let_go_after_its_accepted_calls(void **unused) {
  (void)unused;
  lua_State *L = open_state(NULL);
  run_lua(L, "rsca.register('a', watch(function() return 'old' end))\n"
             "rsca.run('a', '', function(_, response) answer = response end)\n"
             "rsca.unregister('a')");
  collect(L);
  assert_int_equal(lua_global(L, "collected"), 0);
  run_lua(L, "rsca.loop(); assert(answer == 'old')");
  collect(L);
  assert_int_equal(lua_global(L, "collected"), 1);
  lua_close(L);
}

/* ---- Lua handlers in native hands ---- */

static void release_callback(void *argument) {
  ICustomActionResultCallback *callback = argument;
  (void)callback->lpVtbl->Release(callback);
}

/* A Lua handler handed to foreign native code is anchored until its last Release, which may come from any thread;
 * the unanchoring happens on the owner's thread. */
static void test_handler_handed_out_is_anchored_until_its_last_release_on_any_thread(void **unused) {
  (void)unused;
  rsca_manager *own = make_manager();
  lua_State *L = open_state(own);
  run_lua(L, "return watch(function() end)");
  ICustomActionResultCallback *callback;
  assert_int_equal(rsca_lua_to_callback(L, -1, &callback), S_OK);
  lua_settop(L, 0);
  collect(L);
  assert_int_equal(lua_global(L, "collected"), 0);
  assert_int_equal(callback->lpVtbl->AddRef(callback), 2);
  assert_int_equal(callback->lpVtbl->Release(callback), 1);
  on_other_thread(release_callback, callback);
  collect(L);
  assert_int_equal(lua_global(L, "collected"), 0); /* not before its own thread has stepped */
  step_all(own);
  collect(L);
  assert_int_equal(lua_global(L, "collected"), 1);
  lua_close(L);
  assert_int_equal(rsca_manager_release(own), 0);
}

static void report_and_release(void *argument) {
  ICustomActionResultCallback *callback = argument;
  BYTE bytes[] = {'h', 'i', 0, '!'};
  assert_int_equal(callback->lpVtbl->ReportResult(callback, S_FALSE, bytes, sizeof bytes), S_OK);
  memset(bytes, 'x', sizeof bytes); /* copied: the caller's again */
  assert_int_equal(callback->lpVtbl->ReportResult(callback, E_FAIL, NULL, 0), S_OK);
  assert_int_equal(callback->lpVtbl->ReportResult(callback, S_OK, NULL, 1), E_INVALIDARG);
  (void)callback->lpVtbl->Release(callback);
}

/* Lua handlers run only on the thread that steps their own lua_State, never from a foreign thread. */
static void test_handler_is_called_on_its_own_thread_with_what_a_foreign_thread_reported(void **unused) {
  (void)unused;
  rsca_manager *own = make_manager();
  lua_State *L = open_state(own);
  run_lua(L, "calls = {}\n"
             "return { ReportResult = function(self, ...) calls[#calls + 1] = { self, ... } end }");
  ICustomActionResultCallback *callback;
  assert_int_equal(rsca_lua_to_callback(L, -1, &callback), S_OK);
  lua_setglobal(L, "handler");
  on_other_thread(report_and_release, callback);
  run_lua(L, "assert(#calls == 0)");
  step_all(own);
  run_lua(L, "assert(#calls == 2)\n"
             "local self, status, response, final = table.unpack(calls[1])\n"
             "assert(self == handler and status == 1 and response == 'hi\\0!' and final == true)\n"
             "assert(calls[2][2] == rsca.status.E_FAIL and calls[2][3] == '')");
  lua_close(L);
  assert_int_equal(rsca_manager_release(own), 0);
}

/* A native callback passed through Lua comes out as itself. */
static void test_native_callback_comes_out_of_lua_as_itself(void **unused) {
  (void)unused;
  counting *native = counting_create();
  lua_State *L = open_state(NULL);
  assert_int_equal(rsca_lua_push_callback(L, &native->iface), S_OK);
  ICustomActionResultCallback *out;
  assert_int_equal(rsca_lua_to_callback(L, -1, &out), S_OK);
  assert_ptr_equal(out, &native->iface);
  assert_int_equal(counting_refs(native), 3);
  assert_int_equal(out->lpVtbl->Release(out), 2);
  lua_close(L);
  counting_end(native);
}

/* A script calls a native callback, and passes it where a callback is expected. */
static void test_script_uses_a_native_callback(void **unused) {
  (void)unused;
  counting *native = counting_create();
  lua_State *L = open_state(NULL);
  assert_int_equal(rsca_lua_push_callback(L, &native->iface), S_OK);
  lua_setglobal(L, "c");
  run_lua(L, "assert(c:ReportResult(0x80004005, 'by\\0tes') == 0)");
  assert_int_equal(native->status, E_FAIL);
  assert_memory_equal(native->text, "by\0tes", 6);
  assert_int_equal(native->size, 6);
  run_lua(L, "rsca.register('echo', function(args) return args end)\n"
             "assert(math.type(rsca.run('echo', 'by id', c)) == 'integer')");
  assert_int_equal(counting_refs(native), 3);
  run_lua(L, "rsca.loop()");
  assert_string_equal(native->text, "by id");
  assert_int_equal(counting_refs(native), 2);
  run_lua(L, "local m = rsca.own_manager()\n"
             "assert(m:RunCustomAction('echo', 'documented', c) == 0); rsca.loop()\n"
             "assert(m:RunCustomAction('nobody', '', c) == rsca.status.ERROR_NOT_FOUND)");
  assert_string_equal(native->text, "documented");
  assert_int_equal(native->calls, 3);
  assert_int_equal(counting_refs(native), 2);
  lua_close(L);
  counting_end(native);
}

/* ---- The host's functions and bad input ---- */

static void test_host_functions_refuse_bad_input(void **unused) {
  (void)unused;
  rsca_manager *own = make_manager(), *other = make_manager();
  lua_State *bare = luaL_newstate();
  rsca_manager *manager = (rsca_manager *)own;
  ICustomActionResultCallback *callback = (ICustomActionResultCallback *)own;
  counting *native = counting_create();
  assert_int_equal(rsca_lua_open(NULL, NULL), E_INVALIDARG);
  assert_int_equal(rsca_lua_open(bare, own), E_INVALIDARG); /* no package library */
  assert_int_equal(rsca_lua_own_manager(bare, &manager), RSCA_E_NOT_FOUND);
  assert_null(manager);
  assert_int_equal(rsca_lua_push_manager(bare, own), RSCA_E_NOT_FOUND);
  assert_int_equal(rsca_lua_push_callback(bare, &native->iface), RSCA_E_NOT_FOUND);
  lua_pushcfunction(bare, luaopen_base);
  assert_int_equal(rsca_lua_to_callback(bare, -1, &callback), RSCA_E_NOT_FOUND);
  assert_null(callback);
  assert_int_equal(lua_gettop(bare), 1);
  lua_close(bare);

  lua_State *L = open_state(own);
  assert_int_equal(rsca_lua_open(L, own), S_OK);
  assert_int_equal(rsca_lua_open(L, NULL), S_OK);
  assert_int_equal(rsca_lua_open(L, other), RSCA_E_ALREADY_EXISTS);
  assert_int_equal(rsca_lua_push_manager(L, NULL), E_INVALIDARG);
  assert_int_equal(rsca_lua_push_callback(L, NULL), E_INVALIDARG);
  lua_settop(L, 0);
  lua_pushinteger(L, 42);
  lua_newtable(L);
  for (int index = 1; index <= 3; index++) {
    assert_int_equal(rsca_lua_to_callback(L, index, &callback), E_INVALIDARG);
    assert_null(callback);
    assert_int_equal(rsca_lua_to_manager(L, index, &manager), E_INVALIDARG);
    assert_null(manager);
  }
  assert_int_equal(lua_gettop(L), 2);
  lua_close(L);
  counting_end(native);
  assert_int_equal(rsca_manager_release(other), 0);
  assert_int_equal(rsca_manager_release(own), 0);
}

static void test_null_is_e_invalidarg(void **unused) {
  (void)unused;
  rsca_manager *own = make_manager(), *manager = own;
  counting *native = counting_create();
  ICustomActionResultCallback *callback = &native->iface;
  assert_int_equal(rsca_lua_own_manager(NULL, &manager), E_INVALIDARG);
  assert_null(manager);
  assert_int_equal(rsca_lua_push_manager(NULL, own), E_INVALIDARG);
  manager = own;
  assert_int_equal(rsca_lua_to_manager(NULL, 1, &manager), E_INVALIDARG);
  assert_null(manager);
  assert_int_equal(rsca_lua_push_callback(NULL, &native->iface), E_INVALIDARG);
  assert_int_equal(rsca_lua_to_callback(NULL, 1, &callback), E_INVALIDARG);
  assert_null(callback);
  lua_State *L = open_state(own);
  int top = lua_gettop(L);
  assert_int_equal(rsca_lua_own_manager(L, NULL), E_INVALIDARG);
  assert_int_equal(rsca_lua_to_manager(L, 1, NULL), E_INVALIDARG);
  assert_int_equal(rsca_lua_to_callback(L, 1, NULL), E_INVALIDARG);
  assert_int_equal(lua_gettop(L), top);
  rsca_lua_script script = {.text = ""};
  char message[8] = "before";
  assert_int_equal(rsca_lua_load_script(NULL, &script, message, sizeof message), E_INVALIDARG);
  assert_string_equal(message, "");
  assert_int_equal(rsca_lua_load_script(own, NULL, NULL, 0), E_INVALIDARG);
  lua_close(L);
  counting_end(native);
  assert_int_equal(rsca_manager_release(own), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_proxy_owns_exactly_one_reference),
      cmocka_unit_test(test_same_object_gives_the_same_proxy_within_a_state),
      cmocka_unit_test(test_proxy_made_again_after_collection_owns_one_reference),
      cmocka_unit_test(test_close_of_a_pushed_manager_is_release),
      cmocka_unit_test(test_close_of_a_manager_the_script_made_is_shutdown_and_release),
      cmocka_unit_test(test_what_a_script_took_with_addref_goes_with_the_proxy),
      cmocka_unit_test(test_over_release_is_an_error_not_a_crash),
      cmocka_unit_test(test_last_release_by_a_script_destroys_the_object),
      cmocka_unit_test(test_manager_and_closures_that_name_it_are_collected_as_one_cycle),
      cmocka_unit_test(test_manager_with_a_run_in_flight_is_collected_only_after_that_has_ended),
      cmocka_unit_test(test_manager_that_native_code_holds_is_not_collected),
      cmocka_unit_test(test_own_manager_is_anchored_always),
      cmocka_unit_test(test_state_anchors_a_runs_handler_and_coroutine),
      cmocka_unit_test(test_dropping_a_request_ends_nothing),
      cmocka_unit_test(test_action_function_is_let_go_after_its_accepted_calls),
      cmocka_unit_test(test_handler_handed_out_is_anchored_until_its_last_release_on_any_thread),
      cmocka_unit_test(test_handler_is_called_on_its_own_thread_with_what_a_foreign_thread_reported),
      cmocka_unit_test(test_native_callback_comes_out_of_lua_as_itself),
      cmocka_unit_test(test_script_uses_a_native_callback),
      cmocka_unit_test(test_host_functions_refuse_bad_input),
      cmocka_unit_test(test_null_is_e_invalidarg),
  };
  return cmocka_run_group_tests_name("bridge.references", tests, NULL, NULL);
}
