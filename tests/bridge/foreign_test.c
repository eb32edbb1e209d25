/*
 * Managers by somebody else (foreign_manager.h), used by scripts: whatever they do, each accepted call ends in Lua
 * exactly once, on the state's thread, and every reference is given back.
 */
#include <stdbool.h>

#include "failing.h"
#include "foreign_manager.h"
#include "support.h"

/* ---- The world ---- */

typedef struct world {
  lua_State *L; /* NULL: closed */
  IPmCustomActions *actions;
  IPmCustomActions2 *actions2;
} world;

static int alive_before, held_before; /* a test that failed leaves something behind */

static int alive(void) {
  return foreign_alive() - alive_before;
}

static int held(void) {
  return foreign_held() - held_before;
}

static ULONG refs(const world *w) {
  (void)w->actions->lpVtbl->AddRef(w->actions);
  return w->actions->lpVtbl->Release(w->actions);
}

static ULONG refs2(const world *w) {
  (void)w->actions2->lpVtbl->AddRef(w->actions2);
  return w->actions2->lpVtbl->Release(w->actions2);
}

static pthread_t state_thread;

static int lua_on_state_thread(lua_State *L) {
  lua_pushboolean(L, pthread_equal(pthread_self(), state_thread));
  return 1;
}

static int lua_gate(lua_State *L) {
  foreign_gate(lua_toboolean(L, 1));
  return 0;
}

static int lua_join(lua_State *L) {
  (void)L;
  foreign_join();
  return 0;
}

static int lua_let_go(lua_State *L) {
  (void)L;
  foreign_let_go();
  return 0;
}

static int lua_tell_kept(lua_State *L) {
  foreign_tell_kept((HRESULT)(uint32_t)luaL_checkinteger(L, 1), luaL_checkstring(L, 2));
  return 0;
}

static int lua_held(lua_State *L) {
  lua_pushinteger(L, held());
  return 1;
}

static int lua_registered(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, "actions2");
  lua_pushinteger(L, (lua_Integer)foreign_registered(lua_touserdata(L, -1)));
  return 1;
}

/* The answers of ReportResult since the last time. */
static int lua_answers(lua_State *L) {
  lua_newtable(L);
  for (size_t i = 0; i < foreign_answers(); i++) {
    lua_pushinteger(L, (lua_Integer)(uint32_t)foreign_answer(i));
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  foreign_forget_answers();
  return 1;
}

static const luaL_Reg lua_helpers[] = {{"on_state_thread", lua_on_state_thread},
                                       {"gate", lua_gate},
                                       {"join", lua_join},
                                       {"let_go", lua_let_go},
                                       {"tell_kept", lua_tell_kept},
                                       {"held", lua_held},
                                       {"answers", lua_answers},
                                       {"registered", lua_registered},
                                       {NULL, NULL}};

/* m and s are the managers; a listener writes down what its handler hears, and how often it should have ended. */
static const char prelude[] =
    "S = rsca.status; problems = {}\n"
    "rsca.on_error = function(e) problems[#problems + 1] = tostring(e) end\n"
    "function settle()\n"
    "  assert(rsca.loop(20), 'something never ends'); join(); assert(rsca.loop(20)); rsca.step()\n"
    "  assert(#problems == 0, problems[1])\n"
    "end\n"
    "function check_report(log, status, response, final)\n"
    "  assert(on_state_thread(), 'on a foreign thread')\n"
    "  assert(not log.busy, 'inside another report'); assert(not log.ended, 'reported after its end')\n"
    "  assert(math.type(status) == 'integer' and type(response) == 'string' and type(final) == 'boolean')\n"
    "  log[#log + 1] = response\n"
    "  if final then log.ended, log.status, log.response = true, status, table.remove(log)\n"
    "  else assert(status == 0, 'a response with a status') end\n"
    "end\n"
    "function listener()\n"
    "  local log = {}\n"
    "  return log, function(...) check_report(log, ...) end\n"
    "end\n"
    "function check_end(log, status, response)\n"
    "  assert(log.ended, 'never ended')\n"
    "  assert(log.status == status, ('0x%X'):format(log.status))\n"
    "  if response then assert(log.response == response, log.response) end\n"
    "end\n"
    "function is_count(log, n)\n"
    "  assert(#log == n, #log)\n"
    "  for i = 1, n do assert(log[i] == tostring(i), log[i]) end\n"
    "end\n"
    "function refused(status, ok, err)\n"
    "  assert(ok == nil, 'accepted'); assert(err.status == status, tostring(err))\n"
    "end\n";

static void world_open(world *w) {
  state_thread = pthread_self();
  lua_State *L = w->L;
  assert_int_equal(rsca_lua_push_custom_actions(L, w->actions), S_OK);
  lua_setglobal(L, "m");
  assert_int_equal(rsca_lua_push_custom_actions2(L, w->actions2), S_OK);
  lua_setglobal(L, "s");
  lua_pushlightuserdata(L, w->actions2);
  lua_setfield(L, LUA_REGISTRYINDEX, "actions2");
  lua_pushglobaltable(L);
  luaL_setfuncs(L, lua_helpers, 0);
  lua_pop(L, 1);
  run_lua(L, prelude);
}

static void start_afresh(void) {
  foreign_reset();
  alive_before = foreign_alive();
  held_before = foreign_held();
}

static void world_init(world *w) {
  start_afresh();
  *w = (world){.actions = foreign_create(), .actions2 = foreign_create2(), .L = open_state(NULL)};
  world_open(w);
}

static void world_close(world *w) {
  lua_close(w->L);
  w->L = NULL;
}

/* Everything has been given back. */
static void world_fini(world *w) {
  if (w->L) {
    run_lua(w->L, "settle()");
    world_close(w);
  }
  foreign_join();
  foreign_let_go();
  assert_int_equal(w->actions->lpVtbl->Release(w->actions), 0);
  assert_int_equal(w->actions2->lpVtbl->Release(w->actions2), 0);
  assert_int_equal(alive(), 0);
  assert_int_equal(held(), 0);
}

/* The whole of most tests. */
static void with_world(const char *code) {
  world w;
  world_init(&w);
  run_lua(w.L, code);
  world_fini(&w);
}

/* ---- Runs ---- */

/* After S_OK a Lua handler, a request or a call hears of the end exactly once, whatever the manager does. */
static void test_each_run_ends_once_whatever_the_manager_does(void **unused) {
  (void)unused;
  with_world(
      "local gone = S.RPC_E_DISCONNECTED\n"
      "local cases = {\n"
      "  { 'now', 'text', 0, 'text' }, { 'later', 'text', 0, 'text' }, { 'now', '', 0, '' }, { 'empty', '', 0, '' },\n"
      "  { 'later', 'größer 😀', 0, 'größer 😀' }, { 'status', '1 odd', 1, 'odd' },\n"
      "  { 'status', '80004005 broken', S.E_FAIL, 'broken' }, { 'status', '80070490 ', S.ERROR_NOT_FOUND, '' },\n"
      "  { 'twice', 'text', 0, 'text' }, { 'race', 'text', 0, 'text' },\n"
      "  { 'never', '', gone }, { 'never_later', '', gone }, { 'bad', 'text', 0, 'text' },\n"
      "  { 'bytes', '100000', 0, ((function()\n"
      "     local t = {}; for i = 0, 99999 do t[#t + 1] = string.char(i & 255) end; return table.concat(t) end)()) },\n"
      "}\n"
      "local function check(c, response, other)\n"
      "  if rsca.failed(c[3]) then\n"
      "    assert(response == nil and other.status == c[3], tostring(other))\n"
      "    assert(other.action == c[1]); if c[4] then assert(other.message == c[4], other.message) end\n"
      "  else\n"
      "    assert(response == c[4], response); assert(other == (c[3] ~= 0 and c[3] or nil))\n"
      "  end\n"
      "end\n"
      "local ways = {\n"
      "  function(c) check(c, m:call(c[1], c[2])) end,\n"
      "  function(c)\n"
      "    local done\n"
      "    rsca.spawn(function() check(c, m:call(c[1], c[2])); done = true end)\n"
      "    return function() assert(done) end\n"
      "  end,\n"
      "  function(c) local r = assert(m:run(c[1], c[2])); check(c, r:await()); check(c, r:await()) end,\n"
      "  function(c) local r = assert(m:run(c[1], c[2])); return function() check(c, r:await()) end end,\n"
      "  function(c)\n"
      "    local log, handler = listener()\n"
      "    assert(m:run(c[1], c[2], handler) == true); assert(not log.ended, 'on the stack of the call')\n"
      "    return function() check_end(log, c[3], c[4]) end\n"
      "  end,\n"
      "  function(c)\n"
      "    local log, handler = listener()\n"
      "    local object = { ReportResult = function(self, ...) assert(self.mark == 7); return handler(...) end, mark = "
      "7 }\n"
      "    assert(m:run(c[1], c[2], object))\n"
      "    return function() check_end(log, c[3], c[4]) end\n"
      "  end,\n"
      "  function(c)\n"
      "    local log, handler = listener()\n"
      "    assert(m:RunCustomAction(c[1], c[2], handler) == 0); assert(not log.ended)\n"
      "    return function() check_end(log, c[3], c[4]) end\n"
      "  end,\n"
      "}\n"
      "for _, c in ipairs(cases) do\n"
      "  local checks = {}\n"
      "  for _, way in ipairs(ways) do checks[#checks + 1] = way(c) end\n"
      "  settle()\n"
      "  for _, check in pairs(checks) do check() end\n"
      "end\n"
      "for _, c in ipairs(cases) do\n" /* and from inside an action */
      "  rsca.register('relay', function() check(c, m:call(c[1], c[2])); return 'fine' end)\n"
      "  assert(assert(rsca.call('relay')) == 'fine')\n"
      "end\n");
}

/* A native callback goes to the manager as it is. */
static void test_native_callback_goes_through_a_run_as_it_is(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  counting *native = counting_create();
  assert_int_equal(rsca_lua_push_callback(w.L, &native->iface), S_OK);
  lua_setglobal(w.L, "native");
  run_lua(w.L, "assert(m:run('now', 'one', native) == true)");
  assert_int_equal(native->calls, 1);
  assert_string_equal(native->text, "one");
  run_lua(w.L, "assert(m:RunCustomAction('later', 'two', native) == 0); join()");
  assert_int_equal(native->calls, 2);
  assert_string_equal(native->text, "two");
  assert_false(pthread_equal(native->thread, pthread_self()));
  run_lua(w.L, "refused(S.ERROR_BUSY, m:run('refuse', '800700AA', native))\n"
               "assert(m:RunCustomAction('refuse', '800700AA', native) == S.ERROR_BUSY)\n"
               "assert(m:run('never', '', native)); rsca.loop()");
  assert_int_equal(native->calls, 2);
  assert_int_equal(counting_refs(native), 2);
  world_fini(&w);
  counting_end(native);
  assert_int_equal(counting_alive, 0);
}

/* A second report is dropped, and answered S_FALSE; of two threads at a time one is taken. */
static void test_second_report_of_a_run_is_dropped_with_s_false(void **unused) {
  (void)unused;
  with_world("assert(m:call('twice', 'x') == 'x'); local a = answers(); assert(#a == 2 and a[1] == 0 and a[2] == 1)\n"
             "local log, handler = listener()\n"
             "assert(m:run('keep', '', handler)); tell_kept(0, 'x'); tell_kept(0x80004005, 'y'); settle()\n"
             "check_end(log, 0, 'x'); a = answers(); assert(#a == 2 and a[1] == 0 and a[2] == 1)\n"
             "let_go(); settle()\n"
             "for i = 1, 200 do\n"
             "  gate(false); local r = m:run('race', 'x'); gate(true)\n"
             "  assert(r:await() == 'x'); join(); a = answers()\n"
             "  assert(#a == 2 and a[1] + a[2] == 1)\n"
             "end\n"
             "assert(m:call('bad', 'x') == 'x'); a = answers(); assert(a[1] == S.E_INVALIDARG and a[2] == 0)");
}

/* Refused: nil, err with that status; the callback is neither held nor called. */
static void test_refused_run_gives_nil_and_the_status_and_keeps_no_handler(void **unused) {
  (void)unused;
  with_world("local function never() error 'called' end\n"
             "for _, status in ipairs { S.ERROR_BUSY, S.E_FAIL, 0x80123456, S.RPC_E_DISCONNECTED } do\n"
             "  local hex = ('%X'):format(status)\n"
             "  refused(status, m:call('refuse', hex)); refused(status, m:run('refuse', hex))\n"
             "  refused(status, m:run('refuse', hex, watch(function() never() end)))\n"
             "  refused(status, m:run('refuse', hex, watch { ReportResult = never }))\n"
             "  assert(m:RunCustomAction('refuse', hex, watch(function() never() end)) == status)\n"
             "  local done; rsca.spawn(function() refused(status, m:call('refuse', hex)); done = true end)\n"
             "  settle(); assert(done and held() == 0)\n"
             "end\n"
             "local _, err = m:call('nobody'); assert(err.status == S.ERROR_NOT_FOUND and err.action == 'nobody')\n"
             "for i = 1, 4 do collectgarbage() end; rsca.step(); collectgarbage(); collectgarbage()\n"
             "assert(collected == 12, collected); assert(#answers() == 0)");
}

/* One that holds the callback though it refused: what it reports is dropped, and the last Release lets go. */
static void test_refused_run_whose_callback_is_held_all_the_same(void **unused) {
  (void)unused;
  with_world(
      "refused(S.E_FAIL, m:run('keep_refuse', '80004005', watch(function() error 'called' end)))\n"
      "refused(S.E_FAIL, m:run('keep_refuse', '80004005')); refused(S.E_FAIL, m:call('keep_refuse', '80004005'))\n"
      "tell_kept(0, 'late'); settle()\n"
      "for _, answer in ipairs(answers()) do assert(answer == 1) end\n"
      "let_go(); settle(); for i = 1, 4 do collectgarbage() end; assert(collected == 1 and held() == 0)");
}

/* One that reports and then refuses: it was refused, nobody hears of it, and nothing waits for it. */
static void test_run_that_is_reported_and_then_refused(void **unused) {
  (void)unused;
  with_world("local called\n"
             "refused(S.E_FAIL, m:run('report_refuse', '80004005', function() called = true end)); settle()\n"
             "assert(not called, 'a refused handler was called')\n"
             "refused(S.E_FAIL, m:run('report_refuse', '80004005')); settle()\n"
             "refused(S.E_FAIL, m:call('report_refuse', '80004005')); settle()\n"
             "assert(m:RunCustomAction('report_refuse', '80004005', function() called = true end) == S.E_FAIL)\n"
             "settle(); assert(not called)");
}

/* Kept for ever until told: pending for loop, an await's limit passes, and it can still end. */
static void test_kept_callback_is_pending_until_told(void **unused) {
  (void)unused;
  with_world("local log, handler = listener()\n"
             "local r = m:run('keep'); assert(m:run('keep', '', handler))\n"
             "local _, err = r:await(0.01); assert(err.status == S.WAIT_TIMEOUT)\n"
             "assert(rsca.loop(0.01) == false); assert(not r:cancel()); assert(tostring(r):find 'keep')\n"
             "tell_kept(0, 'told'); assert(r:await() == 'told'); settle(); check_end(log, 0, 'told')\n"
             "let_go(); settle()\n"
             "r = m:run('keep'); log, handler = listener(); assert(m:run('keep', '', handler)); let_go()\n"
             "_, err = r:await(); assert(err.status == S.RPC_E_DISCONNECTED)\n"
             "settle(); check_end(log, S.RPC_E_DISCONNECTED)\n"
             "m:run('keep'); collectgarbage(); collectgarbage()\n" /* dropping a request ends nothing */
             "assert(held() == 1 and not rsca.loop(0)); let_go(); settle()");
}

/* The reports of a call that a handler raises on go to on_error, and the call is over. */
static void test_handler_of_a_run_that_raises_is_heard_of_once(void **unused) {
  (void)unused;
  with_world("for _, name in ipairs { 'now', 'later', 'twice', 'never' } do\n"
             "  assert(m:run(name, '', function() error('from ' .. name) end))\n"
             "  assert(rsca.loop(20)); join(); assert(rsca.loop(20))\n"
             "  assert(#problems == 1 and problems[1]:find('from ' .. name), problems[1]); problems = {}\n"
             "end\n"
             "local done; assert(m:run('later', '', function() rsca.sleep(0.001); done = m:call('later', 'in') end))\n"
             "settle(); assert(done == 'in')");
}

/* ---- Registrations ---- */

/* Responses arrive in order, never two at a time, then exactly one end, whatever the manager does. */
static void test_each_registration_ends_once_whatever_the_manager_does(void **unused) {
  (void)unused;
  with_world(
      "local gone = S.RPC_E_DISCONNECTED\n"
      "local cases = {\n" /* name, arguments, how many, how it ends */
      "  { 'stream', '0', 0, 1, '' }, { 'stream', '1000', 1000, 1, '' }, { 'stream_now', '1000', 1000, 1, '' },\n"
      "  { 'stream', '3 80004005 broken', 3, S.E_FAIL, 'broken' }, { 'stream_now', '0 800704C7 why', 0, 0x800704C7, "
      "'why' },\n"
      "  { 'stream', '4000', 4000, 1, '' }, { 'abandon', '5', 5, gone }, { 'abandon', '0', 0, gone },\n"
      "  { 'abandon_now', '5', 5, gone }, { 'abandon_now', '0', 0, gone }, { 'after', '2', 2, 1, '' },\n"
      "}\n"
      "local function check(c, log) is_count(log, c[3]); check_end(log, c[4], c[5]) end\n"
      "local function iterate(c, log)\n"
      "  local ok, err = pcall(function() for r in s:responses(c[1], c[2]) do log[#log + 1] = r end end)\n"
      "  log.ended, log.status, log.response = true, ok and 1 or err.status, ok and '' or err.message\n"
      "  assert(ok or err.action == c[1])\n"
      "end\n"
      "local ways = {\n"
      "  function(c) local log, handler = listener(); assert(s:subscribe(c[1], c[2], handler)); return log end,\n"
      "  function(c)\n"
      "    local log, handler = listener()\n"
      "    assert(s:subscribe(c[1], c[2], { ReportResult = function(_, ...) return handler(...) end })); return log\n"
      "  end,\n"
      "  function(c)\n"
      "    local log, handler = listener()\n"
      "    assert(s:RegisterCustomActionCallback(c[1], c[2], handler) == 0); assert(#log == 0 and not log.ended); "
      "return log\n"
      "  end,\n"
      "  function(c)\n" /* one that takes its time */
      "    local log, handler = listener()\n"
      "    assert(s:subscribe(c[1], c[2], function(...)\n"
      "      handler(...); log.busy = true; if #log < 20 then rsca.sleep(0.0001) end; log.busy = false\n"
      "    end)); return log\n"
      "  end,\n"
      "  function(c) local log = {}; iterate(c, log); return log end,\n"
      "  function(c) local log = {}; rsca.spawn(iterate, c, log); return log end,\n"
      "}\n"
      "for _, c in ipairs(cases) do\n"
      "  for _, way in ipairs(ways) do\n"
      "    local log = way(c); settle(); check(c, log); assert(held() == 0 and registered() == 0)\n"
      "  end\n"
      "end\n"
      "rsca.register('relay', function()\n"
      "  for _, c in ipairs(cases) do local log = {}; iterate(c, log); check(c, log); join() end; return 'fine'\n"
      "end)\n"
      "assert(assert(rsca.call('relay')) == 'fine')");
}

/* What is reported after the final is dropped and answered with a failure or S_FALSE. */
static void test_reports_after_the_final_are_dropped(void **unused) {
  (void)unused;
  with_world("local log, handler = listener(); assert(s:subscribe('after', '2', handler)); settle()\n"
             "is_count(log, 2); check_end(log, 1, '')\n"
             "local a = answers(); assert(#a == 5 and a[1] == 0 and a[2] == 0 and a[3] == 0)\n"
             "for i = 4, 5 do assert(a[i] == 1 or rsca.failed(a[i])) end");
}

/* Too many: what fits arrives in order, then the end is ERROR_BUSY. */
static void test_flood_ends_with_busy(void **unused) {
  (void)unused;
  with_world("for size, fits in pairs { [0] = 4096, [10] = 4096, [1 << 20] = 16, [5 << 20] = 3, [20 << 20] = 1 } do\n"
             "  local log, handler = listener()\n"
             "  assert(s:subscribe('flood', tostring(size), handler)); settle()\n"
             "  assert(#log == fits, #log); check_end(log, S.ERROR_BUSY)\n"
             "  for _, r in ipairs(log) do assert(#r == size) end\n"
             "  local a = answers(); assert(#a == fits + 2 and a[fits + 1] == S.ERROR_BUSY)\n"
             "  assert(a[fits + 2] == 1 or rsca.failed(a[fits + 2])); log, handler = nil, nil; collectgarbage()\n"
             "end\n"
             "local n, ok, err = 0\n"
             "ok, err = pcall(function() for _ in s:responses('flood', '1') do n = n + 1 end end)\n"
             "assert(n == 4096 and not ok and err.status == S.ERROR_BUSY)");
}

/* Refused: nil, err (or raised, or the status); nothing is held, and nothing that exists is touched. */
static void test_refused_registration(void **unused) {
  (void)unused;
  with_world("for _, status in ipairs { S.ERROR_BUSY, S.E_FAIL, 0x80123456 } do\n"
             "  local hex = ('%X'):format(status)\n"
             "  for _, name in ipairs { 'refuse', 'report_refuse', 'keep_refuse' } do\n"
             "    refused(status, s:subscribe(name, hex, watch(function() error 'called' end)))\n"
             "    refused(status, s:subscribe(name, hex, watch { ReportResult = function() error 'called' end }))\n"
             "    assert(s:RegisterCustomActionCallback(name, hex, watch(function() error 'called' end)) == status)\n"
             "    local ok, err = pcall(s.responses, s, name, hex); assert(not ok and err.status == status)\n"
             "    tell_kept(0, 'late'); tell_kept(1, ''); let_go(); settle(); assert(held() == 0)\n"
             "  end\n"
             "end\n"
             "refused(S.ERROR_NOT_FOUND, s:subscribe('nobody', '', print))\n"
             "for i = 1, 4 do collectgarbage() end; assert(collected == 27, collected)");
}

/* A second registration of a name is refused, and its object ends nothing. */
static void test_second_registration_of_a_name_is_refused_and_touches_nothing(void **unused) {
  (void)unused;
  with_world("local log, handler = listener()\n"
             "local sub = assert(s:subscribe('open', '1', handler))\n"
             "local function other() error 'called' end\n"
             "refused(S.ERROR_ALREADY_EXISTS, s:subscribe('open', '1', other))\n"
             "assert(s:RegisterCustomActionCallback('open', '1', other) == S.ERROR_ALREADY_EXISTS)\n"
             "assert(not pcall(s.responses, s, 'open', '1'))\n"
             "for i = 1, 4 do collectgarbage() end; rsca.step()\n"
             "assert(registered() == 1 and not log.ended)\n"
             "assert(sub:close() and registered() == 0); settle(); is_count(log, 1); check_end(log, 1, '')\n"
             "log, handler = listener(); sub = assert(s:subscribe('open', '0', handler)); sub:close(); settle()\n"
             "check_end(log, 1)");
}

/* close: unregisters, once; nothing follows but the end. So does leaving a loop, __close, and collecting an iterator.
 */
static void test_close_unregisters(void **unused) {
  (void)unused;
  with_world(
      "local log, handler = listener(); local sub = assert(s:subscribe('open', '3', handler))\n"
      "assert(sub:close() == true and registered() == 0 and sub:close() == false); settle()\n"
      "check_end(log, 1, ''); assert(#log == 0, 'a response after close'); assert(sub:close() == false)\n"
      "log, handler = listener()\n"
      "do local guard <close> = assert(s:subscribe('open', '3', handler)); rsca.step() end\n"
      "assert(registered() == 0); settle(); is_count(log, 3); check_end(log, 1, '')\n"
      "log, handler = listener(); sub = assert(s:subscribe('tick', '', handler)); while #log < 3 do rsca.wait() end\n"
      "local n = #log; sub:close(); settle(); check_end(log, 1, ''); assert(#log == n)\n"
      "for r in s:responses('open', '3') do assert(r == '1'); break end; assert(registered() == 0); settle()\n"
      "for r in s:responses('tick') do if r == '5' then break end end; settle(); assert(registered() == 0)\n"
      "assert(not pcall(function() for r in s:responses('open', '3') do error 'out' end end))\n"
      "assert(registered() == 0); settle()\n"
      "s:responses('open', '3'); for i = 1, 4 do collectgarbage() end; assert(registered() == 0); settle()\n"
      "log, handler = listener()\n"
      "sub = assert(s:subscribe('open', '3', function(...) handler(...); sub:close() end)); settle()\n"
      "assert(#log == 1); check_end(log, 1, '')\n"
      "log, handler = listener(); sub = assert(s:subscribe('stream', '2', handler)); settle()\n"
      "assert(sub:close() == false); is_count(log, 2)\n"
      "log, handler = listener(); s:subscribe('open', '1', handler); for i = 1, 4 do collectgarbage() end\n"
      "assert(registered() == 1); rsca.step(); is_count(log, 1)\n" /* dropping a subscription ends nothing */
      "assert(s:UnregisterCustomActionCallback('open') == 0); settle(); check_end(log, 1, '')");
}

/* A subscription that has ended at the manager is not the registration that has its name now. */
static void test_close_of_an_ended_subscription_leaves_the_next_of_that_name_alone(void **unused) {
  (void)unused;
  with_world("local log, handler = listener(); local old = assert(s:subscribe('restart', '1', handler))\n"
             "assert(registered() == 0)\n" /* has ended, but nothing of it was delivered yet */
             "local log2, handler2 = listener(); local new = assert(s:subscribe('restart', '1', handler2))\n"
             "assert(registered() == 1)\n"
             "old:close(); assert(registered() == 1, 'closed somebody else')\n"
             "rsca.step(); rsca.step(); check_end(log, 1); is_count(log2, 1); assert(not log2.ended)\n"
             "assert(new:close()); settle(); check_end(log2, 1)");
}

/* A manager that refuses to unregister: close says so, and no response follows; the end comes when it comes. */
static void test_close_that_the_manager_refuses(void **unused) {
  (void)unused;
  with_world(
      "local log, handler = listener(); local sub = assert(s:subscribe('deaf', '2', handler)); rsca.step()\n"
      "is_count(log, 2); assert(sub:close() == false and registered() == 1); assert(not rsca.loop(0))\n"
      "assert(s:UnregisterCustomActionCallback('deaf') == 0); settle(); is_count(log, 2); check_end(log, 1, '')");
}

/* The documented methods answer with the status, and raise for wrong types only. */
static void test_documented_methods_answer_with_the_status(void **unused) {
  (void)unused;
  with_world(
      "local function never() error 'called' end\n"
      "assert(m:RunCustomAction(nil, '', never) == S.E_INVALIDARG)\n"
      "assert(m:RunCustomAction('', '', never) == S.E_INVALIDARG)\n"
      "assert(m:RunCustomAction('now', '', nil) == S.E_INVALIDARG)\n"
      "assert(m:RunCustomAction('a\\0b', '', never) == S.E_INVALIDARG)\n"
      "assert(m:RunCustomAction('\\xff', '', never) == 0x80070459)\n"
      "assert(m:RunCustomAction('now', '\\xff', never) == 0x80070459)\n"
      "assert(m:RunCustomAction('nobody', nil, never) == S.ERROR_NOT_FOUND)\n"
      "assert(s:RegisterCustomActionCallback(nil, '', never) == S.E_INVALIDARG)\n"
      "assert(s:RegisterCustomActionCallback('open', '', nil) == S.E_INVALIDARG)\n"
      "assert(s:RegisterCustomActionCallback('\\xff', '', never) == 0x80070459)\n"
      "assert(s:RegisterCustomActionCallback('nobody', '', never) == S.ERROR_NOT_FOUND)\n"
      "assert(s:UnregisterCustomActionCallback(nil) == S.E_INVALIDARG)\n"
      "assert(s:UnregisterCustomActionCallback('') == S.E_INVALIDARG)\n"
      "assert(s:UnregisterCustomActionCallback('\\xff') == 0x80070459)\n"
      "assert(s:UnregisterCustomActionCallback('open') == S.ERROR_NOT_FOUND)\n"
      "for _, bad in ipairs { 7, 'text', true, {}, io.stdout, m } do\n"
      "  assert(not pcall(m.RunCustomAction, m, 'now', '', bad)); assert(not pcall(m.run, m, 'now', '', bad))\n"
      "  assert(not pcall(s.RegisterCustomActionCallback, s, 'open', '', bad))\n"
      "  assert(not pcall(s.subscribe, s, 'open', '', bad))\n"
      "end\n"
      "for _, bad in ipairs { 7, {}, '', 'a\\0b', '\\xff' } do\n"
      "  assert(not pcall(m.call, m, bad)); assert(not pcall(m.run, m, bad)); assert(not pcall(s.responses, s, bad))\n"
      "  assert(not pcall(s.subscribe, s, bad, '', never))\n"
      "end\n"
      "assert(not pcall(m.call, s, 'now')); assert(not pcall(s.subscribe, m, 'open', '', never))\n"
      "assert(not pcall(s.subscribe, s, 'open', '')); assert(not pcall(m.run, m, 'now', never))\n"
      "settle(); assert(held() == 0 and registered() == 0 and #answers() == 0)");
}

/* A handler that fails ends its registration: the end is ERROR_CANCELLED, on_error hears what was raised. */
static void test_failing_handler_ends_its_registration(void **unused) {
  (void)unused;
  with_world("for _, way in ipairs { 'raise', 'return' } do\n"
             "  local log, handler = listener()\n"
             "  local sub = assert(s:subscribe('tick', '', function(status, response, final)\n"
             "    handler(status, response, final)\n"
             "    if final then return end\n"
             "    if #log == 3 then if way == 'raise' then error 'enough' end; return S.E_FAIL end\n"
             "  end))\n"
             "  assert(rsca.loop(20), 'never ended'); join(); is_count(log, 3); check_end(log, S.ERROR_CANCELLED)\n"
             "  assert(#problems == (way == 'raise' and 1 or 0)); problems = {}; settle()\n"
             "  assert(registered() == 0 and sub:close() == false)\n"
             "end");
}

/* The same where the manager has nothing more to report: the registration ends there too, or can at least be closed. */
static void test_failing_handler_of_a_quiet_registration_ends_it(void **unused) {
  (void)unused;
  with_world("local log, handler = listener()\n"
             "sub = assert(s:subscribe('open', '1', function(...) handler(...); return S.E_FAIL end))\n"
             "rsca.step(); rsca.step(); is_count(log, 1)\n"
             "if registered() > 0 then sub:close() end\n"
             "local left = registered(); s:UnregisterCustomActionCallback('open'); settle()\n"
             "assert(log.ended and left == 0, 'it could not be ended')");
}

#if RSCA_SDK_REPORTRESULT
/* With four parameters the last response may be the final report. */
static void test_last_response_may_be_the_final_report(void **unused) {
  (void)unused;
  with_world("local log, handler = listener(); assert(s:subscribe('last', 'words', handler)); settle()\n"
             "check_end(log, log.status); assert(not rsca.failed(log.status)); log[#log + 1] = log.response\n"
             "assert(table.concat(log) == 'words')\n"
             "log = {}; for r in s:responses('last', 'words') do log[#log + 1] = r end\n"
             "assert(table.concat(log) == 'words', 'the iterator lost it')");
}
#endif

/* ---- Proxies closed while something is open ---- */

/* The manager is gone with its proxy; subscriptions and requests are still good for all they can do. */
static void test_closing_a_proxy_that_has_the_last_reference(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  (void)w.actions->lpVtbl->Release(w.actions);
  (void)w.actions2->lpVtbl->Release(w.actions2);
  run_lua(w.L, "log, handler = listener(); sub = assert(s:subscribe('open', '2', handler))\n"
               "rlog, rhandler = listener(); assert(m:run('own', '', rhandler)); req = assert(m:run('own'))\n"
               "m:close(); s:close()\n"
               "sub:close(); sub:close(); local _, err = req:await(); assert(err.status == S.RPC_E_DISCONNECTED)\n"
               "settle(); assert(log.ended); check_end(rlog, S.RPC_E_DISCONNECTED); assert(not sub:close())\n"
               "assert(not pcall(m.call, m, 'now')); assert(not pcall(s.subscribe, s, 'open', '', print))\n"
               "sub, m, s = nil, nil, nil; collectgarbage(); collectgarbage()");
  assert_int_equal(alive(), 0);
  w.actions = foreign_create();
  w.actions2 = foreign_create2();
  world_fini(&w);
}

/* The same from inside a loop over its responses, and where the iterator is dropped. */
static void test_closing_a_proxy_inside_a_loop_over_its_responses(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  (void)w.actions2->lpVtbl->Release(w.actions2);
  run_lua(w.L, "for r in s:responses('open', '3') do s:close(); break end; settle()");
  assert_int_equal(alive(), 1);
  w.actions2 = foreign_create2();
  assert_int_equal(rsca_lua_push_custom_actions2(w.L, w.actions2), S_OK);
  lua_setglobal(w.L, "s");
  (void)w.actions2->lpVtbl->Release(w.actions2);
  run_lua(w.L, "s:responses('open', '3'); s:close(); for i = 1, 4 do collectgarbage() end; settle()");
  assert_int_equal(alive(), 1);
  w.actions2 = foreign_create2();
  world_fini(&w);
}

static void close_both(void *user) {
  run_lua(user, "m:close(); s:close()");
}

/* The next method of either manager has the script close both. */
static int lua_arm(lua_State *L) {
  lua_State *inside = lua_newthread(L);
  lua_setfield(L, LUA_REGISTRYINDEX, "inside");
  foreign_on_next_call(close_both, inside);
  return 0;
}

/* A script may close the object whose method it is just calling: that lives until the method has returned. */
static void test_closing_a_proxy_inside_a_method_of_its_object(void **unused) {
  (void)unused;
  static const char *const ways[] = {
      "arm(); local _, err = m:call('own'); assert(err.status == S.RPC_E_DISCONNECTED)",
      "rsca.spawn(function() arm(); m:call('own') end); rsca.step()",
      "arm(); local r = assert(m:run('own')); local _, err = r:await(); assert(err.status == S.RPC_E_DISCONNECTED)",
      "arm(); assert(m:run('own', '', function() heard = true end)); settle(); assert(heard)",
      "arm(); assert(m:RunCustomAction('own', '', function() heard = true end) == 0); settle(); assert(heard)",
      "arm(); assert(m:run('own', '', native))",
      "local log, handler = listener(); arm(); assert(s:subscribe('open', '2', handler)); settle()\n"
      "is_count(log, 2); check_end(log, S.RPC_E_DISCONNECTED)",
      "local log, handler = listener(); arm(); assert(s:RegisterCustomActionCallback('open', '2', handler) == 0)\n"
      "settle(); is_count(log, 2); check_end(log, S.RPC_E_DISCONNECTED)",
      "arm(); local n = 0\n"
      "local ok, err = pcall(function() for _ in s:responses('open', '2') do n = n + 1 end end)\n"
      "assert(n == 2 and not ok and err.status == S.RPC_E_DISCONNECTED)",
      "for _ in s:responses('open', '2') do arm(); break end",
      "local log, handler = listener(); local sub = assert(s:subscribe('open', '2', handler)); arm()\n"
      "assert(sub:close()); settle(); assert(#log == 0); check_end(log, 1)",
      "local log, handler = listener(); assert(s:subscribe('open', '2', handler)); arm()\n"
      "assert(s:UnregisterCustomActionCallback('open') == 0); settle(); is_count(log, 2); check_end(log, 1)",
      "local log, handler = listener()\n"
      "assert(s:subscribe('open', '2', function(...) arm(); handler(...); return S.E_FAIL end)); settle()\n"
      "is_count(log, 1); assert(log.ended)",
  };
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
    world w;
    world_init(&w);
    counting *native = counting_create();
    assert_int_equal(rsca_lua_push_callback(w.L, &native->iface), S_OK);
    lua_setglobal(w.L, "native");
    lua_register(w.L, "arm", lua_arm);
    (void)w.actions->lpVtbl->Release(w.actions);
    (void)w.actions2->lpVtbl->Release(w.actions2);
    run_lua(w.L, ways[i]);
    run_lua(w.L, "settle(); assert(not pcall(m.AddRef, m) and not pcall(s.AddRef, s), 'not closed')");
    assert_int_equal(alive(), 0);
    w.actions = foreign_create();
    w.actions2 = foreign_create2();
    world_fini(&w);
    counting_end(native);
  }
}

/* ---- Identity ---- */

static void check_same(lua_State *L, bool same) {
  assert_int_equal(lua_rawequal(L, -1, -2), same);
  lua_pop(L, 2);
}

/* The same native object gives the same proxy within a state, another one in another. */
static void test_same_object_gives_the_same_proxy(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  for (int i = 0; i < 2; i++)
    assert_int_equal(rsca_lua_push_custom_actions(w.L, w.actions), S_OK);
  check_same(w.L, true);
  for (int i = 0; i < 2; i++)
    assert_int_equal(rsca_lua_push_custom_actions2(w.L, w.actions2), S_OK);
  check_same(w.L, true);
  assert_int_equal(refs(&w), 2);
  assert_int_equal(refs2(&w), 2);
  IPmCustomActions *another = foreign_create();
  assert_int_equal(rsca_lua_push_custom_actions(w.L, w.actions), S_OK);
  assert_int_equal(rsca_lua_push_custom_actions(w.L, another), S_OK);
  check_same(w.L, false);
  lua_State *other = open_state(NULL);
  assert_int_equal(rsca_lua_push_custom_actions(other, w.actions), S_OK);
  assert_int_equal(refs(&w), 3);
  lua_close(other);
  assert_int_equal(refs(&w), 2);
  run_lua(w.L, "m:close(); s:close()");
  assert_int_equal(another->lpVtbl->Release(another), 1);
  collect(w.L);
  assert_int_equal(alive(), 2);
  assert_int_equal(refs(&w) + refs2(&w), 2);
  assert_int_equal(rsca_lua_push_custom_actions(w.L, w.actions), S_OK); /* made again */
  lua_setglobal(w.L, "m");
  run_lua(w.L, "assert(m:call('now', 'x') == 'x')");
  world_fini(&w);
}

/* Our own manager's interfaces come out as the manager. */
static void test_our_own_interfaces_come_out_as_the_manager(void **unused) {
  (void)unused;
  rsca_manager *own = make_manager(), *other = make_manager();
  lua_State *L = open_state(own);
  rsca_manager *managers[] = {own, other};
  for (int i = 0; i < 2; i++) {
    IPmCustomActions *actions = rsca_manager_custom_actions(managers[i]);
    IPmCustomActions2 *actions2 = rsca_manager_custom_actions2(managers[i]);
    assert_int_equal(rsca_lua_push_manager(L, managers[i]), S_OK);
    assert_int_equal(rsca_lua_push_custom_actions(L, actions), S_OK);
    check_same(L, true);
    assert_int_equal(rsca_lua_push_manager(L, managers[i]), S_OK);
    assert_int_equal(rsca_lua_push_custom_actions2(L, actions2), S_OK);
    check_same(L, true);
    (void)actions->lpVtbl->Release(actions);
    (void)actions2->lpVtbl->Release(actions2);
  }
  run_lua(L, "assert(rsca.call('native', 'x') == 'native x')");
  lua_close(L);
  assert_int_equal(rsca_manager_release(other), 0);
  assert_int_equal(rsca_manager_release(own), 0);
  assert_int_equal(managers_alive, 0);
}

/* A session of ours is one more IPmCustomActions2: the same name twice in two sessions, each with its end. */
static void test_session_of_ours_is_used_like_somebody_elses(void **unused) {
  (void)unused;
  rsca_manager *own = make_manager();
  lua_State *L = open_state(own);
  IPmCustomActions2 *sessions[2];
  for (int i = 0; i < 2; i++) {
    assert_int_equal(rsca_manager_create_session(own, &sessions[i]), S_OK);
    assert_int_equal(rsca_lua_push_custom_actions2(L, sessions[i]), S_OK);
    lua_setglobal(L, i ? "b" : "a");
    assert_int_equal(sessions[i]->lpVtbl->Release(sessions[i]), 1);
  }
  run_lua(
      L,
      "S = rsca.status; problems = {}\n"
      "rsca.on_error = function(e) problems[#problems + 1] = tostring(e) end\n"
      "rsca.register('count', function(args, ctx)\n"
      "  for i = 1, tonumber(args) do ctx:report(tostring(i)) end; return 'end'\n"
      "end)\n"
      "rsca.register('tick', function(_, ctx)\n"
      "  for i = 1, math.huge do ctx:report(tostring(i)); ctx:sleep(0.001) end\n"
      "end)\n"
      "rsca.register('raise', function() error 'no' end)\n"
      "local logs = {}\n"
      "for i, session in ipairs { a, b } do\n"
      "  logs[i] = {}\n"
      "  assert(session:subscribe('count', '100', function(status, response, final)\n"
      "    logs[i][#logs[i] + 1] = final and status or response\n"
      "  end))\n"
      "end\n"
      "assert(select(2, a:subscribe('count', '1', print)).status == S.ERROR_ALREADY_EXISTS)\n"
      "assert(rsca.loop(20))\n"
      "for i = 1, 2 do assert(#logs[i] == 102 and logs[i][100] == '100' and logs[i][101] == 'end'\n"
      "                       and logs[i][102] == 1) end\n"
      "local n = 0; for r in a:responses('tick') do n = n + 1; assert(r == tostring(n)); if n == 5 then break end end\n"
      "assert(rsca.loop(20))\n"
      "local ok, err = pcall(function() for r in b:responses('raise') do end end)\n"
      "assert(not ok and err.status == S.E_FAIL and err.message:find 'no' and err.traceback)\n"
      "local ended; local sub = assert(b:subscribe('tick', '', function(status, _, final)\n"
      "  if final then ended = status else return S.E_FAIL end\n"
      "end))\n"
      "assert(rsca.loop(20)); assert(ended == S.ERROR_CANCELLED)\n"
      "assert(a:RegisterCustomActionCallback('tick', '', function(_, _, final) ended = final end) == 0)\n"
      "assert(a:UnregisterCustomActionCallback('tick') == 0); assert(rsca.loop(20)); assert(ended == true)\n"
      "assert(a:UnregisterCustomActionCallback('tick') == S.ERROR_NOT_FOUND)\n"
      "assert(b:subscribe('tick', '', function() end)); rsca.step(); assert(#problems == 0, problems[1])\n"
      "a:close(); b:close()");
  lua_close(L);
  assert_int_equal(rsca_manager_release(own), 0);
  assert_int_equal(managers_alive, 0);
}

/* ---- Counting ---- */

/* A proxy owns exactly one reference; AddRef, Release, close, __close and __gc give back what was taken, once. */
static void test_proxy_gives_back_what_it_took_once(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  assert_int_equal(refs(&w), 2);
  assert_int_equal(refs2(&w), 2);
  run_lua(w.L, "for _, o in ipairs { m, s } do\n"
               "  assert(o:AddRef() == 3 and o:AddRef() == 4 and o:Release() == 3 and o:Release() == 2)\n"
               "  assert(tostring(o):find 'custom_actions')\n"
               "end");
  run_lua(w.L, "m:AddRef(); s:AddRef(); s:AddRef()");
  assert_int_equal(refs(&w), 3);
  assert_int_equal(refs2(&w), 4);
  run_lua(w.L, "assert(m:Release() == 2); assert(m:Release() == 1)\n"
               "assert(not pcall(m.Release, m)); assert(not pcall(m.AddRef, m)); assert(not pcall(m.call, m, 'now'))\n"
               "m:close(); m:close(); assert(tostring(m):find 'released')\n"
               "s:close(); s:close(); assert(not pcall(s.Release, s)); m, s = nil, nil");
  assert_int_equal(refs(&w), 1);
  assert_int_equal(refs2(&w), 1);
  collect(w.L);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(rsca_lua_push_custom_actions(w.L, w.actions), S_OK);
    assert_int_equal(rsca_lua_push_custom_actions2(w.L, w.actions2), S_OK);
    assert_int_equal(refs(&w), 2);
    assert_int_equal(refs2(&w), 2);
    if (i == 1) {
      lua_setglobal(w.L, "b");
      lua_setglobal(w.L, "a");
      run_lua(w.L, "do local x <close> = a; local y <close> = b; x:AddRef(); y:AddRef() end; a, b = nil, nil");
    } else {
      run_lua(w.L, "local a, b = ...");
      lua_settop(w.L, 0);
      collect(w.L);
    }
    assert_int_equal(refs(&w), 1);
    assert_int_equal(refs2(&w), 1);
    collect(w.L);
  }
  world_fini(&w);
}

/* A call's callback and a registration's hold no reference to the manager that stays behind. */
static void test_calls_leave_no_reference_behind(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  run_lua(w.L, "for i = 1, 50 do\n"
               "  for _, name in ipairs { 'now', 'later', 'twice', 'never' } do\n"
               "    m:run(name, '', watch(function() end)); m:run(name)\n"
               "  end\n"
               "  s:subscribe('stream_now', '2', watch(function() end)):close()\n"
               "  for _ in s:responses('stream_now', '2') do end; settle()\n"
               "end");
  assert_int_equal(refs(&w), 2);
  assert_int_equal(refs2(&w), 2);
  collect(w.L);
  assert_int_equal(lua_global(w.L, "collected"), 250);
  assert_int_equal(held(), 0);
  world_fini(&w);
}

/* A proxy is kept while its registration is open, and collected after. */
static void test_proxy_is_kept_by_an_open_registration_only(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  run_lua(w.L, "log, handler = listener(); s:subscribe('open', '1', watch(function(...) handler(...) end))\n"
               "m, s = nil, nil");
  collect(w.L);
  assert_int_equal(refs(&w), 1);
  assert_true(refs2(&w) > 1);
  run_lua(w.L, "rsca.step(); is_count(log, 1); assert(collected == 0)");
  assert_int_equal(w.actions2->lpVtbl->UnregisterCustomActionCallback(w.actions2, u"open"), S_OK);
  run_lua(w.L, "settle(); check_end(log, 1, '')");
  collect(w.L);
  assert_int_equal(refs2(&w), 1);
  assert_int_equal(lua_global(w.L, "collected"), 1);
  world_fini(&w);
}

/* ---- Threads and the end of a state ---- */

/* Many calls and registrations answered by as many threads: each ends once, on the state's thread. */
static void test_many_threads_report_at_a_time(void **unused) {
  (void)unused;
  with_world("local logs = {}\n"
             "gate(false)\n"
             "for i = 1, 60 do\n"
             "  local log, handler = listener(); logs[i] = log\n"
             "  assert(m:run(i % 3 == 0 and 'race' or 'later', tostring(i), handler))\n"
             "end\n"
             "local log, handler = listener(); assert(s:subscribe('stream', '3000', handler))\n"
             "local log2, handler2 = listener(); local sub = assert(s:subscribe('tick', '', handler2))\n"
             "local log3, handler3 = listener(); assert(s:subscribe('abandon', '500', handler3))\n"
             "gate(true)\n"
             "while #log2 < 20 do rsca.wait() end; sub:close(); settle()\n"
             "for i = 1, 60 do check_end(logs[i], 0, tostring(i)) end\n"
             "is_count(log, 3000); check_end(log, 1); is_count(log2, #log2); check_end(log2, 1)\n"
             "is_count(log3, 500); check_end(log3, S.RPC_E_DISCONNECTED)");
}

static void let_go_there(void *unused) {
  (void)unused;
  foreign_let_go();
}

static void tell_there(void *unused) {
  (void)unused;
  foreign_tell_kept(S_OK, "late");
}

/* After lua_close what was held elsewhere is harmless: late reports are told so, the last Release may come anywhere. */
static void test_state_closes_with_everything_open(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  run_lua(w.L, "local function never(...) error 'called' end\n"
               "gate(false)\n"
               "for _, name in ipairs { 'keep', 'own', 'later', 'race', 'never_later' } do\n"
               "  assert(m:run(name, '', watch(never))); r = assert(m:run(name))\n"
               "  assert(m:RunCustomAction(name, '', watch { ReportResult = never }) == 0)\n"
               "  rsca.spawn(function() m:call(name); never() end)\n"
               "end\n"
               "for _, name in ipairs { 'open', 'deaf', 'tick' } do sub = assert(s:subscribe(name, '0', never)) end\n"
               "rsca.spawn(function() for _ in s:responses('stream', '2') do never() end; never() end)\n"
               "m:run('now', '', never); s:subscribe('stream_now', '3', never)\n" /* on their way */
               "refused(S.E_FAIL, m:run('keep_refuse', '80004005', never))");
  run_lua(w.L, "rsca.on_error = print; local n = 0; rsca.register('x', function() n = n + 1 end)\n"
               "m:AddRef(); s:AddRef()");
  world_close(&w);
  assert_int_equal(refs(&w), 1);
  assert_int_equal(refs2(&w), 1);
  foreign_forget_answers();
  on_other_thread(tell_there, NULL);
  assert_true(foreign_answers() > 0);
  for (size_t i = 0; i < foreign_answers(); i++)
    assert_true(foreign_answer(i) == RPC_E_DISCONNECTED || foreign_answer(i) == S_FALSE);
  on_other_thread(let_go_there, NULL);
  foreign_forget_answers();
  foreign_gate(true);
  foreign_join();
  for (size_t i = 0; i < foreign_answers(); i++)
    assert_true(foreign_answer(i) == S_FALSE || FAILED(foreign_answer(i)));
  (void)w.actions2->lpVtbl->UnregisterCustomActionCallback(w.actions2, u"open");
  world_fini(&w);
}

/* The same with the manager's last reference in the proxy: it goes while the state closes, and lets go of all. */
static void test_state_closes_with_the_last_reference_of_a_busy_manager(void **unused) {
  (void)unused;
  for (int closed_first = 0; closed_first < 2; closed_first++) {
    world w;
    world_init(&w);
    (void)w.actions->lpVtbl->Release(w.actions);
    (void)w.actions2->lpVtbl->Release(w.actions2);
    run_lua(w.L, "for i = 1, 3 do m:run('own', '', function() end); r = m:run('own') end\n"
                 "rsca.spawn(function() m:call('own') end); rsca.spawn(function() m:call('later') end)\n"
                 "sub = s:subscribe('open', '2', function() end)\n"
                 "local next_one, _, _, closer = s:responses('deaf', '2'); next_one(); it = closer\n"
                 "rsca.spawn(function() for _ in s:responses('tick') do end end); rsca.step()");
    if (closed_first)
      run_lua(w.L, "m:close(); s:close()");
    world_close(&w);
    foreign_join();
    assert_int_equal(alive(), 0);
    assert_int_equal(held(), 0);
    w.actions = foreign_create();
    w.actions2 = foreign_create2();
    world_fini(&w);
  }
}

/* A state closes while threads report to it. */
static void test_state_closes_while_threads_report(void **unused) {
  (void)unused;
  for (int round = 0; round < 40; round++) {
    world w;
    world_init(&w);
    run_lua(w.L, "gate(false)\n"
                 "for i = 1, 4 do m:run('later', 'x', function() end); m:run('race', 'x'); m:run('never_later') end\n"
                 "sub = s:subscribe('tick', '', function() end); s:subscribe('stream', '200', function() end)\n"
                 "rsca.spawn(function() for _ in s:responses('abandon', '200') do end end)\n"
                 "gate(true)");
    for (int i = 0; i < round % 4; i++)
      run_lua(w.L, "rsca.step()");
    world_close(&w);
    world_fini(&w);
  }
}

/* rsca.loop ends when all have ended, and not before. */
static void test_loop_ends_when_all_have_ended(void **unused) {
  (void)unused;
  with_world("assert(rsca.loop(0)); assert(m:run('keep')); assert(not rsca.loop(0))\n"
             "assert(m:run('keep', '', function() end)); assert(not rsca.loop(0)); let_go(); assert(rsca.loop(5))\n"
             "local sub = s:subscribe('open', '2', function() end); assert(not rsca.loop(0.01)); sub:close()\n"
             "assert(rsca.loop(5))\n"
             "local next_one, _, _, closer = s:responses('open', '1'); assert(next_one() == '1')\n"
             "assert(not rsca.loop(0.01)); closer:close(); assert(rsca.loop(5))\n"
             "for i = 1, 20 do m:run('later', '', function() m:run('later', '', function() end) end) end\n"
             "assert(rsca.loop(20)); assert(s:subscribe('stream', '100', function() end)); assert(rsca.loop(20))");
}

/* ---- The host's functions ---- */

static void test_host_functions_refuse_bad_input(void **unused) {
  (void)unused;
  world w;
  world_init(&w);
  lua_settop(w.L, 0);
  assert_int_equal(rsca_lua_push_custom_actions(w.L, NULL), E_INVALIDARG);
  assert_int_equal(rsca_lua_push_custom_actions2(w.L, NULL), E_INVALIDARG);
  assert_int_equal(rsca_lua_push_custom_actions(NULL, w.actions), E_INVALIDARG);
  assert_int_equal(rsca_lua_push_custom_actions2(NULL, w.actions2), E_INVALIDARG);
  assert_int_equal(lua_gettop(w.L), 0);
  lua_State *bare = luaL_newstate();
  assert_int_equal(rsca_lua_push_custom_actions(bare, w.actions), RSCA_E_NOT_FOUND);
  assert_int_equal(rsca_lua_push_custom_actions2(bare, w.actions2), RSCA_E_NOT_FOUND);
  assert_int_equal(lua_gettop(bare), 0);
  lua_close(bare);
  assert_int_equal(refs(&w), 2);
  assert_int_equal(refs2(&w), 2);
  world_fini(&w);
}

/* ---- The n-th allocation fails, for every n: of Lua's and of ours, on whatever thread ---- */

/* A state with everything in it, whose allocations can fail. */
static void frail_init(world *w) {
  start_afresh();
  *w = (world){.actions = foreign_create(), .actions2 = foreign_create2(), .L = lua_newstate(failing_allocator, NULL)};
  luaL_openlibs(w->L);
  assert_int_equal(rsca_lua_open(w->L, NULL), S_OK);
  run_lua(w->L, "rsca = require 'rsca'; alive = setmetatable({}, { __mode = 'k' })\n"
                "function watch(x) alive[x] = true; return x end");
  world_open(w);
  run_lua(w->L, "rsca.on_error = function() end; collectgarbage(); collectgarbage()");
}

/* Runs `code` once for every allocation it makes, that one failing, and a last time with none failing, when it must
 * succeed. Each time everything ends, and what it watched is collected while manager and state live on. */
static void fail_each(const char *code) {
  bool failed = true;
  for (long n = 0; failed; n++) {
    assert_true(n < 5000);
    world w;
    frail_init(&w);
    assert_int_equal(luaL_loadstring(w.L, code), LUA_OK);
    failing_arm(n);
    int status = lua_pcall(w.L, 0, 0, 0);
    foreign_join();
    failed = failing_disarm();
    if (!failed && status != LUA_OK)
      fail_msg("Lua: %s", lua_tostring(w.L, -1));
    lua_settop(w.L, 0);
    run_lua(w.L, "s:UnregisterCustomActionCallback('open'); let_go()\n"
                 "assert(rsca.loop(20), 'something never ends'); join(); assert(rsca.loop(20)); rsca.step()\n"
                 "for i = 1, 4 do collectgarbage() end\n"
                 "assert(held() == 0 and registered() == 0)");
    run_lua(w.L, "if next(alive) then error('something is kept: ' .. tostring(next(alive))) end");
    assert_int_equal(refs(&w), 2);
    assert_int_equal(refs2(&w), 2);
    world_fini(&w);
  }
}

static void test_pushing_out_of_memory(void **unused) {
  (void)unused;
  bool failed = true;
  for (long n = 0; failed; n++) {
    assert_true(n < 100);
    world w;
    frail_init(&w);
    IPmCustomActions *one = foreign_create();
    IPmCustomActions2 *two = foreign_create2();
    failing_arm(n);
    HRESULT status = rsca_lua_push_custom_actions(w.L, one);
    HRESULT status2 = rsca_lua_push_custom_actions2(w.L, two);
    failed = failing_disarm();
    assert_true(status == S_OK || (failed && status == E_OUTOFMEMORY));
    assert_true(status2 == S_OK || (failed && status2 == E_OUTOFMEMORY));
    assert_int_equal(lua_gettop(w.L), (status == S_OK) + (status2 == S_OK));
    assert_int_equal(rsca_lua_push_custom_actions(w.L, one), S_OK);
    assert_int_equal(rsca_lua_push_custom_actions2(w.L, two), S_OK);
    lua_settop(w.L, 0);
    collect(w.L);
    assert_int_equal(one->lpVtbl->Release(one), 0);
    assert_int_equal(two->lpVtbl->Release(two), 0);
    world_fini(&w);
  }
}

static void test_calling_out_of_memory(void **unused) {
  (void)unused;
  fail_each("m:call('now', 'x'); m:call('later', 'x'); m:call('never'); m:call('refuse', '80004005')");
}

static void test_calling_in_a_coroutine_out_of_memory(void **unused) {
  (void)unused;
  fail_each("rsca.spawn(watch(function() m:call('now', 'x'); m:call('never'); m:call('refuse', '80004005') end))\n"
            "rsca.loop(20)");
}

static void test_running_out_of_memory(void **unused) {
  (void)unused;
  fail_each("local r = m:run('now', 'x'); if r then r:await() end; m:run('never'); m:run('refuse', '80004005')\n"
            "m:run('later'); rsca.loop(20)");
}

static void test_running_with_a_handler_out_of_memory(void **unused) {
  (void)unused;
  fail_each("for _, name in ipairs { 'now', 'twice', 'never', 'refuse' } do\n"
            "  m:run(name, '80004005', watch(function() end))\n"
            "  m:run(name, '80004005', watch { ReportResult = function() end })\n"
            "  m:RunCustomAction(name, '80004005', watch(function() end))\n"
            "end\n"
            "rsca.loop(20)");
}

static void test_subscribing_out_of_memory(void **unused) {
  (void)unused;
  fail_each("for _, name in ipairs { 'stream_now', 'abandon_now', 'refuse' } do\n"
            "  s:subscribe(name, '3', watch(function() end))\n"
            "  s:RegisterCustomActionCallback(name, '3', watch { ReportResult = function() end }); rsca.step()\n"
            "end\n"
            "local sub = s:subscribe('open', '2', watch(function() end)); rsca.step()\n"
            "if sub then sub:close() end; rsca.loop(20)");
}

static void test_iterating_out_of_memory(void **unused) {
  (void)unused;
  fail_each("pcall(function() for _ in s:responses('stream_now', '3') do end end)\n"
            "pcall(function() for _ in s:responses('abandon_now', '1') do end end)\n"
            "for _ in s:responses('open', '2') do break end\n"
            "rsca.spawn(watch(function() for _ in s:responses('stream', '3') do end end)); rsca.loop(20)");
}

/* usage: PROGRAM [TESTS], with * for any */
int main(int argc, char **argv) {
  if (argc > 1)
    cmocka_set_test_filter(argv[1]);
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_each_run_ends_once_whatever_the_manager_does),
    cmocka_unit_test(test_native_callback_goes_through_a_run_as_it_is),
    cmocka_unit_test(test_second_report_of_a_run_is_dropped_with_s_false),
    cmocka_unit_test(test_refused_run_gives_nil_and_the_status_and_keeps_no_handler),
    cmocka_unit_test(test_refused_run_whose_callback_is_held_all_the_same),
    cmocka_unit_test(test_run_that_is_reported_and_then_refused),
    cmocka_unit_test(test_kept_callback_is_pending_until_told),
    cmocka_unit_test(test_handler_of_a_run_that_raises_is_heard_of_once),
    cmocka_unit_test(test_each_registration_ends_once_whatever_the_manager_does),
    cmocka_unit_test(test_reports_after_the_final_are_dropped),
    cmocka_unit_test(test_flood_ends_with_busy),
    cmocka_unit_test(test_refused_registration),
    cmocka_unit_test(test_second_registration_of_a_name_is_refused_and_touches_nothing),
    cmocka_unit_test(test_close_unregisters),
    cmocka_unit_test(test_close_of_an_ended_subscription_leaves_the_next_of_that_name_alone),
    cmocka_unit_test(test_close_that_the_manager_refuses),
    cmocka_unit_test(test_documented_methods_answer_with_the_status),
    cmocka_unit_test(test_failing_handler_ends_its_registration),
    cmocka_unit_test(test_failing_handler_of_a_quiet_registration_ends_it),
#if RSCA_SDK_REPORTRESULT
    cmocka_unit_test(test_last_response_may_be_the_final_report),
#endif
    cmocka_unit_test(test_closing_a_proxy_that_has_the_last_reference),
    cmocka_unit_test(test_closing_a_proxy_inside_a_loop_over_its_responses),
    cmocka_unit_test(test_closing_a_proxy_inside_a_method_of_its_object),
    cmocka_unit_test(test_same_object_gives_the_same_proxy),
    cmocka_unit_test(test_our_own_interfaces_come_out_as_the_manager),
    cmocka_unit_test(test_session_of_ours_is_used_like_somebody_elses),
    cmocka_unit_test(test_proxy_gives_back_what_it_took_once),
    cmocka_unit_test(test_calls_leave_no_reference_behind),
    cmocka_unit_test(test_proxy_is_kept_by_an_open_registration_only),
    cmocka_unit_test(test_many_threads_report_at_a_time),
    cmocka_unit_test(test_state_closes_with_everything_open),
    cmocka_unit_test(test_state_closes_with_the_last_reference_of_a_busy_manager),
    cmocka_unit_test(test_state_closes_while_threads_report),
    cmocka_unit_test(test_loop_ends_when_all_have_ended),
    cmocka_unit_test(test_host_functions_refuse_bad_input),
    cmocka_unit_test(test_pushing_out_of_memory),
    cmocka_unit_test(test_calling_out_of_memory),
    cmocka_unit_test(test_calling_in_a_coroutine_out_of_memory),
    cmocka_unit_test(test_running_out_of_memory),
    cmocka_unit_test(test_running_with_a_handler_out_of_memory),
    cmocka_unit_test(test_subscribing_out_of_memory),
    cmocka_unit_test(test_iterating_out_of_memory),
  };
  return cmocka_run_group_tests_name("bridge.foreign", tests, NULL, NULL);
}
