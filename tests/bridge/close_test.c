/*
 * What is left when a Lua state closes: every native handle that is still around is harmless.
 */
#include "support.h"

static HRESULT run_action(rsca_manager *manager, PCWSTR name, counting *callback) {
  IPmCustomActions *actions = rsca_manager_custom_actions(manager);
  HRESULT status = actions->lpVtbl->RunCustomAction(actions, name, NULL, &callback->iface);
  (void)actions->lpVtbl->Release(actions);
  return status;
}

/* What runs in a state that was closed gives RPC_E_DISCONNECTED, native actions go on, Release still works. */
static void test_actions_of_a_closed_state_are_refused_and_native_ones_go_on(void **unused) {
  (void)unused;
  rsca_manager *manager = make_manager();
  counting *callback = counting_create();
  lua_State *L = open_state(manager);
  run_lua(L, "rsca.register('lua', function() return 'lua' end)");
  lua_close(L);
  assert_int_equal(run_action(manager, u"lua", callback), RPC_E_DISCONNECTED);
  assert_int_equal(counting_refs(callback), 1);
  assert_int_equal(run_action(manager, u"native", callback), S_OK);
  step_all(manager);
  assert_int_equal(callback->calls, 1);
  assert_string_equal(callback->text, "native ");
  assert_int_equal(rsca_manager_release(manager), 0);
  assert_int_equal(managers_alive, 0);
  counting_end(callback);
}

/* The same for a manager that the script made, which native code still holds. */
static void test_manager_of_a_closed_script_goes_on_for_native_code(void **unused) {
  (void)unused;
  counting *callback = counting_create();
  lua_State *L = open_state(NULL);
  run_lua(L, "local m = rsca.manager {}; mark(m); m:register('lua', function() end); return m");
  rsca_manager *manager;
  assert_int_equal(rsca_lua_to_manager(L, -1, &manager), S_OK);
  lua_close(L);
  assert_int_equal(manager_refs(manager), 1);
  assert_int_equal(run_action(manager, u"lua", callback), RPC_E_DISCONNECTED);
  assert_int_equal(run_action(manager, u"native", callback), S_OK);
  step_all(manager);
  assert_int_equal(callback->calls, 1);
  assert_int_equal(rsca_manager_release(manager), 0);
  assert_int_equal(managers_alive, 0);
  counting_end(callback);
}

/* The Lua state that owned the action was closed: RPC_E_DISCONNECTED, for a call that waits and one that is queued; and
 * the action's pending <close> variables have run. */
static void test_calls_in_flight_end_disconnected_when_their_state_closes(void **unused) {
  (void)unused;
  rsca_manager *manager = make_manager();
  counting *waits = counting_create(), *queued = counting_create();
  lua_State *L = open_state(manager);
  rsca_manager *watcher = make_manager(); /* outlives the state: tells what ran in it */
  counting *closed = counting_create();
  assert_int_equal(rsca_lua_push_callback(L, &closed->iface), S_OK);
  lua_setglobal(L, "closed");
  run_lua(L, "rsca.register('wait', function(_, ctx)\n"
             "  local guard <close> = setmetatable({}, { __close = function() closed:ReportResult(0, 'ran') end })\n"
             "  ctx:sleep(1000)\n"
             "end)");
  assert_int_equal(run_action(manager, u"wait", waits), S_OK);
  step_all(manager);
  assert_int_equal(run_action(manager, u"wait", queued), S_OK);
  lua_close(L);
  assert_string_equal(closed->text, "ran");
  assert_int_equal(closed->calls, 1);
  counting *both[] = {waits, queued};
  for (int i = 0; i < 2; i++) {
    assert_int_equal(both[i]->calls, 1);
    assert_int_equal(both[i]->status, RPC_E_DISCONNECTED);
    assert_true(both[i]->size > 0);
    counting_end(both[i]);
  }
  step_all(manager);
  assert_int_equal(rsca_manager_release(watcher), 0);
  assert_int_equal(rsca_manager_release(manager), 0);
  assert_int_equal(managers_alive, 0);
  counting_end(closed);
}

static void report_late(void *argument) {
  ICustomActionResultCallback *callback = argument;
  BYTE byte = 'x';
  assert_int_equal(callback->lpVtbl->ReportResult(callback, S_OK, &byte, 1), RPC_E_DISCONNECTED);
  assert_int_equal(callback->lpVtbl->AddRef(callback), 2);
  assert_int_equal(callback->lpVtbl->Release(callback), 1);
  assert_int_equal(callback->lpVtbl->Release(callback), 0);
}

/* ReportResult and Release after lua_close are harmless, from any thread. */
static void test_handler_of_a_closed_state_refuses_and_is_released(void **unused) {
  (void)unused;
  ICustomActionResultCallback *here, *there, *pending;
  lua_State *L = open_state(NULL);
  run_lua(L, "return function() error 'called' end");
  assert_int_equal(rsca_lua_to_callback(L, -1, &here), S_OK);
  assert_int_equal(rsca_lua_to_callback(L, -1, &there), S_OK);
  assert_int_equal(rsca_lua_to_callback(L, -1, &pending), S_OK);
  /* Handlers of a state that is being closed go with it, with what was on its way to them. */
  assert_int_equal(pending->lpVtbl->ReportResult(pending, S_OK, NULL, 0), S_OK);
  assert_int_equal(pending->lpVtbl->Release(pending), 1); /* the result on its way holds it */
  lua_close(L);
  report_late(here);
  on_other_thread(report_late, there);
}

static HRESULT pending_action(void *user, rsca_call *call, const char *args, size_t size) {
  (void)args;
  (void)size;
  *(rsca_call **)user = call;
  return E_PENDING;
}

static void finish_call(void *argument) {
  assert_int_equal(rsca_call_finish(argument, S_OK, "late", 4), S_OK);
}

/* A result whose handler's state has closed is dropped; the call ends all the same. */
static void test_result_for_a_closed_state_is_dropped(void **unused) {
  (void)unused;
  rsca_manager *manager = make_manager();
  rsca_call *call = NULL;
  assert_int_equal(rsca_manager_register(manager, "pending", NULL, pending_action, &call, NULL), S_OK);
  lua_State *L = open_state(NULL);
  assert_int_equal(rsca_lua_push_manager(L, manager), S_OK);
  lua_setglobal(L, "m");
  run_lua(L, "assert(m:run('pending', '', function() error 'called' end)); r = assert(m:run('pending'))");
  rsca_call *calls[2];
  for (int i = 0; i < 2; i++) {
    assert_int_equal(rsca_manager_step(manager, 1), S_OK);
    calls[i] = call;
  }
  lua_close(L);
  for (int i = 0; i < 2; i++)
    on_other_thread(finish_call, calls[i]);
  step_all(manager);
  rsca_manager_stats stats;
  rsca_manager_get_stats(manager, &stats);
  assert_int_equal(stats.accepted, 2);
  assert_int_equal(stats.ended, 2);
  assert_int_equal(rsca_manager_release(manager), 0);
  assert_int_equal(managers_alive, 0);
}

/* Where a finalizer tells how it went, when the state is half gone. */
static int refused, unexpected;

static int lua_tell(lua_State *L) {
  refused = (int)lua_tointeger(L, 1);
  unexpected = (int)lua_tointeger(L, 2);
  return 0;
}

/* Finalizers that run after ours meet a closed rsca: an error, not a crash. */
static void test_finalizers_that_run_after_ours_meet_a_closed_rsca(void **unused) {
  (void)unused;
  refused = unexpected = -1;
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  lua_register(L, "tell", lua_tell);
  /* Made before rsca is opened, so finalized after its state. */
  run_lua(L, "late = setmetatable({}, { __gc = function()\n"
             "  local refused, unexpected = 0, 0\n"
             "  for _, f in ipairs {\n"
             "    function() return rsca.call('a') end, function() return rsca.run('a') end, rsca.step, rsca.wait,\n"
             "    function() return rsca.manager {} end, function() return rsca.register('b', print) end,\n"
             "    function() return m:run('a') end, function() return request:await() end,\n"
             "    function() return rsca.spawn(print) end, rsca.fd, rsca.timeout, rsca.list } do\n"
             "    local ok, message = pcall(f)\n"
             "    if ok or type(message) ~= 'string' then unexpected = unexpected + 1 else refused = refused + 1 end\n"
             "  end\n"
             "  rsca.describe(0); m:close(); tostring(m)\n"
             "  tell(refused, unexpected)\n"
             "end })");
  assert_int_equal(rsca_lua_open(L, NULL), S_OK);
  run_lua(L, "rsca = require 'rsca'; m = rsca.manager {}; m:register('a', function() end)\n"
             "rsca.register('a', function() end); request = rsca.run('a')");
  lua_close(L);
  assert_int_equal(unexpected, 0);
  assert_int_equal(refused, 12);
}

/* Managers a script made and dropped without another step are freed by lua_close. */
static void test_managers_dropped_before_lua_close_are_freed_by_it(void **unused) {
  (void)unused;
  lua_State *L = open_state(NULL);
  run_lua(L, "for i = 1, 50 do\n"
             "  local m = rsca.manager {}; mark(m)\n"
             "  m:register('wait', function(_, ctx) ctx:sleep(1000); return tostring(m) end)\n"
             "  m:run('wait', '', function() end)\n"
             "  if i % 2 == 0 then rsca.step() end\n"
             "  if i % 3 == 0 then m:close() end\n"
             "end");
  lua_close(L);
  assert_int_equal(managers_alive, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_actions_of_a_closed_state_are_refused_and_native_ones_go_on),
      cmocka_unit_test(test_manager_of_a_closed_script_goes_on_for_native_code),
      cmocka_unit_test(test_calls_in_flight_end_disconnected_when_their_state_closes),
      cmocka_unit_test(test_handler_of_a_closed_state_refuses_and_is_released),
      cmocka_unit_test(test_result_for_a_closed_state_is_dropped),
      cmocka_unit_test(test_finalizers_that_run_after_ours_meet_a_closed_rsca),
      cmocka_unit_test(test_managers_dropped_before_lua_close_are_freed_by_it),
  };
  return cmocka_run_group_tests_name("bridge.close", tests, NULL, NULL);
}
