---@meta rsca
-- luacheck: ignore 212 241
--
-- What require "rsca" gives, for editors that read LuaCATS annotations. Nothing loads this file: add its folder to the
-- libraries of your workspace.
--
-- What holds for every function here:
--   * Misuse (a wrong type, a number out of range, text that is not UTF-8) raises an error. What can fail at run time
--     returns nil and an rsca.error.
--   * Seconds are numbers, whole or not, never below 0. Waiting is never shorter than was asked for.
--   * Everything is for the thread that runs this Lua state. Results of other threads arrive there, too.
--   * Whoever waits inside an action, a callback or a spawned function gives way: other work goes on. Elsewhere, in the
--     main program for one, waiting blocks the thread and delivers what is due meanwhile, unless an adapter knows a
--     better way there (rsca.set_adapter). Where neither is possible (a function that can't yield, such as a comparison
--     for table.sort; a coroutine of one's own) waiting raises.
--   * Once the Lua state is closing, every function that needs it raises.

---Run-time status and control: functions with a name, run by whoever knows the name.
---@class rsca
---@field _VERSION string "rsca MAJOR.MINOR.PATCH"
---@field status rsca.status statuses by name
---@field shared rsca.shared values that all who have this state's own manager share
---@field on_log? fun(level: rsca.level, message: string) hears what rsca.log is given; nil at first: it goes to the host
---Hears what a callback or a spawned function raised and nobody caught. At first it tells the host or, where that does
---not listen, writes one line to stderr, as is done too when a hook raises. nil: the host alone hears.
---@field on_error? fun(err: rsca.error)
local rsca = {}

---How waits wait on coroutines of the host's own, see rsca.set_adapter.
---@class rsca.adapter
---@field name string for messages: the host
---Asked on the thread and coroutine that is about to wait, outside of rsca's own coroutines and steps. true: it waits by
---a waiter; false: it blocks; a string: it may not wait here, and this says why. It can't wait itself.
---@field may_wait fun(): boolean|string
---Asked on the coroutine that waits, for two functions: the first, called there, returns once the second has been
---called. That one is called inside a step, so it must not resume the coroutine, only have it resumed later.
---@field waiter fun(): fun(), fun()
---Called when a script begins something, after rsca.loop(0) has said that nothing is pending: for a loop that is to end
---when there is nothing left to do, and not before. Inside steps, too; what it raises goes nowhere.
---@field pending? fun()

---@alias rsca.level
---| "error"
---| "warning"
---| "info"
---| "debug"

---What an action is made of. It may wait (ctx:sleep, rsca.call, request:await); computing for long holds up everything
---else in this Lua state. `args` is what the caller sent, "" if nothing. A function that takes no second parameter is
---not given one. It answers by what it returns:
---  * a string or a number, or nothing for "": S_OK and this response, after what ctx:report added
---  * response, status: the same with a success status of its own; a failure status makes the response its message
---  * nil, message [, status]: a failure, E_FAIL if no status says otherwise
---  * nil, err: somebody else's failure, passed on with its status and its message
---Raising an error is a failure too: E_FAIL, with a traceback.
---@alias rsca.action_function fun(args: string, ctx: rsca.ctx): rsca.answer, rsca.answer|rsca.error, integer?
---@alias rsca.answer string|number|nil

---Who hears how a call ended: a function, an object with a method ReportResult, or a callback of the host's. Called
---once per call, on a coroutine of its own, so it may wait. `response` is any bytes, and for a failure its message,
---followed by a traceback where there was one; `final` is true. What it returns may be a status; a failure is counted
---and changes nothing.
---@alias rsca.handler
---| fun(status: integer, response: string, final: boolean): integer?
---| rsca.handler_object
---| rsca.callback

---@class rsca.handler_object
---@field ReportResult fun(self: table, status: integer, response: string, final: boolean): integer?

---Who hears the responses of a subscription, see rsca.subscribe.
---@alias rsca.stream_handler
---| fun(status: integer, response: string, final: boolean): integer?
---| rsca.handler_object

---@class (exact) rsca.register_options
---@field help? string one line for people, in UTF-8
---@field replace? boolean also take the place of an action that another file registered
---@field time_limit? number seconds, see rsca.manager_options; math.huge: none

---What one call may have of its own.
---@class (exact) rsca.call_options
---@field time_limit? number seconds from its acceptance to its end, a stream's too; math.huge: none; otherwise the action's or the manager's

---`script` or `chunk` make a pool.
---@class (exact) rsca.manager_options
---@field script? string a file that each worker runs; its rsca.register makes the manager's actions
---@field chunk? string the same as Lua text
---@field workers? integer threads, each with a Lua state of its own: from 1 to 1024, otherwise as many as there are processors
---@field time_limit? number seconds from a call's acceptance to its end; of a stream, for each stretch that it runs without waiting. math.huge: none; otherwise 30 in a pool, none without
---@field memory_limit? integer bytes that a worker's state may have beyond what its script took: otherwise 64 MiB
---@field response_limit? integer bytes of one response; of a run, with all that it reports: otherwise 64 MiB
---@field drain? number seconds that m:shutdown() lets calls run on: otherwise 5
---@field response_bytes? integer bytes of all responses of more than 1 KiB that are being put together or wait to be delivered; a call that needs more fails: otherwise 4 times `response_limit`, at least 64 MiB
---@field queue_limit? integer how many calls may be accepted and not yet ended: from 1, otherwise 4096
---@field queue_bytes? integer how many bytes their arguments may have together: from 1, otherwise 64 MiB
---@field shared_bytes? integer how many bytes its shared values may take together: from 1, otherwise 64 MiB

---What rsca.repl takes.
---@class (exact) rsca.repl_options
---@field scripts? string[] files that are run first
---@field manager? rsca.manager the one that the commands speak to; otherwise this state's own
---@field env? table where chunks and scripts find their globals; otherwise _G
---@field history? string|false a file for what was typed, where lines are edited; otherwise what the variable RSCA_HISTORY names, or ~/.rsca_history. false: none
---@field greeting? string|false the first line; false: none

---What m:health tells.
---@class (exact) rsca.health
---@field healthy boolean whether it takes calls: it has not been shut down, and nobody has begun to
---@field idle boolean whether nothing is in flight
---@field in_flight integer calls and subscriptions that were accepted and have not ended
---@field workers integer of a pool: how many threads take calls; otherwise 0
---@field stuck integer of a pool: how many were set aside, because they don't come back from a C function; otherwise 0

---What m:stats tells.
---@class (exact) rsca.stats
---@field accepted integer calls and subscriptions accepted since the manager was made
---@field ended integer how many of those have ended
---@field in_flight integer how many have not
---@field failed_callbacks integer how many callbacks answered with a failure, or raised
---@field actions integer how many names are registered
---@field queued_bytes integer bytes of the arguments of what is in flight

---One line of rsca.running.
---@class (exact) rsca.call_info
---@field id integer its number, for cancel
---@field action string
---@field args string the first 63 bytes of its arguments
---@field age number seconds since it was accepted
---@field state "queued"|"running"|"waiting"
---@field registration boolean whether it may answer many times
---@field traceback? string where its Lua code is

---One line of rsca.list.
---@class (exact) rsca.action
---@field name string
---@field help string "" if it has none
---@field place string "FILE:LINE" where a Lua function begins; "[C]" for others

-- ---- Actions ----

---Makes a function an action of this state's own manager. The same file may register a name again: the new function
---takes over, and calls that have begun go on with the old one. Does not block.
---Raises if another file has registered the name and `replace` is not set.
---@param name string not empty, UTF-8 without a NUL byte
---@param options rsca.register_options may be left out: register(name, f)
---@param f rsca.action_function
---@return true? registered nil: it was refused, with ERROR_SHUTDOWN_IN_PROGRESS or E_OUTOFMEMORY
---@return rsca.error? err
---@overload fun(name: string, f: rsca.action_function): true?, rsca.error?
function rsca.register(name, options, f) end

---Takes a name away. Calls that were accepted are not touched. Does not block.
---@param name string
---@return true? unregistered nil: no action had that name, ERROR_NOT_FOUND
---@return rsca.error? err
function rsca.unregister(name) end

---Runs an action and waits until it has ended. Raises where waiting is not possible.
---@param name string
---@param args? string|number passed as text, UTF-8 without a NUL byte; otherwise ""
---@return string? response any bytes; nil: refused, or failed
---@return (integer|rsca.error)? status_or_err with a response: its status, if not S_OK; without: the error
---@param options? rsca.call_options
function rsca.call(name, args, options) end

---Queues a call of an action and returns at once; the action runs in a later step. With a callback, that is told how
---the call ended: exactly once, later, never from inside run. Without one, there is a request to wait for.
---Raises if a function stands where the arguments belong.
---@param name string
---@param args string|number? passed as text, UTF-8 without a NUL byte; nil: ""
---@param callback rsca.handler? may be left out: run(name, args)
---@param options? rsca.call_options
---@return integer? id number of the call, for rsca.cancel; nil: refused, the callback will not be called
---@return rsca.error? err
---@overload fun(name: string, args?: string|number): rsca.request?, rsca.error?
function rsca.run(name, args, callback, options) end

---Starts an action whose responses come one by one: every ctx:report, and what it returns if that is not empty, is one.
---The handler hears them in order, never two at a time, with S_OK and final false; then, with final true, the end once:
---S_FALSE, or a failure with its message. A failure status that it returns ends the subscription with ERROR_CANCELLED.
---Returns at once; the handler is never called from inside this. The handler goes with its manager.
---Raises if a function stands where the arguments belong.
---@param name string
---@param args string|number? passed as text, UTF-8 without a NUL byte; nil: ""
---@param handler rsca.stream_handler
---@return rsca.subscription? subscription nil: refused, the handler will not be called
---@return rsca.error? err
---@param options? rsca.call_options
function rsca.subscribe(name, args, handler, options) end

---The same for a loop: `for response in rsca.responses(name, args) do`. The iterator waits for the next response and
---raises where waiting is not possible. It raises an rsca.error when the action fails, as responses itself does when
---refused. Leaving the loop ends the subscription.
---@param name string
---@param args? string|number passed as text, UTF-8 without a NUL byte; otherwise ""
---@return fun(): string? next any bytes; nil: that was all
---@return nil
---@return nil
---@return rsca.subscription subscription closed by the generic for
---@param options? rsca.call_options
function rsca.responses(name, args, options) end

---Asks a call to end. One that waits, or has not begun, ends with ERROR_CANCELLED; one that is computing can ask
---ctx:cancelled(), and is stopped when the grace is over. Does not block.
---@param id integer number of the call, as run returned it
---@return true? asked nil: there is no such call any more, ERROR_NOT_FOUND
---@return rsca.error? err
---@param grace? number seconds that code which is running may go on, otherwise 1; then it is made to raise
function rsca.cancel(id, grace) end

---What is in flight in this state's own manager, oldest first.
---@return rsca.call_info[]? calls nil: E_OUTOFMEMORY
---@return rsca.error? err
---@nodiscard
function rsca.running() end

---All actions of this state's own manager.
---@return rsca.action[]? actions ordered by name; nil: E_OUTOFMEMORY
---@return rsca.error? err
---@nodiscard
function rsca.list() end

-- ---- Delivery ----

---Runs what is due until nothing is pending: no call of this state, no coroutine that waits, no result on its way.
---Blocks meanwhile. Raises inside actions, callbacks and spawned functions.
---@param seconds? number the longest it may take; otherwise there is no limit
---@return boolean finished false: the time is over and something is still pending
function rsca.loop(seconds) end

---Blocks until something is due, and runs it; a signal ends the wait, too. Raises inside actions, callbacks and spawned
---functions.
---@param seconds? number the longest it may take; otherwise there is no limit
---@return integer ran how many pieces of work were run, perhaps none
function rsca.wait(seconds) end

---Runs what is due now and never blocks; what this work queues is left for the next step. For a loop that watches
---rsca.fd(). Raises inside actions, callbacks and spawned functions.
---@param budget? integer how many pieces of work at most; 0 or nothing: all
---@return integer ran how many were run
function rsca.step(budget) end

---A descriptor for a loop to watch for reading; not to be read or closed.
---@return integer? fd nil: the process can't open any more files
---@return rsca.error? err
---@nodiscard
function rsca.fd() end

---How long a loop may sleep before it calls rsca.step, if the descriptor does not become readable first.
---@return number? seconds 0: not at all; nil: as long as it likes
---@nodiscard
function rsca.timeout() end

---Waits for some time. Raises where waiting is not possible.
---@param seconds number
---@return true? slept nil: the coroutine is being closed and waits no more, ERROR_CANCELLED; or E_OUTOFMEMORY
---@return rsca.error? err
function rsca.sleep(seconds) end

---Runs f(...) from the next step on, on a coroutine of its own, which may wait. What it returns is dropped; what it
---raises goes to rsca.on_error. Does not block.
---@param f fun(...: any)
---@param ... any what f is called with
function rsca.spawn(f, ...) end

---Puts coroutine.create, wrap, resume, close and xpcall that know of time limits and cancels in place of Lua's own, so
---that these reach code in coroutines that scripts make. The states of workers have them anyway.
function rsca.guard() end

---Says how call, await, sleep and responses wait on coroutines of a host with an event loop: they give way there, as
---they do on rsca's own. rsca.adapter.luv, rsca.adapter.cqueues and rsca.adapter.prosody say it for their hosts.
---Raises if an adapter is set already: a Lua state has one.
---@param adapter rsca.adapter? nil: none any more, waits block
function rsca.set_adapter(adapter) end

---@class (exact) rsca.after_fork_options
---@field keep? boolean true: calls that are queued are kept, those that were running end with ERROR_CANCELLED

---For the child of a fork, before it does anything else with rsca. By itself the child drops what it inherited: calls end
---there and no callback of the parent's is called; coroutines that wait, but for actions, get nil and an error. With
---`keep`, a program that has become a daemon goes on as it was. Either way rsca.fd() is to be watched anew.
---@param options? rsca.after_fork_options
---@return boolean? done false: there was nothing to inherit; nil: too late to keep it, ERROR_INVALID_STATE
---@return rsca.error? err
function rsca.after_fork(options) end

---Opens the prompt of `rsca repl` on standard input and standard output, and returns when that is left; what is in flight
---then goes on. Meanwhile it runs what is due. Outside of the program rsca lines are those of the terminal, without an
---editor. Where input or output is no terminal there is no prompt; lines are carried out one after the other, and what
---they have asked for is waited for. On a terminal it calls rsca.guard, and until it is left SIGINT is for what is typed.
---Raises inside actions, callbacks and spawned functions, and where a prompt is open already.
---@param options? rsca.repl_options
---@return boolean good false: there was no terminal, and an error
function rsca.repl(options) end

-- ---- Managers ----

---A new manager, beside this state's own: with names and a queue of its own. Without a script it is stepped together
---with this state; with one it is a pool: its actions run on threads of their own, in Lua states that have run the
---script, and their results come here when this state steps. What workers log, and errors that nobody hears of, come to
---rsca.on_log and rsca.on_error of this state.
---@param options? rsca.manager_options
---@return rsca.manager? manager nil: E_OUTOFMEMORY; ERROR_NOT_FOUND: the script can't be read; E_FAIL: it raised, or does not compile
---@return rsca.error? err
---@nodiscard
function rsca.manager(options) end

---The manager that the functions of this module speak to. In a host, the one that the host has opened the state with.
---Raises, as these functions do, once it has been released or closed.
---@return rsca.manager
---@nodiscard
function rsca.own_manager() end

-- ---- Statuses and hooks ----

---What a status means, for people.
---@param status integer of 32 bits, signed or unsigned
---@return string text "NAME (0xNUMBER): meaning"; for one without a name "0xNUMBER: ..."
---@nodiscard
function rsca.describe(status) end

---@param status integer of 32 bits, signed or unsigned
---@return boolean failed whether it is a failure; all others are successes
---@nodiscard
function rsca.failed(status) end

---Hands a message to rsca.on_log, in place, or where that is nil to the host; where that does not listen, to nobody.
---Raises what the hook raises.
---@param level rsca.level
---@param message any handed on as tostring gives it
function rsca.log(level, message) end

---A manager as a Lua object: a set of actions and their queue. A state has one object per manager. Anything but close
---raises after it was closed or released.
---
---`local m <close> = ...` closes it at the end of the block. It is not collected while calls are in flight, nor while
---the host holds the manager and it has actions of this state.
---@class rsca.manager
local manager = {}

---As rsca.register, on this manager.
---@param name string not empty, UTF-8 without a NUL byte
---@param options rsca.register_options may be left out: m:register(name, f)
---@param f rsca.action_function
---@return true? registered nil: it was refused, with ERROR_SHUTDOWN_IN_PROGRESS or E_OUTOFMEMORY
---@return rsca.error? err
---@overload fun(self: rsca.manager, name: string, f: rsca.action_function): true?, rsca.error?
function manager:register(name, options, f) end

---As rsca.unregister, on this manager.
---@param name string
---@return true? unregistered nil: no action had that name, ERROR_NOT_FOUND
---@return rsca.error? err
function manager:unregister(name) end

---As rsca.call, on this manager: waits.
---@param name string
---@param args? string|number passed as text, UTF-8 without a NUL byte; otherwise ""
---@return string? response any bytes; nil: refused, or failed
---@return (integer|rsca.error)? status_or_err with a response: its status, if not S_OK; without: the error
---@param options? rsca.call_options
function manager:call(name, args, options) end

---As rsca.run, on this manager: does not block.
---@param name string
---@param args string|number? passed as text, UTF-8 without a NUL byte; nil: ""
---@param callback rsca.handler? may be left out: m:run(name, args)
---@param options? rsca.call_options
---@return integer? id number of the call, for m:cancel; nil: refused, the callback will not be called
---@return rsca.error? err
---@overload fun(self: rsca.manager, name: string, args?: string|number): rsca.request?, rsca.error?
function manager:run(name, args, callback, options) end

---As rsca.subscribe, on this manager.
---@param name string
---@param args string|number? passed as text, UTF-8 without a NUL byte; nil: ""
---@param handler rsca.stream_handler
---@return rsca.subscription? subscription nil: refused, the handler will not be called
---@return rsca.error? err
---@param options? rsca.call_options
function manager:subscribe(name, args, handler, options) end

---As rsca.responses, on this manager: the iterator waits, and raises what goes wrong.
---@param name string
---@param args? string|number passed as text, UTF-8 without a NUL byte; otherwise ""
---@return fun(): string? next any bytes; nil: that was all
---@return nil
---@return nil
---@return rsca.subscription subscription closed by the generic for
---@param options? rsca.call_options
function manager:responses(name, args, options) end

---As rsca.cancel, for a call of this manager. Numbers of other managers mean nothing here.
---@param id integer number of the call, as m:run returned it
---@return true? asked nil: there is no such call any more, ERROR_NOT_FOUND
---@return rsca.error? err
---@param grace? number seconds that code which is running may go on, otherwise 1; then it is made to raise
function manager:cancel(id, grace) end

---What is in flight, oldest first. Workers are asked where their calls are: blocks for 50 ms at most.
---@return rsca.call_info[]? calls nil: E_OUTOFMEMORY
---@return rsca.error? err
---@nodiscard
function manager:running() end

---All actions of this manager.
---@return rsca.action[]? actions ordered by name; nil: E_OUTOFMEMORY
---@return rsca.error? err
---@nodiscard
function manager:list() end

---Whether the manager takes calls, and whether it has something to do. Whoever asks inside an action counts as in
---flight. Does not block.
---@return rsca.health health
---@nodiscard
function manager:health() end

---What the manager has done, and what it holds. Does not block.
---@return rsca.stats stats
---@nodiscard
function manager:stats() end

---The shared values of this manager. Objects for the same manager are equal, and keep it alive.
---@return rsca.shared shared
---@nodiscard
function manager:shared() end

---Refuses new calls from here on, with ERROR_SHUTDOWN_IN_PROGRESS, and ends what is in flight: registrations with
---ERROR_CANCELLED; calls by themselves, or with ERROR_CANCELLED once the manager has waited long enough (5 seconds, or
---what its `drain` says). Outside of actions and callbacks it blocks until all that has ended; inside, it
---returns at once. May be said again.
---@param immediate? boolean true: calls, too, end at once
---@return boolean done false: what is in flight ends in the following steps
---@return rsca.call_info[] cut what was in flight when a shutdown began to cut, without tracebacks
function manager:shutdown(immediate) end

---Gives the manager back, with every reference that the script took by AddRef. One that rsca.manager made is shut down
---first: what is in flight ends with ERROR_CANCELLED. Harmless when said again.
function manager:close() end

---The documented way to run an action: answers with a status, never nil. Raises only for values of a wrong type.
---Does not block; the callback is told later, never from inside this.
---@param name string|number? a name that is nil or empty is E_INVALIDARG
---@param args string|number? nil: ""
---@param callback rsca.handler? nil is E_INVALIDARG
---@return integer status S_OK: queued, and the callback is told exactly once; any other: refused, and it is not
function manager:RunCustomAction(name, args, callback) end

---The documented way to subscribe, one registration per name: answers with a status, never nil. Raises only for values
---of a wrong type. Does not block; the callback is never called from inside this.
---@param name string|number? a name that is nil or empty is E_INVALIDARG
---@param args string|number? nil: ""
---@param callback rsca.stream_handler|rsca.callback2? nil is E_INVALIDARG
---@return integer status S_OK: queued; ERROR_ALREADY_EXISTS: the name is registered here; any other: refused as well
function manager:RegisterCustomActionCallback(name, args, callback) end

---Ends the registration that RegisterCustomActionCallback made. The callback still hears the end, S_FALSE, in a later
---step; the name is free at once. Raises only for a value of a wrong type. Does not block.
---@param name string|number? a name that is nil or empty is E_INVALIDARG
---@return integer status S_OK: it is ending; ERROR_NOT_FOUND: there is no registration of that name
function manager:UnregisterCustomActionCallback(name) end

---Takes one reference more, which Release, close or the collector gives back.
---@return integer count how many there are now, the host's included
function manager:AddRef() end

---Gives back one reference: of those that AddRef took, or, when these are gone, the object's own, which closes it.
---@return integer count how many there are left; 0: the manager is gone
function manager:Release() end

---Values by key that all Lua states of a manager share, on whatever threads, and its host: rsca/shared.h. Every method is
---atomic, and none waits. Keys are strings of any bytes, but not empty. A value is a copy; integers stay integers and
---floats floats. One whose time is over is not there any more. All raise once the manager was closed or released, and
---work on after a shutdown.
---@class rsca.shared
local shared = {}

---@alias rsca.shared_value string|number|boolean

---@param key string
---@return rsca.shared_value? value nil: it is not there
---@nodiscard
function shared:get(key) end

---Puts a value in the place of any other.
---@param key string
---@param value rsca.shared_value? nil removes
---@param seconds? number how long it is there; otherwise until it is replaced or removed
---@return true? set nil: there is no room, E_OUTOFMEMORY; nothing has changed
---@return rsca.error? err
function shared:set(key, value, seconds) end

---Adds to a number; a key that is not there counts as 0. The sum of two integers is an integer, and wraps around.
---@param key string
---@param number number
---@param seconds? number how long a new key is there; one that was there before keeps its time
---@return number? sum nil: what is there is no number, ERROR_INVALID_DATA; or there is no room, E_OUTOFMEMORY
---@return rsca.error? err
function shared:add(key, number, seconds) end

---Sets a value only where the expected one is there. They are compared as by ==, but NaN is equal to NaN.
---@param key string
---@param expected rsca.shared_value? nil: nothing is there
---@param value rsca.shared_value? nil removes
---@param seconds? number as for set
---@return boolean? done false: something else is there; nil: there is no room, E_OUTOFMEMORY
---@return (rsca.shared_value|rsca.error)? current_or_err with false: what is there; with nil: the error
function shared:compare_and_set(key, expected, value, seconds) end

---All keys that are there at one moment.
---@return string[]? keys ordered by their bytes; nil: E_OUTOFMEMORY
---@return rsca.error? err
---@nodiscard
function shared:keys() end

---Custom actions of somebody else's manager, an IPmCustomActions; scripts get it from the host. Calls have no number
---there, so they can't be cancelled. What that manager reports on another thread arrives on this one. Anything but
---close raises after it was closed or released.
---@class rsca.custom_actions
local custom_actions = {}

---As rsca.call: waits.
---@param name string
---@param args? string|number passed as text, UTF-8 without a NUL byte; otherwise ""
---@return string? response any bytes; nil: refused, or failed; RPC_E_DISCONNECTED: it was never reported
---@return (integer|rsca.error)? status_or_err with a response: its status, if not S_OK; without: the error
function custom_actions:call(name, args) end

---As rsca.run. How long the manager takes to accept the call is its own affair.
---@param name string
---@param args string|number? passed as text, UTF-8 without a NUL byte; nil: ""
---@param callback rsca.handler may be left out: run(name, args)
---@return true? accepted nil: refused, the callback will not be called
---@return rsca.error? err
---@overload fun(self: rsca.custom_actions, name: string, args?: string|number): rsca.request?, rsca.error?
function custom_actions:run(name, args, callback) end

---As m:RunCustomAction: answers with the status that the manager gave.
---@param name string|number? a name that is nil or empty is E_INVALIDARG
---@param args string|number? nil: ""
---@param callback rsca.handler? nil is E_INVALIDARG
---@return integer status a success: accepted, and the callback is told once; a failure: refused, and it is not
function custom_actions:RunCustomAction(name, args, callback) end

---Takes one reference more, which Release, close or the collector gives back.
---@return integer count how many there are now, as the host counts
function custom_actions:AddRef() end

---Gives back one reference: of those that AddRef took, or, when these are gone, the object's own, which closes it.
---@return integer count how many there are left, as the host counts
function custom_actions:Release() end

---Gives back the object's reference, and all that the script took. Harmless when said again.
function custom_actions:close() end

---The same for registrations: an IPmCustomActions2, a session of somebody else's manager, which has at most one
---registration of a name. That manager can't be made to wait: one that reports much faster than the script takes hears
---ERROR_BUSY, and the subscription ends so.
---@class rsca.custom_actions2
local custom_actions2 = {}

---As rsca.subscribe. The id of such a subscription is 0.
---@param name string
---@param args string|number? passed as text, UTF-8 without a NUL byte; nil: ""
---@param handler rsca.stream_handler
---@return rsca.subscription? subscription nil: refused, with ERROR_ALREADY_EXISTS where the name is registered here
---@return rsca.error? err
function custom_actions2:subscribe(name, args, handler) end

---As rsca.responses: the iterator waits, and raises what goes wrong.
---@param name string
---@param args? string|number passed as text, UTF-8 without a NUL byte; otherwise ""
---@return fun(): string? next any bytes; nil: that was all
---@return nil
---@return nil
---@return rsca.subscription subscription closed by the generic for
function custom_actions2:responses(name, args) end

---As m:RegisterCustomActionCallback: answers with the status that the manager gave. An rsca.callback2 goes to it as it
---is, and is called when and where the manager likes.
---@param name string|number? a name that is nil or empty is E_INVALIDARG
---@param args string|number? nil: ""
---@param callback rsca.stream_handler|rsca.callback2? nil is E_INVALIDARG
---@return integer status a success: accepted; a failure: refused, and the callback is not called
function custom_actions2:RegisterCustomActionCallback(name, args, callback) end

---As m:UnregisterCustomActionCallback: answers with the status that the manager gave.
---@param name string|number? a name that is nil or empty is E_INVALIDARG
---@return integer status S_OK: it is ending
function custom_actions2:UnregisterCustomActionCallback(name) end

---Takes one reference more, which Release, close or the collector gives back.
---@return integer count how many there are now, as the host counts
function custom_actions2:AddRef() end

---Gives back one reference: of those that AddRef took, or, when these are gone, the object's own, which closes it.
---@return integer count how many there are left, as the host counts
function custom_actions2:Release() end

---Gives back the object's reference, and all that the script took. Harmless when said again.
function custom_actions2:close() end

---A call on its way, made by run without a callback. Dropping it does not stop the call.
---@class rsca.request
---@field id integer number of the call, for cancel
local request = {}

---Waits until the call has ended; may be asked any number of times, by any number of coroutines. Raises where waiting
---is not possible.
---@param seconds? number limit of this wait alone, after which the call goes on; otherwise there is none
---@return string? response any bytes; nil: the call failed, or the limit was reached (WAIT_TIMEOUT)
---@return (integer|rsca.error)? status_or_err with a response: its status, if not S_OK; without: the error
function request:await(seconds) end

---Asks the call to end, as rsca.cancel does.
---@param grace? number seconds that code which is running may go on, otherwise 1; then it is made to raise
---@return true? asked nil: it has ended already, ERROR_NOT_FOUND
---@return rsca.error? err
function request:cancel(grace) end

---Responses on their way, see rsca.subscribe. `local s <close> = ...` closes it at the end of the block. The handler is
---called whether or not anybody keeps this object.
---@class rsca.subscription
---@field id integer number of its call
local subscription = {}

---Ends it: no response follows, but the handler still hears the end, S_FALSE, in a later step. Does not block.
---@return boolean open whether it was open until now
function subscription:close() end

---What an action is told about the call that it answers. When that has ended, all of it raises, but for id.
---@class rsca.ctx
---@field id integer number of the call, as its caller knows it
---@field name string the action's name
---@field args string what the caller sent, as the action got it
local ctx = {}

---Adds to the response: who runs the action hears all of it in one, at the end. To who subscribed it is one response,
---sent now; where too many of these have not been taken yet, it waits until there is room.
---@param bytes string|number any bytes; a number as text
---@return true? added nil: the call was ended and nobody will hear, ERROR_CANCELLED; or E_OUTOFMEMORY
---@return rsca.error? err
function ctx:report(bytes) end

---Waits, as rsca.sleep does. A call that is cancelled meanwhile does not return from it: its <close> variables run.
---@param seconds number
---@return true? slept nil: the action is being closed and waits no more, ERROR_CANCELLED; or E_OUTOFMEMORY
---@return rsca.error? err
function ctx:sleep(seconds) end

---For an action that computes: whether somebody has asked the call to end, or a shutdown has.
---@return boolean cancelled
---@nodiscard
function ctx:cancelled() end

---A callback of the host's, as a Lua object; scripts get it from the host and pass it wherever a callback is expected.
---Anything but close raises after it was closed or released.
---@class rsca.callback
local callback = {}

---Calls the host's method, on this thread; how long that takes is the host's affair.
---@param status integer of 32 bits, signed or unsigned
---@param bytes? string the response, any bytes, less than 4 GiB; otherwise none
---@return integer status what the method returned
function callback:ReportResult(status, bytes) end

---Takes one reference more, which Release, close or the collector gives back.
---@return integer count how many there are now, as the host counts
function callback:AddRef() end

---Gives back one reference: of those that AddRef took, or, when these are gone, the object's own, which closes it.
---@return integer count how many there are left, as the host counts
function callback:Release() end

---Gives back the object's reference, and all that the script took. Harmless when said again.
function callback:close() end

---A callback of the host's that hears of registrations, as a Lua object; scripts get it from the host and pass it to
---RegisterCustomActionCallback of a manager, which then calls it directly. Anything but close raises after it was
---closed or released.
---@class rsca.callback2
local callback2 = {}

---Calls the host's method, on this thread; how long that takes is the host's affair. Raises where `final` can't be
---said: in the documented form of the method it is what the status says.
---@param status integer of 32 bits, signed or unsigned; S_OK: one response of many
---@param bytes? string the response, any bytes, less than 4 GiB; otherwise none
---@param final? boolean whether nothing follows; otherwise whether the status is another than S_OK
---@return integer status what the method returned; a failure: it wants no more
function callback2:ReportResult(status, bytes, final) end

---Takes one reference more, which Release, close or the collector gives back.
---@return integer count how many there are now, as the host counts
function callback2:AddRef() end

---Gives back one reference: of those that AddRef took, or, when these are gone, the object's own, which closes it.
---@return integer count how many there are left, as the host counts
function callback2:Release() end

---Gives back the object's reference, and all that the script took. Harmless when said again.
function callback2:close() end

---Why something failed. tostring(err) is "message (NAME)". As an error to raise it keeps its status.
---@class rsca.error
---@field status integer a failure status, as an unsigned number of 32 bits
---@field name string the status's name, or "0xNUMBER"
---@field message string for people
---@field traceback? string "stack traceback: ...", where a Lua error was raised
---@field action? string name of the action that failed, where there was one

---Statuses by name, each an unsigned number of 32 bits; from 0x80000000 on they are failures.
---@class rsca.status
---@field S_OK integer 0x00000000: it worked; of a run: it is queued
---@field S_FALSE integer 0x00000001: a success, but nothing was done or is left to do
---@field E_FAIL integer 0x80004005: the action raised an error, or gave no other reason
---@field E_INVALIDARG integer 0x80070057: an argument is missing, empty or not one of the allowed
---@field E_OUTOFMEMORY integer 0x8007000E: there is not enough memory
---@field E_PENDING integer 0x8000000A: not ended yet, the end is told later
---@field RPC_E_DISCONNECTED integer 0x80010108: the Lua state, or what else the action runs in, is closed
---@field ERROR_BUSY integer 0x800700AA: the queue is full; later there may be room
---@field ERROR_ALREADY_EXISTS integer 0x800700B7: the name is in use
---@field ERROR_NO_UNICODE_TRANSLATION integer 0x80070459: text that is not well formed
---@field ERROR_SHUTDOWN_IN_PROGRESS integer 0x8007045B: the manager takes no more calls
---@field ERROR_NOT_FOUND integer 0x80070490: there is nothing of that name or number
---@field ERROR_INVALID_DATA integer 0x8007000D: what is there, or was given, is of the wrong kind
---@field ERROR_CANCELLED integer 0x800704C7: somebody cancelled the call, or a shutdown cut it
---@field ERROR_TIMEOUT integer 0x800705B4: the call took longer than it may
---@field WAIT_TIMEOUT integer 0x80070102: the wait took longer than it may; the call goes on
---@field ERROR_POSSIBLE_DEADLOCK integer 0x8007046B: it would have waited for itself
---@field E_NOTIMPL integer 0x80004001: for actions: this can't be done here
---@field E_ABORT integer 0x80004004: for actions: given up half-way
---@field E_UNEXPECTED integer 0x8000FFFF: for actions: this should not have happened
---@field E_ACCESSDENIED integer 0x80070005: for actions: the caller is not allowed to
---@field ERROR_FILE_NOT_FOUND integer 0x80070002: for actions: a file is missing
---@field ERROR_NOT_SUPPORTED integer 0x80070032: for actions: not on this system
---@field ERROR_INVALID_STATE integer 0x8007139F: for actions: not at this time

return rsca
