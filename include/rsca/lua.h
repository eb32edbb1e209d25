/*
 * rsca in a host's own Lua states.
 *
 *   lua_State *L = luaL_newstate();
 *   luaL_openlibs(L);
 *   rsca_lua_open(L, manager);       // require "rsca" now speaks to `manager`
 *   luaL_dofile(L, "actions.lua");   // registers its actions there
 *   rsca_manager_run(manager, ...);  // runs them
 *   rsca_manager_step(manager, 0);   // on the thread of L
 *   lua_close(L);
 *
 * Threads: a function that takes a lua_State is called on the thread that may use it. What it hands out may go
 * anywhere.
 * Errors: none of these raises a Lua error, and none needs a protected call around it; luaopen_rsca_core is a
 * lua_CFunction, and raises. A state that is NULL is E_INVALIDARG, and so is what it is to push, or a place for what is
 * asked for.
 * Stack: what is pushed is said; beyond that the stack is left as it was.
 *
 * After lua_close every object handed out is still good for Release; what would run in the closed state answers
 * RPC_E_DISCONNECTED.
 */
#ifndef RSCA_LUA_H
#define RSCA_LUA_H

#include <Wpframework.h>
#include <rsca/export.h>
#include <rsca/manager.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Lua's own, declared here so that its headers may come before or after, in C and in C++. */
typedef struct lua_State lua_State;

/*
 * Makes `require "rsca"` in this state find this library's own copy, and `manager` the manager that rsca.register and
 * its kin speak to. Where `manager` is NULL the state gets a new one. The package library must be open.
 *
 * `manager`: Held until lua_close. Stepping it steps this state too: only on the thread of L from here on.
 *
 * S_OK, also when said again for the same manager; RSCA_E_ALREADY_EXISTS: the state has another manager;
 * E_INVALIDARG: L is NULL, or has no package library; E_OUTOFMEMORY.
 */
RSCA_API HRESULT rsca_lua_open(lua_State *L, rsca_manager *manager);

/* What the workers of a pool run. One of path and text. */
typedef struct rsca_lua_script {
  const char *path; /* a file; Copied is what it says now */
  const char *text; /* Lua text; Copied */
  size_t size;      /* bytes of text; 0: up to its NUL */
  const char *name; /* for messages; may be NULL: the path, or "script". Copied */
  /* Called in each new state, on the worker's thread (the first time on one for that alone), after the
   * standard libraries and rsca, before the script: for modules of the host's. It may raise; what it leaves on the
   * stack is dropped. May be NULL. */
  int (*open_state)(lua_State *L, void *user);
  void *user;                    /* Held: passed to open_state */
  void (*free_user)(void *user); /* when no state can be made any more; on any thread. May be NULL */
} rsca_lua_script;

/*
 * Gives a pool, a manager with workers, its script, before the first call. The first worker's state is made, on a
 * thread of its own, and runs it; this waits for that, as long as the manager's time limit says and a little more. What
 * it registers (rsca.register) are the manager's actions from here on. Each other worker runs the same text when it
 * starts, and may register the same names only. What the script calls while it is run is queued, and done afterwards;
 * it can't wait for that. Its states have the standard libraries; `print` goes to rsca.log; debug.sethook and os.exit
 * are not there.
 *
 *   message  the size bytes there get what went wrong, with a traceback, NUL-terminated; "" on success and where
 *            the status says all. May be NULL where size is 0
 *
 * S_OK; E_INVALIDARG (no pool, neither or both of path and text); RSCA_E_NOT_FOUND: the file can't be read; E_FAIL: the
 * script does not compile, or raised; RSCA_E_INVALID_STATE: it has a script, or there was a call;
 * RSCA_E_SHUTDOWN_IN_PROGRESS; E_OUTOFMEMORY; RSCA_E_TIMEOUT: it did not come back in time, in something that can't be
 * stopped. On a failure the manager has no script and no actions of it, and calls of these end with RSCA_E_CANCELLED;
 * `user` stays the caller's, but after RSCA_E_TIMEOUT: then free_user is called when the script has come back, and the
 * manager takes no other script.
 */
RSCA_API HRESULT rsca_lua_load_script(rsca_manager *manager, const rsca_lua_script *script, char *message, size_t size);

/* Makes what rsca runs on this thread, an action, a handler or a spawned function, raise: as a time limit would.
 * Harmless where nothing runs. Async-signal-safe: for a handler of SIGINT. */
RSCA_API void rsca_lua_interrupt(void);

/*
 * What a state has to say to its host; each may be NULL. Called on the thread of the state: those of workers at the
 * same time. They may call anything of a manager, but may not use the state or raise. Strings are Borrowed for the
 * call.
 */
typedef struct rsca_lua_hooks {
  /* What the script gives to rsca.log, where it has set no rsca.on_log of its own.
   *
   *   level    "error", "warning", "info" or "debug"
   *   message  size bytes, whatever they are, and a NUL
   */
  void (*on_log)(void *user, const char *level, const char *message, size_t size);

  /* An error that nobody else hears of, in place of the line on stderr: where the script has set no rsca.on_error of
   * its own; and what that one raises.
   *
   *   status   a failure
   *   action   the name of the action that it is about; NULL: none
   *   message  size bytes and a NUL; where Lua code raised, "\nstack traceback:\n..." follows
   */
  void (*on_error)(void *user, HRESULT status, const char *action, const char *message, size_t size);

  void *user; /* passed to both; must last until lua_close has returned, or other hooks are set */
} rsca_lua_hooks;

/* Sets the hooks of a state in which rsca is open; of a worker, in its open_state. `hooks`: Copied; NULL: none.
 * S_OK; E_INVALIDARG: L is NULL; RSCA_E_NOT_FOUND: rsca is not open in this state. */
RSCA_API HRESULT rsca_lua_set_hooks(lua_State *L, const rsca_lua_hooks *hooks);

/* The manager of this state. `*out`: Returned (+1), NULL on failure. S_OK; RSCA_E_NOT_FOUND: rsca is not open there;
 * E_INVALIDARG. */
RSCA_API HRESULT rsca_lua_own_manager(lua_State *L, rsca_manager **out);

/*
 * Pushes `manager` as a Lua object: always the same one in a state. Held by the object.
 * S_OK: one value was pushed. Otherwise none: E_INVALIDARG, RSCA_E_NOT_FOUND (rsca is not open in this state),
 * E_OUTOFMEMORY.
 */
RSCA_API HRESULT rsca_lua_push_manager(lua_State *L, rsca_manager *manager);

/* The manager of the Lua object at `index`. `*out`: Returned (+1), NULL on failure. While the caller holds it, the
 * state keeps the object and all its Lua actions alive, unless the script closes or releases it. S_OK; E_INVALIDARG: it
 * is not a manager, or closed. */
RSCA_API HRESULT rsca_lua_to_manager(lua_State *L, int index, rsca_manager **out);

/*
 * Pushes somebody's custom actions as a Lua object: always the same one in a state. Held by the object. One of rsca's
 * own managers, or its default session, comes out as that manager; anybody else's implementation as an object with the
 * methods call, run and RunCustomAction, or subscribe, responses, RegisterCustomActionCallback and
 * UnregisterCustomActionCallback, and AddRef, Release and close.
 *
 * It is called on the thread of L. It may report from any thread, at once, late, twice (the second is dropped, S_FALSE)
 * or, by releasing the callback, never (RPC_E_DISCONNECTED). A registration that reports faster than the script takes
 * is answered RSCA_E_BUSY once 4096 responses or 16 MiB wait, and ends so.
 *
 * S_OK: one value was pushed. Otherwise none: E_INVALIDARG, RSCA_E_NOT_FOUND, E_OUTOFMEMORY.
 */
RSCA_API HRESULT rsca_lua_push_custom_actions(lua_State *L, IPmCustomActions *actions);
RSCA_API HRESULT rsca_lua_push_custom_actions2(lua_State *L, IPmCustomActions2 *actions);

/*
 * Pushes a native callback as a Lua object that scripts can pass wherever a callback is expected, with the methods
 * ReportResult(status [, bytes]), AddRef and Release. Held by the object; always the same object in a state.
 * S_OK: one value was pushed. Otherwise none: E_INVALIDARG, RSCA_E_NOT_FOUND, E_OUTOFMEMORY.
 */
RSCA_API HRESULT rsca_lua_push_callback(lua_State *L, ICustomActionResultCallback *callback);

/*
 * The same for a callback that hears of registrations: an object that scripts can pass to RegisterCustomActionCallback,
 * of a manager or of somebody's custom actions, with the methods ReportResult(status [, bytes [, final]]), AddRef,
 * Release and close. It is registered as it is: the manager calls it directly, on whatever thread that reports.
 *
 * In the form of ReportResult that has no parameter for it, `final` is what the status says, and can't say otherwise;
 * where it is left out, it is what the status says in either form.
 */
RSCA_API HRESULT rsca_lua_push_callback2(lua_State *L, ICustomAction2ResultCallback *callback);

/*
 * A native callback for the handler at `index`: a function or a table with a ReportResult method, called with
 * (status, response, final) when its state steps; or the object of a native callback, which gives that callback.
 * `*out`: Returned (+1), NULL on failure. Its methods may be called from any thread; ReportResult copies the bytes
 * and answers S_OK, E_INVALIDARG, E_OUTOFMEMORY, or RPC_E_DISCONNECTED once the state has closed. The last Release,
 * on any thread, lets the handler go when the state steps.
 *
 * S_OK; E_INVALIDARG: not a handler; RSCA_E_NOT_FOUND: rsca is not open in this state; E_OUTOFMEMORY.
 */
RSCA_API HRESULT rsca_lua_to_callback(lua_State *L, int index, ICustomActionResultCallback **out);

/* What require calls. Returns the module table of the state, the same every time. */
RSCA_API int luaopen_rsca_core(lua_State *L);

#ifdef __cplusplus
}
#endif

#endif
