/*
 * A Lua state in the child of a fork: its handlers and actions are the parent's and are not run; whoever waits in the
 * child gets nil, err; with `keep` it goes on.
 *
 * Each test is a script. Its global `child` is called in a child and ends with what holds there; the rest of the script
 * stands in the parent.
 */
#include "support.h"

#include "support/child.h"

/* fork(): 0 in the child */
static int lua_fork(lua_State *L) {
  (void)fflush(NULL);
  lua_pushinteger(L, fork());
  return 1;
}

/* join(pid): the child's exit status */
static int lua_join(lua_State *L) {
  lua_pushinteger(L, child_status((pid_t)luaL_checkinteger(L, 1)));
  return 1;
}

/* quit(status): at once */
static int lua_quit(lua_State *L) {
  (void)fflush(NULL);
  _exit((int)luaL_checkinteger(L, 1));
}

static const char preamble[] =
    "heard, closed = {}, {}\n"
    "function hears(name)\n"
    "  return function(status, response) heard[#heard + 1] = name .. ' ' .. rsca.describe(status):match('^%S+') end\n"
    "end\n"
    "rsca.register('echo', function(args) return args end)\n"
    "rsca.register('waits', function(args, ctx)\n"
    "  local _ <close> = setmetatable({}, { __close = function() closed[#closed + 1] = args end })\n"
    "  ctx:sleep(1e6)\n"
    "end)\n"
    "function equal(got, expected)\n"
    "  if got ~= expected then error(('expected %q, got %q'):format(tostring(expected), tostring(got)), 2) end\n"
    "end\n"
    "function told() local all = table.concat(heard, ', ') heard = {} return all end\n"
    /* Steps until nothing is done any more; sleepers stay asleep. */
    "function steps() while rsca.step() > 0 do end end\n"
    /* Runs it in a child, and joins that. */
    "function in_child(f)\n"
    "  local pid = fork()\n"
    "  if pid == 0 then\n"
    "    local good, problem = xpcall(f, debug.traceback)\n"
    "    if not good then io.stderr:write('in the child: ', tostring(problem), '\\n') end\n"
    "    quit(good and 0 or 1)\n"
    "  end\n"
    "  equal(join(pid), 0)\n"
    "end\n";

static void run_script(const char *script) {
  rsca_manager *manager = make_manager();
  lua_State *L = open_state(manager);
  lua_register(L, "fork", lua_fork);
  lua_register(L, "join", lua_join);
  lua_register(L, "quit", lua_quit);
  run_lua(L, preamble);
  pid_t parent = getpid();
  if (luaL_dostring(L, script) != LUA_OK) {
    fprintf(stderr, "Lua: %s\n", lua_tostring(L, -1));
    if (getpid() != parent)
      _exit(1); /* the other tests are not for a child */
    fail();
  }
  lua_close(L);
  assert_int_equal(rsca_manager_release(manager), 0);
  assert_int_equal(managers_alive, 0);
}

static void test_handlers_of_the_parent_are_not_called(void **unused) {
  (void)unused;
  run_script("rsca.run('waits', 'running', hears 'running')\n"
             "steps()\n"
             "rsca.run('echo', '', hears 'queued')\n"
             "in_child(function()\n"
             "  steps()\n"
             "  equal(told(), '')\n"
             "  equal(table.concat(closed, ' '), '')\n" /* the parent's clean-up is the parent's */
             "  equal(rsca.loop(20), true)\n"
             "  rsca.run('echo', '', hears 'own')\n"
             "  rsca.loop()\n"
             "  equal(told(), 'own S_OK')\n"
             "  equal(rsca.own_manager():health().idle, true)\n"
             "end)\n"
             "steps()\n"
             "equal(told(), 'queued S_OK')\n"
             "equal(table.concat(closed, ' '), '')");
}

/* Its result was on the way to the handler. */
static void test_results_of_the_parent_are_not_delivered(void **unused) {
  (void)unused;
  run_script("rsca.run('echo', '', hears 'ended')\n"
             "rsca.step()\n"
             "equal(told(), '')\n"
             "in_child(function() steps() equal(told(), '') equal(rsca.loop(20), true) end)\n"
             "steps()\n"
             "equal(told(), 'ended S_OK')");
}

static void test_after_fork_keeps_queued_calls_and_ends_running_ones_as_cancelled(void **unused) {
  (void)unused;
  run_script("rsca.run('waits', 'running', hears 'running')\n"
             "steps()\n"
             "rsca.run('echo', '', hears 'queued')\n"
             "rsca.run('waits', 'queued, too', hears 'queued, too')\n"
             "equal(rsca.after_fork { keep = true }, false)\n"
             "in_child(function()\n"
             "  equal(rsca.after_fork { keep = true }, true)\n"
             "  steps()\n"
             "  equal(told(), 'running ERROR_CANCELLED, queued S_OK')\n"
             "  equal(table.concat(closed, ' '), 'running')\n"
             "  equal(rsca.own_manager():health().in_flight, 1)\n"
             "end)\n"
             "in_child(function()\n"
             "  rsca.step()\n"
             "  local done, err = rsca.after_fork { keep = true }\n"
             "  equal(done, nil)\n"
             "  equal(err.name, 'ERROR_INVALID_STATE')\n"
             "end)\n"
             "in_child(function()\n"
             "  equal(rsca.after_fork(), true)\n"
             "  equal(rsca.after_fork {}, false)\n"
             "end)\n"
             "steps()\n"
             "equal(told(), 'queued S_OK')");
}

static void test_after_fork_refuses_what_it_does_not_know(void **unused) {
  (void)unused;
  run_script("for wrong, pattern in pairs { [1] = 'table expected', [{ keep = 1 }] = \"'keep' must be a boolean\",\n"
             "    [{ kept = true }] = \"unknown option 'kept'\", [{ true }] = 'unknown option' } do\n"
             "  local good, problem = pcall(rsca.after_fork, type(wrong) == 'number' and wrong or wrong)\n"
             "  equal(good, false)\n"
             "  assert(problem:find(pattern), problem)\n"
             "end");
}

/* Whoever waits in the child gets nil, err: in a spawned function, in a handler, in a loop over responses. */
static void test_who_waits_in_the_child_gets_nil_and_an_error(void **unused) {
  (void)unused;
  run_script("local results = {}\n"
             "local function put(name, ok, err) results[name] = tostring(ok) .. ' ' .. tostring(err and err.name) end\n"
             "local request = rsca.run('waits', 'awaited')\n"
             "rsca.spawn(function() put('await', request:await()) put('again', rsca.sleep(0)) end)\n"
             "rsca.spawn(function() put('limited', request:await(1e6)) end)\n"
             "rsca.spawn(function() put('call', rsca.call('waits', 'called')) end)\n"
             "rsca.spawn(function() put('sleep', rsca.sleep(1e6)) put('sleep again', rsca.sleep(0)) end)\n"
             "rsca.run('echo', '', function() put('handler', rsca.sleep(1e6)) end)\n"
             "rsca.spawn(function() put('responses', pcall(function()\n"
             "  for _ in rsca.responses('waits', 'iterated') do end end)) end)\n"
             "steps()\n"
             "in_child(function()\n"
             "  equal(rsca.loop(20), true)\n"
             "  for _, name in ipairs { 'await', 'limited', 'call', 'sleep', 'handler' } do\n"
             "    equal(results[name], 'nil ERROR_CANCELLED')\n"
             "  end\n"
             "  equal(results['again'], 'true nil')\n"
             "  equal(results['sleep again'], 'true nil')\n"
             "  equal(results['responses'], 'false ERROR_CANCELLED')\n"
             "  equal(table.concat(closed, ' '), '')\n"
             "end)\n"
             "equal(next(results), nil)");
}

static void test_what_waits_goes_on_waiting_where_it_is_kept(void **unused) {
  (void)unused;
  run_script("local results = {}\n"
             "local waiting, queued = rsca.run('waits', 'running')\n"
             "rsca.spawn(function() rsca.sleep(0.01) results.slept = true end)\n"
             "rsca.spawn(function() results.running = select(2, waiting:await()).name end)\n"
             "rsca.spawn(function() queued = assert(rsca.run('echo', 'x')) results.queued = queued:await() end)\n"
             "rsca.step()\n"
             "in_child(function()\n"
             "  rsca.after_fork { keep = true }\n"
             "  rsca.spawn(function() results.own = true end)\n"
             "  equal(rsca.loop(20), true)\n"
             "  equal(results.slept, true)\n"
             "  equal(results.running, 'ERROR_CANCELLED')\n"
             "  equal(results.queued, 'x')\n"
             "  equal(results.own, true)\n"
             "end)");
}

static void test_spawned_functions_that_have_not_begun_are_dropped_or_kept(void **unused) {
  (void)unused;
  run_script("local began = 0\n"
             "rsca.spawn(function() began = began + 1 end)\n"
             "in_child(function() equal(rsca.loop(20), true) equal(began, 0) end)\n"
             "in_child(function() rsca.after_fork { keep = true } equal(rsca.loop(20), true) equal(began, 1) end)\n"
             "in_child(function()\n"
             "  rsca.spawn(function() began = began + 10 end)\n"
             "  equal(rsca.loop(20), true)\n"
             "  equal(began, 10)\n"
             "end)\n"
             "rsca.loop()\n"
             "equal(began, 1)");
}

static void test_handlers_of_subscriptions_are_not_called_or_hear_that_they_were_cancelled(void **unused) {
  (void)unused;
  run_script("rsca.register('ticks', function(_, ctx)\n"
             "  ctx:report('one')\n"
             "  ctx:sleep(0)\n"
             "  ctx:report('two')\n"
             "  ctx:sleep(1e6)\n"
             "end)\n"
             "rsca.subscribe('ticks', '', hears 'tick')\n"
             "rsca.own_manager():RegisterCustomActionCallback('ticks', '', hears 'tock')\n"
             "rsca.step()\n"
             "rsca.step()\n"
             "equal(told(), 'tick S_OK, tock S_OK')\n"
             "in_child(function() equal(rsca.loop(20), true) equal(told(), '') end)\n"
             "in_child(function()\n"
             "  rsca.after_fork { keep = true }\n"
             "  equal(rsca.loop(20), true)\n"
             "  local all = told()\n"
             "  equal(select(2, all:gsub('tick ERROR_CANCELLED', '')), 1)\n"
             "  equal(select(2, all:gsub('tock ERROR_CANCELLED', '')), 1)\n"
             "end)");
}

/* The main program waits, and an action that runs meanwhile forks. */
static void test_main_program_that_waits_in_the_child_gets_nil_and_an_error(void **unused) {
  (void)unused;
  run_script("rsca.register('forks', function(_, ctx)\n"
             "  local pid = fork()\n"
             "  if pid > 0 then equal(join(pid), 0) end\n"
             "  return pid == 0 and 'child' or 'parent'\n"
             "end)\n"
             "local function expect(name, ok, err)\n"
             "  if ok then return ok end\n"
             "  quit(err.name == 'ERROR_CANCELLED' and rsca.call('echo', 'on') == 'on' and told() == '' and 0 or 1)\n"
             "end\n"
             "rsca.run('forks', '', hears 'forks')\n"
             "equal(expect('sleep', rsca.sleep(0.02)), true)\n"
             "steps()\n"
             "equal(told(), 'forks S_OK')\n"
             "equal(expect('call', rsca.call('forks')), 'parent')\n"
             "rsca.run('forks', '', hears 'forks')\n"
             "local request = rsca.run('echo', 'x')\n"
             "equal(expect('await', request:await()), 'x')");
}

/* The action itself goes on in the child until it waits; nobody hears what it returns. */
static void test_action_that_forks_is_dropped_at_its_next_wait_in_the_child(void **unused) {
  (void)unused;
  run_script("local child\n"
             "rsca.register('forks', function(_, ctx)\n"
             "  local _ <close> = setmetatable({}, { __close = function() closed[#closed + 1] = 'forks' end })\n"
             "  child = fork() == 0\n"
             "  ctx:sleep(0)\n"
             "  return 'on'\n"
             "end)\n"
             "rsca.run('forks', '', hears 'forks')\n"
             "equal(rsca.loop(20), true)\n"
             "if child then quit(told() == '' and #closed == 0 and 0 or 1) end\n"
             "equal(told(), 'forks S_OK')\n"
             "equal(#closed, 1)");
}

static void test_coroutines_of_a_host_that_wait_get_nil_and_an_error(void **unused) {
  (void)unused;
  run_script("local ready, results = {}, {}\n"
             "rsca.set_adapter { name = 'test', may_wait = function() return not select(2, coroutine.running()) end,\n"
             "  waiter = function()\n"
             "    local co = coroutine.running()\n"
             "    return coroutine.yield, function() table.insert(ready, co) end\n"
             "  end }\n"
             "local function put(name, ok, err) results[name] = tostring(ok) .. ' ' .. tostring(err and err.name) end\n"
             "local function start(f) assert(coroutine.resume(coroutine.create(f))) end\n"
             "local request = rsca.run('waits', 'awaited')\n"
             "start(function() put('began', rsca.sleep(1e6)) put('again', rsca.sleep(0)) end)\n"
             "start(function() put('awaits', request:await()) end)\n"
             "rsca.step()\n"
             "start(function() put('had not begun', rsca.call('waits', 'called')) end)\n"
             "in_child(function()\n"
             "  for _ = 1, 4 do\n"
             "    steps()\n"
             "    local now = ready\n"
             "    ready = {}\n"
             "    for _, co in ipairs(now) do assert(coroutine.resume(co)) end\n"
             "  end\n"
             "  for _, name in ipairs { 'began', 'awaits', 'had not begun' } do\n"
             "    equal(results[name], 'nil ERROR_CANCELLED')\n"
             "  end\n"
             "  equal(results.again, 'true nil')\n"
             "  equal(rsca.loop(20), true)\n"
             "end)");
}

/* A child that ends without a step, closing its state. */
static void test_child_that_closes_its_state_runs_nothing_of_its_parents(void **unused) {
  (void)unused;
  rsca_manager *manager = make_manager();
  lua_State *L = open_state(manager);
  counting *told = counting_create(), *closed = counting_create();
  assert_int_equal(rsca_lua_push_callback(L, &closed->iface), S_OK);
  lua_setglobal(L, "closed");
  assert_int_equal(rsca_lua_push_callback(L, &told->iface), S_OK);
  lua_setglobal(L, "told");
  run_lua(L, "rsca.register('waits', function(_, ctx)\n"
             "  local _ <close> = setmetatable({}, { __close = function() closed:ReportResult(0, 'ran') end })\n"
             "  ctx:sleep(1e6)\n"
             "end)\n"
             "rsca.run('waits', '', told)\n"
             "rsca.run('waits', '', function() closed:ReportResult(0, 'heard') end)\n"
             "rsca.subscribe('waits', '', function() closed:ReportResult(0, 'heard') end)\n"
             "rsca.step()");
  (void)fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    lua_close(L);
    child_expects(closed->calls == 0 && told->calls == 0);
    child_expects(counting_refs(told) == 1 && counting_refs(closed) == 1);
    child_expects(rsca_manager_release(manager) == 0);
    child_expects(managers_alive == 0);
    counting_end(told);
    counting_end(closed);
    exit(0);
  }
  assert_true(child > 0);
  assert_int_equal(child_status(child), 0);
  lua_close(L);
  assert_int_equal(closed->calls, 3); /* the clean-up of each */
  assert_int_equal(told->calls, 1);
  counting_end(told);
  counting_end(closed);
  assert_int_equal(rsca_manager_release(manager), 0);
}

/* ---- Pools: their threads stay in the parent ---- */

/* settle: all workers have made their states, and wait. The malloc of a sanitizer does not outlive a fork that comes
 * while another thread is in it. */
static const char pool_script[] = "pool = assert(rsca.manager { workers = 2, chunk = [[\n"
                                  "  local rsca = require 'rsca'\n"
                                  "  rsca.register('echo', function(args) return args end)\n"
                                  "  rsca.register('waits', function(args, ctx) ctx:sleep(1e6) end)\n"
                                  "  rsca.register('meet', function()\n"
                                  "    rsca.shared:add('meeting', 1)\n"
                                  "    while rsca.shared:get('meeting') < 2 do end\n"
                                  "  end)\n"
                                  "]] })\n"
                                  "function settle()\n"
                                  "  local one, other = pool:run('meet'), pool:run('meet')\n"
                                  "  assert(one:await() and other:await())\n"
                                  "  for _ = 1, 2 do equal(pool:call('echo', 'before'), 'before') end\n"
                                  "end\n";

static void run_pool_script(const char *script) {
  char whole[4096];
  (void)snprintf(whole, sizeof whole, "%s%s", pool_script, script);
  run_script(whole);
}

static void test_pool_that_has_not_started_starts_in_the_child(void **unused) {
  (void)unused;
  run_pool_script("in_child(function() equal(pool:call('echo', 'child'), 'child') pool:close() end)\n"
                  "equal(pool:call('echo', 'parent'), 'parent')\n"
                  "pool:close()");
}

#ifndef __SANITIZE_THREAD__ /* its runtime starts no threads in a child */
static void test_pool_starts_afresh_in_the_child(void **unused) {
  (void)unused;
  run_pool_script("pool:run('waits', '', hears 'waits')\n"
                  "settle()\n"
                  "in_child(function()\n"
                  "  equal(pool:call('echo', 'child'), 'child')\n"
                  "  steps()\n"
                  "  equal(told(), '')\n"
                  "  equal(pool:health().workers, 2)\n"
                  "  equal(pool:shutdown(true), true)\n"
                  "  equal(told(), '')\n"
                  "end)\n"
                  "equal(pool:call('echo', 'after'), 'after')\n"
                  "pool:shutdown(true) steps()\n"
                  "equal(told(), 'waits ERROR_CANCELLED')");
}

static void test_who_waits_for_a_pool_in_the_child_gets_nil_and_an_error(void **unused) {
  (void)unused;
  run_pool_script("local request = pool:run('waits')\n"
                  "settle()\n"
                  "in_child(function()\n"
                  "  local response, err = request:await(20)\n"
                  "  equal(response, nil)\n"
                  "  equal(err.status, rsca.status.ERROR_CANCELLED)\n"
                  "  equal(pool:call('echo', 'on'), 'on')\n"
                  "end)\n"
                  "pool:close()");
}

static void test_pool_that_is_kept_ends_what_ran_as_cancelled(void **unused) {
  (void)unused;
  run_pool_script("pool:run('waits', '', hears 'waits')\n"
                  "settle()\n"
                  "in_child(function()\n"
                  "  rsca.after_fork { keep = true }\n"
                  "  steps()\n"
                  "  equal(told(), 'waits ERROR_CANCELLED')\n"
                  "  equal(pool:call('echo', 'child'), 'child')\n"
                  "  pool:close()\n"
                  "end)\n"
                  "pool:close()");
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_handlers_of_the_parent_are_not_called),
      cmocka_unit_test(test_results_of_the_parent_are_not_delivered),
      cmocka_unit_test(test_after_fork_keeps_queued_calls_and_ends_running_ones_as_cancelled),
      cmocka_unit_test(test_after_fork_refuses_what_it_does_not_know),
      cmocka_unit_test(test_who_waits_in_the_child_gets_nil_and_an_error),
      cmocka_unit_test(test_what_waits_goes_on_waiting_where_it_is_kept),
      cmocka_unit_test(test_spawned_functions_that_have_not_begun_are_dropped_or_kept),
      cmocka_unit_test(test_handlers_of_subscriptions_are_not_called_or_hear_that_they_were_cancelled),
      cmocka_unit_test(test_main_program_that_waits_in_the_child_gets_nil_and_an_error),
      cmocka_unit_test(test_action_that_forks_is_dropped_at_its_next_wait_in_the_child),
      cmocka_unit_test(test_coroutines_of_a_host_that_wait_get_nil_and_an_error),
      cmocka_unit_test(test_child_that_closes_its_state_runs_nothing_of_its_parents),
      cmocka_unit_test(test_pool_that_has_not_started_starts_in_the_child),
#ifndef __SANITIZE_THREAD__
      cmocka_unit_test(test_pool_starts_afresh_in_the_child),
      cmocka_unit_test(test_who_waits_for_a_pool_in_the_child_gets_nil_and_an_error),
      cmocka_unit_test(test_pool_that_is_kept_ends_what_ran_as_cancelled),
#endif
  };
  return cmocka_run_group_tests_name("fork", tests, NULL, NULL);
}
