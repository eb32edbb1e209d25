-- A module of Prosody that tries what rsca promises there, and writes down what came of it, for prosody_test.lua.
-- luacheck: globals module prosody

local async = require "util.async";
local rsca = require "rsca";
local adapter = require "rsca.adapter.prosody";
local H = require "hosts.support";

module:set_global();

local results = assert(io.open(module:get_option_string("rsca_results"), "w"));
results:setvbuf("no");
local function note(name, value)
	results:write(name, "=", tostring(value), "\n");
end

local function process()
	local file <close> = assert(io.open("/proc/self/stat"));
	return file:read("n");
end

local problems = 0;
local function equal(got, expected, what)
	if got ~= expected then
		problems = problems + 1;
		note("problem", ("%s: expected %s, got %s"):format(what, expected, got));
	end
end

adapter.start();
adapter.start(); -- another module might, too

-- What was queued while modules were loaded is done in the process whose loop runs; what a thread of a pool has begun
-- before a fork ends as cancelled, and is not lost. The malloc of a sanitizer does not outlive a fork that comes while
-- another thread is in it: there the pool starts later.
local manager = H.manager();
local early = os.getenv("RSCA_SANITIZE") and 0 or 3;
local tells = 0;
for _ = 1, early do
	assert(manager:run("echo", "pooled", function(status)
		tells = tells + 1;
		equal(status == 0 or status == rsca.status.ERROR_CANCELLED, true,
			"the status of an early call of the pool: " .. rsca.describe(status));
	end, { time_limit = 60 })); -- a start may take its time
end
rsca.register("early", function(args)
	return args .. " in " .. process();
end);
assert(rsca.run("early", "queued", function(status, response)
	equal(status, 0, "the status of the early call");
	note("early", response);
end));
rsca.spawn(function()
	rsca.sleep(0.001);
	note("slept", process());
end);

if module:get_option_boolean("rsca_hold_up_start") then
	-- The start of Prosody, which util.async runs, waits; then the loop runs before it forks.
	note("held up", rsca.call("early", "called"));
end

local ticks = 0;
module:add_timer(0.001, function()
	ticks = ticks + 1;
	return 0.001;
end);

local function try()
	local thread = H.thread();
	note("process", process());

	-- In what util.async runs every wait gives way to the loop.
	local before = ticks;
	equal(manager:call("echo", "called"), "called", "call");
	equal(assert(manager:run("echo", "awaited")):await(), "awaited", "await");
	equal(rsca.sleep(0.01), true, "sleep");
	equal(ticks > before, true, "the loop goes on during waits");
	local heard = {};
	for response in manager:responses("count", "3") do
		heard[#heard + 1] = response;
	end
	equal(table.concat(heard, " "), "1 2 3", "responses");
	local response, err = manager:call("fail", "on purpose");
	equal(response, nil, "a failure");
	equal(tostring(err), "on purpose (E_ABORT)", "a failure");
	async.sleep(0.001);
	equal(manager:call("echo", "again"), "again", "call after async.sleep");

	-- Results and streams come to callbacks, on the loop's own thread.
	local wait, done = async.waiter(2);
	heard = {};
	assert(manager:run("where", "", function(_, where)
		equal(H.thread(), thread, "the thread of a result");
		equal(tonumber(where) ~= thread, H.pool ~= nil, "the thread of the action");
		done();
	end));
	assert(manager:subscribe("count", "3", function(_, bytes, final)
		equal(H.thread(), thread, "the thread of a response");
		heard[#heard + 1] = final and "final" or bytes;
		if final then
			done();
		end
	end));
	wait();
	equal(table.concat(heard, " "), "1 2 3 final", "subscribe");

	-- Where util.async runs nothing, and in a coroutine of one's own inside, a wait raises.
	wait, done = async.waiter();
	module:add_timer(0, function()
		local good, problem = pcall(rsca.call, "early");
		equal(good, false, "a wait in a timer");
		equal(tostring(problem):match("can't wait here: outside of what util.async runs") ~= nil, true, problem);
		done();
	end);
	wait();
	local good, problem = pcall(coroutine.wrap(function()
		rsca.call("early");
	end));
	equal(good, false, "a wait in a coroutine inside");
	equal(tostring(problem):match("can't wait here: outside of what util.async runs") ~= nil, true, problem);

	-- A call hits its time limit while the loop keeps ticking.
	if H.pool then
		before = ticks;
		response, err = manager:call("spinning");
		equal(response, nil, "the time limit");
		equal(err.name, "ERROR_TIMEOUT", "the time limit");
		equal(ticks > before + 1, true, "the loop goes on during a call that computes");
	end

	equal(tells, early, "results of the early calls of the pool");

	-- Another adapter is an error; stopped and started again it goes on.
	good, problem = pcall(rsca.set_adapter, { name = "x", may_wait = print, waiter = print });
	equal(good, false, "a second adapter");
	equal(tostring(problem):match("the adapter 'prosody' is set already") ~= nil, true, problem);
	adapter.stop();
	adapter.start();
	equal(manager:call("echo", "started again"), "started again", "call after a new start");
end

module:hook("server-started", function()
	module:add_timer(0, function()
		local runner = async.runner(try, {
			ready = function()
				-- The end comes with work in flight.
				assert(manager:run("lasting", "", function() end));
				assert(manager:subscribe("lasting", "", function() end));
				assert(rsca.run("early", "", function() end));
				note("done", problems);
			end;
			error = function(_, problem)
				note("problem", problem);
				note("done", problems + 1);
			end;
		});
		runner:run(true);
	end);
end);
