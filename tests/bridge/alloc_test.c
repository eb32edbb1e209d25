/*
 * The n-th allocation fails, for every n: of Lua's and of our own. Whatever crosses the border then leaks nothing and
 * over-releases nothing.
 */
#include "failing.h"
#include "support.h"

/* What a scenario works on. Everything in it must be as before when it is over, but for what it says. */
typedef struct world {
  lua_State *L;
  rsca_manager *manager; /* the state's own */
  rsca_manager *other;
  counting *callback;
  ICustomActionResultCallback *handler;
  HRESULT status; /* what the operation answered */
} world;

static void world_init(world *w) {
  *w = (world){0};
  w->manager = make_manager();
  w->other = make_manager();
  w->callback = counting_create();
  w->L = lua_newstate(failing_allocator, NULL);
  luaL_openlibs(w->L);
}

static void world_open(world *w) {
  assert_int_equal(rsca_lua_open(w->L, w->manager), S_OK);
  run_lua(w->L, "rsca = require 'rsca'; heard, raised = 0, 0\n"
                "rsca.on_error = function() raised = raised + 1 end\n"
                "rsca.register('echo', function(args) return args end)\n"
                "rsca.register('nap', function(args, ctx) ctx:sleep(0); return args end)\n"
                "collectgarbage()");
}

static void world_fini(world *w) {
  (void)failing_disarm();
  if (w->handler)
    (void)w->handler->lpVtbl->Release(w->handler);
  if (w->L)
    lua_close(w->L);
  step_all(w->manager);
  assert_int_equal(counting_refs(w->callback), 1);
  counting_end(w->callback);
  assert_int_equal(rsca_manager_release(w->other), 0);
  assert_int_equal(rsca_manager_release(w->manager), 0);
  assert_int_equal(managers_alive, 0);
  assert_int_equal(counting_alive, 0);
}

/* Runs `operation` once for every allocation it makes, that one failing, and a last time with none failing; `check`
 * sees what is left each time. */
static void fail_each(bool opened, void (*operation)(world *w), void (*check)(world *w)) {
  bool failed = true;
  (void)failing_disarm(); /* what a test that failed left behind is its own affair */
  atomic_store(&managers_alive, 0);
  atomic_store(&counting_alive, 0);
  for (long n = 0; failed; n++) {
    assert_true(n < 5000);
    long live = failing_live();
    world w;
    world_init(&w);
    if (opened)
      world_open(&w);
    failing_arm(n);
    operation(&w);
    failed = failing_disarm();
    if (!failed)
      assert_int_equal(w.status, S_OK);
    check(&w);
    world_fini(&w);
    assert_int_equal(failing_live(), live);
  }
}

static void check_status(world *w) {
  assert_true(w->status == S_OK || w->status == E_OUTOFMEMORY);
}

static void open_rsca(world *w) {
  w->status = rsca_lua_open(w->L, w->manager);
}

/* After a failure it can be opened all the same. */
static void check_open(world *w) {
  check_status(w);
  world_open(w);
  run_lua(w->L, "assert(rsca.call('echo', 'x') == 'x')");
}

static void test_opening(void **unused) {
  (void)unused;
  fail_each(false, open_rsca, check_open);
}

static void push_manager(world *w) {
  w->status = rsca_lua_push_manager(w->L, w->other);
}

static void check_manager_refs(world *w) {
  check_status(w);
  assert_int_equal(lua_gettop(w->L), w->status == S_OK ? 1 : 0);
  assert_int_equal(manager_refs(w->other), w->status == S_OK ? 2 : 1);
  assert_int_equal(rsca_lua_push_manager(w->L, w->other), S_OK);
  assert_int_equal(manager_refs(w->other), 2);
}

static void test_pushing_a_manager(void **unused) {
  (void)unused;
  fail_each(true, push_manager, check_manager_refs);
}

static void push_callback(world *w) {
  w->status = rsca_lua_push_callback(w->L, &w->callback->iface);
}

static void check_callback_refs(world *w) {
  check_status(w);
  assert_int_equal(lua_gettop(w->L), w->status == S_OK ? 1 : 0);
  assert_int_equal(counting_refs(w->callback), w->status == S_OK ? 2 : 1);
  assert_int_equal(rsca_lua_push_callback(w->L, &w->callback->iface), S_OK);
  assert_int_equal(counting_refs(w->callback), 2);
}

static void test_pushing_a_callback(void **unused) {
  (void)unused;
  fail_each(true, push_callback, check_callback_refs);
}

static int count_heard(lua_State *L) {
  ++*(int *)lua_touserdata(L, lua_upvalueindex(1));
  return 0;
}

static int heard;

static void take_handler(world *w) {
  w->status = rsca_lua_to_callback(w->L, -1, &w->handler);
}

static void check_handler(world *w) {
  check_status(w);
  assert_int_equal(w->handler != NULL, w->status == S_OK);
}

static void take_pushed_handler(world *w) {
  long n = failing_suspend();
  lua_pushlightuserdata(w->L, &heard);
  lua_pushcclosure(w->L, count_heard, 1);
  failing_arm(n);
  take_handler(w);
}

static void test_taking_a_handler(void **unused) {
  (void)unused;
  fail_each(true, take_pushed_handler, check_handler);
}

/* What was accepted from a foreign reporter reaches the handler, though memory ran out on the way. Where that has not
 * even the memory to begin, it is one that raises. */
static void report_to_handler(world *w) {
  long n = failing_suspend();
  heard = 0;
  lua_pushlightuserdata(w->L, &heard);
  lua_pushcclosure(w->L, count_heard, 1);
  assert_int_equal(rsca_lua_to_callback(w->L, -1, &w->handler), S_OK);
  failing_arm(n);
  BYTE bytes[] = "bytes";
  w->status = w->handler->lpVtbl->ReportResult(w->handler, S_OK, bytes, sizeof bytes);
  step_all(w->manager);
}

static void check_reported(world *w) {
  check_status(w);
  step_all(w->manager);
  assert_int_equal(heard + lua_global(w->L, "raised"), w->status == S_OK ? 1 : 0);
}

static void test_reporting_to_a_handler(void **unused) {
  (void)unused;
  fail_each(true, report_to_handler, check_reported);
}

/* Runs Lua code that may fail for lack of memory. */
static void try_lua(world *w, const char *code) {
  long n = failing_suspend();
  assert_int_equal(luaL_loadstring(w->L, code), LUA_OK);
  failing_arm(n);
  int status = lua_pcall(w->L, 0, 0, 0);
  w->status = status == LUA_OK ? S_OK : E_OUTOFMEMORY;
  lua_settop(w->L, 0);
}

/* Every accepted call has ended, once. */
static void check_ended(world *w) {
  (void)failing_disarm();
  run_lua(w->L, "rsca.loop()");
  rsca_manager *managers[] = {w->manager, w->other};
  for (int i = 0; i < 2; i++) {
    rsca_manager_stats stats;
    rsca_manager_get_stats(managers[i], &stats);
    assert_int_equal(stats.accepted, stats.ended);
    assert_int_equal(stats.queued_bytes, 0);
  }
}

static void run_with_handler(world *w) {
  try_lua(w, "local ok = rsca.run('echo', 'x', function() heard = heard + 1 end)\n"
             "accepted = ok and 1 or 0\n"
             "rsca.loop()");
}

static void check_heard(world *w) {
  check_ended(w);
  if (w->status == S_OK)
    run_lua(w->L, "assert(heard + raised == accepted, heard)");
}

static void test_running_with_a_handler(void **unused) {
  (void)unused;
  fail_each(true, run_with_handler, check_heard);
}

static void run_and_wait(world *w) {
  try_lua(w, "rsca.call('nap', 'x')\n"
             "local r = rsca.run('nap'); if r then r:await() end\n"
             "rsca.spawn(function(a) rsca.call('nap', a); rsca.sleep(0) end, 'y')\n"
             "rsca.loop()");
}

static void test_calling_and_waiting(void **unused) {
  (void)unused;
  fail_each(true, run_and_wait, check_ended);
}

/* On coroutines of a host's own, which an adapter resumes. */
static void wait_as_an_adapter_says(world *w) {
  try_lua(w, "local ready = {}\n"
             "rsca.set_adapter { name = 'test', pending = function() end,\n"
             "  may_wait = function() return not select(2, coroutine.running()) end,\n"
             "  waiter = function()\n"
             "    local co = coroutine.running()\n"
             "    return coroutine.yield, function() ready[#ready + 1] = co end\n"
             "  end }\n"
             "rsca.register('two', function(_, ctx) ctx:report('one') ctx:sleep(0) return 'two' end)\n"
             "local function start(f) coroutine.resume(coroutine.create(f)) end\n"
             "start(function() rsca.call('echo', 'x') end)\n"
             "start(function() for _ in rsca.responses('two') do end end)\n"
             "start(function() local r = rsca.run('echo', 'y') if r then r:await(1) end end)\n"
             "start(function() rsca.sleep(0) end)\n"
             "do local co = coroutine.create(rsca.sleep) coroutine.resume(co, 1000) coroutine.close(co) end\n"
             "for _ = 1, 12 do\n"
             "  rsca.step()\n"
             "  local now = ready\n"
             "  ready = {}\n"
             "  for _, co in ipairs(now) do coroutine.resume(co) end\n"
             "end\n"
             "rsca.set_adapter(nil)");
}

/* What was given up half-way may still sleep, or wait for a response that nobody takes. */
static void check_given_up(world *w) {
  check_status(w);
  (void)failing_disarm();
  run_lua(w->L, "rsca.set_adapter(nil)\n"
                "for _ = 1, 5 do collectgarbage() rsca.step() end\n"
                "assert(rsca.call('echo', 'x') == 'x')");
}

static void test_waiting_as_an_adapter_says(void **unused) {
  (void)unused;
  fail_each(true, wait_as_an_adapter_says, check_given_up);
}

static void raise_and_cancel(world *w) {
  try_lua(w, "rsca.register('raise', function() error 'no' end)\n"
             "rsca.call('raise')\n"
             "rsca.register('close', function(_, ctx)\n"
             "  local guard <close> = setmetatable({}, { __close = function() error 'in close' end })\n"
             "  ctx:sleep(1000)\n"
             "end)\n"
             "local r = rsca.run('close'); rsca.step(); if r then r:cancel() end\n"
             "rsca.run('echo', '', function() error 'in handler' end)\n"
             "rsca.run('echo', '', { ReportResult = function() error 'in method' end })\n"
             "rsca.step(); rsca.step(); rsca.step()");
}

static void check_cancelled(world *w) {
  (void)failing_disarm();
  run_lua(w->L, "for i = 1, 5 do rsca.step() end"); /* a call that could not be cancelled sleeps on */
}

static void test_raising_and_cancelling(void **unused) {
  (void)unused;
  fail_each(true, raise_and_cancel, check_cancelled);
}

static void make_managers(world *w) {
  try_lua(w, "for i = 1, 2 do\n"
             "  local m = rsca.manager {}\n"
             "  if m then\n"
             "    m:register('me', { help = 'says who' }, function() return tostring(m) end)\n"
             "    m:call('me'); m:list(); m:AddRef(); m:unregister('me')\n"
             "    if i == 1 then m:close() end\n"
             "  end\n"
             "end");
}

static void test_making_managers(void **unused) {
  (void)unused;
  fail_each(true, make_managers, check_ended);
}

/* What the scripts know as `native` and `other`: a callback of the host's and its other manager. */
static void give_natives(world *w) {
  assert_int_equal(rsca_lua_push_callback(w->L, &w->callback->iface), S_OK);
  lua_setglobal(w->L, "native");
  assert_int_equal(rsca_lua_push_manager(w->L, w->other), S_OK);
  lua_setglobal(w->L, "other");
}

static void use_native_callback(world *w) {
  long n = failing_suspend();
  give_natives(w);
  failing_arm(n);
  try_lua(w, "rsca.run('echo', 'x', native)\n"
             "other:RunCustomAction('native', 'x', native)\n"
             "other:RunCustomAction('native', ('x'):rep(5000), function() end)");
  step_all(w->other); /* has a runner of its own, which rsca.loop does not step */
  step_all(w->manager);
}

static void test_using_native_callbacks(void **unused) {
  (void)unused;
  fail_each(true, use_native_callback, check_ended);
}

/* Streams: what was accepted ends, once; nothing is lost without a failure that says so. */
static void prepare_streams(world *w) {
  long n = failing_suspend();
  run_lua(w->L, "finals, responses, last = 0, 0, nil\n"
                "rsca.register('count', function(args, ctx)\n"
                "  for i = 1, tonumber(args) do if not ctx:report(i) then return nil, 'not reported' end end\n"
                "end)\n"
                "rsca.register('says', function(args, ctx) ctx:sleep(0); return args end)\n"
                "function handler(status, response, final)\n"
                "  if final then finals = finals + 1; last = status else responses = responses + 1 end\n"
                "end\n"
                "collectgarbage()");
  failing_arm(n);
}

static void check_streams(world *w) {
  check_ended(w);
  if (w->status == S_OK) /* the script was not interrupted */
    run_lua(w->L, "if raised == 0 then assert(finals == accepted, finals) end\n"
                  "if raised == 0 and last == 1 then assert(responses == expected, responses) end");
}

static void subscribe_with_a_handler(world *w) {
  prepare_streams(w);
  try_lua(w, "expected = 5\n"
             "local sub = rsca.subscribe('count', '5', handler)\n"
             "accepted = sub and 1 or 0\n"
             "rsca.loop()");
}

static void test_subscribing(void **unused) {
  (void)unused;
  fail_each(true, subscribe_with_a_handler, check_streams);
}

/* The loop comes to its end though memory runs out while the handler's error is looked at. */
static void subscribe_with_a_handler_that_raises(world *w) {
  prepare_streams(w);
  try_lua(w, "rsca.subscribe('count', '5', function() error('no') end)\n"
             "rsca.loop()");
}

static void test_subscribing_with_a_handler_that_raises(void **unused) {
  (void)unused;
  fail_each(true, subscribe_with_a_handler_that_raises, check_ended);
}

/* The response that an action returns counts like one that it reported. */
static void subscribe_to_what_is_returned(world *w) {
  prepare_streams(w);
  try_lua(w, "expected = 1\n"
             "local sub = rsca.subscribe('says', ('x'):rep(3000), handler)\n"
             "accepted = sub and 1 or 0\n"
             "rsca.loop()");
}

static void test_subscribing_to_what_is_returned(void **unused) {
  (void)unused;
  fail_each(true, subscribe_to_what_is_returned, check_streams);
}

/* So does one that is reported outside any step; its action hears at once where it could not be taken. */
static void subscribe_to_what_is_reported_late(world *w) {
  prepare_streams(w);
  try_lua(w, "local ctx\n"
             "rsca.register('lends', function(_, lent) ctx = lent; lent:sleep(0.001) end)\n"
             "local sub = rsca.subscribe('lends', '', handler)\n"
             "accepted, expected = sub and 1 or 0, 0\n"
             "rsca.step()\n"
             "for i = 1, 3 do if ctx and ctx:report(i) then expected = expected + 1 end end\n"
             "rsca.loop()");
}

static void test_subscribing_to_what_is_reported_late(void **unused) {
  (void)unused;
  fail_each(true, subscribe_to_what_is_reported_late, check_streams);
}

/* A handler that waits, and an action that waits for room. */
static void lag_behind(world *w) {
  prepare_streams(w);
  try_lua(w, "expected = 300\n"
             "local first = true\n"
             "local sub = rsca.subscribe('count', '300', function(...)\n"
             "  if first then first = false; rsca.sleep(0); rsca.sleep(0) end\n"
             "  return handler(...)\n"
             "end)\n"
             "accepted = sub and 1 or 0\n"
             "rsca.loop()");
}

static void test_lagging_behind(void **unused) {
  (void)unused;
  fail_each(true, lag_behind, check_streams);
}

static void loop_over_responses(world *w) {
  prepare_streams(w);
  try_lua(w, "for response in rsca.responses('count', '3') do responses = responses + 1 end\n"
             "assert(responses == 3)\n"
             "rsca.spawn(function()\n"
             "  for response in rsca.responses('count', '300') do responses = responses + 1 end\n"
             "end)\n"
             "for response in rsca.responses('says', 'x') do break end\n"
             "rsca.loop()");
}

static void test_looping_over_responses(void **unused) {
  (void)unused;
  fail_each(true, loop_over_responses, check_ended);
}

static void register_and_unregister(world *w) {
  prepare_streams(w);
  try_lua(w, "local m = rsca.own_manager()\n"
             "m:RegisterCustomActionCallback('says', 'x', { ReportResult = function() end })\n"
             "rsca.step()\n"
             "m:UnregisterCustomActionCallback('says')\n"
             "m:RegisterCustomActionCallback('count', '3', handler)\n"
             "rsca.loop()\n"
             "local other = rsca.manager()\n"
             "if other then\n"
             "  other:register('waits', function(_, ctx) ctx:sleep(1000); return other end)\n"
             "  other:subscribe('waits', '', function() return other and nil end)\n"
             "  rsca.step()\n"
             "  other = nil; collectgarbage(); rsca.step(); collectgarbage()\n"
             "end");
}

static void test_registering_and_unregistering(void **unused) {
  (void)unused;
  fail_each(true, register_and_unregister, check_ended);
}

/* A value that could not be set is not there, nor in part; what was got has been given back. */
static void use_shared_values(world *w) {
  long n = failing_suspend();
  run_lua(w->L, "wrong = false\n"
                "function check(value, expected) wrong = wrong or value ~= expected end");
  failing_arm(n);
  try_lua(w, "local m = rsca.manager {}\n"
             "if not m then return end\n"
             "local shared, long = m:shared(), ('x'):rep(5000)\n"
             "for i = 1, 20 do\n"
             "  local key, value = 'key' .. i, i % 2 == 0 and long or 'short'\n"
             "  check(shared:get(key), nil)\n"
             "  local set = shared:set(key, value, i % 3 == 0 and 1000 or nil)\n"
             "  check(shared:get(key), set and value or nil)\n"
             "end\n"
             "local sum = shared:add('n', 1)\n"
             "check(shared:get('n'), sum)\n"
             "local done, current = shared:compare_and_set('key2', 'other', long)\n"
             "if done == false then check(current, shared:get('key2')) end\n"
             "shared:compare_and_set('key2', long, nil)\n"
             "local keys = shared:keys()\n"
             "if keys then check(shared:get(keys[1]) ~= nil, true) end");
}

static void check_shared_values(world *w) {
  run_lua(w->L, "assert(not wrong)");
  check_ended(w);
}

static void test_using_shared_values(void **unused) {
  (void)unused;
  fail_each(true, use_shared_values, check_shared_values);
}

/* What the host's hooks have heard. */
static unsigned logged, errors;

static void hear_log(void *user, const char *level, const char *message, size_t size) {
  (void)user;
  logged += strcmp(level, "info") == 0 && strlen(message) == size && size == 300;
}

static void hear_error(void *user, HRESULT status, const char *action, const char *message, size_t size) {
  (void)user;
  (void)action;
  errors += FAILED(status) && strlen(message) == size;
}

static void log_and_raise(world *w) {
  const rsca_lua_hooks hooks = {.on_log = hear_log, .on_error = hear_error};
  long n = failing_suspend();
  logged = errors = 0;
  assert_int_equal(rsca_lua_set_hooks(w->L, &hooks), S_OK);
  run_lua(w->L, "rsca.on_error = nil");
  failing_arm(n);
  try_lua(w, "rsca.log('info', setmetatable({}, { __tostring = function() return ('x'):rep(300) end }))\n"
             "rsca.spawn(error, 'one')\n"
             "rsca.run('echo', '', function() assert(rsca.call('missing')) end)\n"
             "rsca.loop()");
}

static void check_told(world *w) {
  check_ended(w);
  if (w->status == S_OK)
    assert_int_equal(logged, 1);
  assert_true(logged <= 1 && errors <= 2);
}

static void test_telling_the_host(void **unused) {
  (void)unused;
  fail_each(true, log_and_raise, check_told);
  assert_int_equal(errors, 2); /* the last time, nothing failed */
}

/* What a shutdown has cut is told, or it is not. */
static void shut_down(world *w) {
  try_lua(w, "m = rsca.manager {}\n"
             "if not m then return end\n"
             "m:register('waits', function(_, ctx) ctx:sleep(1000) end)\n"
             "for i = 1, 3 do m:run('waits') end\n"
             "rsca.step()\n"
             "local _, cut = m:shutdown(true)\n"
             "m:shutdown(true)");
}

/* Where it did not come to that, it can still be done. */
static void check_shut_down(world *w) {
  run_lua(w->L, "if m then m:shutdown(true) end");
  check_ended(w);
}

static void test_shutting_down(void **unused) {
  (void)unused;
  fail_each(true, shut_down, check_shut_down);
}

/* Lua frees an object though its finalizer could not be called: what that owned goes with the state at the latest. The
 * first finalizer that a new coroutine calls takes memory. */
static void collect_what_is_dropped(world *w) {
  long n = failing_suspend();
  give_natives(w);
  failing_arm(n);
  try_lua(w, "for _, drop in ipairs {\n"
             "  function() native = nil end,\n"
             "  function() other = nil end,\n"
             "  function() rsca.run('echo', 'x') end,\n"
             "  function() rsca.subscribe('echo', 'x', function() end) end,\n"
             "  function() rsca.responses('echo', 'x') end,\n"
             "  function() rsca.manager {} end,\n"
             "} do\n"
             "  pcall(drop)\n"
             "  for i = 1, 2 do coroutine.wrap(collectgarbage)() end\n"
             "end");
}

static void check_collected(world *w) {
  check_status(w);
  collect(w->L);
  run_lua(w->L, "assert(rsca.call('echo', 'x') == 'x')");
}

static void test_collecting_what_is_dropped(void **unused) {
  (void)unused;
  fail_each(true, collect_what_is_dropped, check_collected);
}

/* What was in flight ends, and nothing is kept, though memory runs out while the state closes. */
static void close_with_work_in_flight(world *w) {
  long n = failing_suspend();
  give_natives(w);
  run_lua(w->L, "rsca.register('waits', function(_, ctx)\n"
                "  local guard <close> = setmetatable({}, { __close = function() rsca.call('echo', 'x') end })\n"
                "  ctx:sleep(1000)\n"
                "end)\n"
                "request = rsca.run('waits')\n"
                "rsca.run('waits', '', native)\n"
                "rsca.run('waits', '', function() end)\n"
                "subscription = rsca.subscribe('waits', '', function() end)\n"
                "made = rsca.manager {}\n"
                "made:register('own', function(_, ctx) ctx:sleep(1000) end)\n"
                "made:run('own', '', native)\n"
                "made:subscribe('own', '', function() end)\n"
                "rsca.spawn(function() for _ in rsca.responses('waits') do end end)\n"
                "for i = 1, 3 do rsca.step() end");
  failing_arm(n);
  lua_close(w->L);
  w->L = NULL;
  w->status = S_OK;
}

static void check_closed(world *w) {
  rsca_manager_stats stats;
  rsca_manager_get_stats(w->manager, &stats);
  assert_int_equal(stats.accepted, stats.ended);
  assert_int_equal(manager_refs(w->manager), 1);
  assert_int_equal(manager_refs(w->other), 1);
}

static void test_closing_with_work_in_flight(void **unused) {
  (void)unused;
  fail_each(true, close_with_work_in_flight, check_closed);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_opening),
      cmocka_unit_test(test_pushing_a_manager),
      cmocka_unit_test(test_pushing_a_callback),
      cmocka_unit_test(test_taking_a_handler),
      cmocka_unit_test(test_reporting_to_a_handler),
      cmocka_unit_test(test_running_with_a_handler),
      cmocka_unit_test(test_calling_and_waiting),
      cmocka_unit_test(test_waiting_as_an_adapter_says),
      cmocka_unit_test(test_raising_and_cancelling),
      cmocka_unit_test(test_making_managers),
      cmocka_unit_test(test_using_native_callbacks),
      cmocka_unit_test(test_subscribing),
      cmocka_unit_test(test_subscribing_with_a_handler_that_raises),
      cmocka_unit_test(test_subscribing_to_what_is_returned),
      cmocka_unit_test(test_subscribing_to_what_is_reported_late),
      cmocka_unit_test(test_lagging_behind),
      cmocka_unit_test(test_looping_over_responses),
      cmocka_unit_test(test_registering_and_unregistering),
      cmocka_unit_test(test_using_shared_values),
      cmocka_unit_test(test_telling_the_host),
      cmocka_unit_test(test_shutting_down),
      cmocka_unit_test(test_collecting_what_is_dropped),
      cmocka_unit_test(test_closing_with_work_in_flight),
  };
  return cmocka_run_group_tests_name("bridge.alloc", tests, NULL, NULL);
}
