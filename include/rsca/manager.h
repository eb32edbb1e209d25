/*
 * A manager: named actions, and the calls that run them.
 *
 * For a host with its own loop:
 *
 *   rsca_manager *manager;
 *   rsca_manager_create(NULL, &manager);
 *   rsca_manager_register(manager, "ping", NULL, ping, NULL, NULL);
 *   rsca_manager_run(manager, "ping", "", on_result, NULL, NULL);   // queued
 *   rsca_manager_step(manager, 0);                                  // ping runs, then on_result
 *   rsca_manager_release(manager);
 *
 * Text is UTF-8 here and UTF-16 at the interfaces (Wpframework.h); either way strict.
 *
 * Words: Copied, Borrowed (for the call), Held (a reference is kept until it is given back), Returned (+1) (the caller
 * releases it).
 *
 * Threads: every function may be called from any thread, from an action and from a callback, unless it says otherwise.
 * None blocks unless it says so. Callbacks and actions run with no lock held: on the thread that steps, or with workers
 * on one of these. What ends at its time limit, or at the end of a grace, may be told on a thread of the manager's own.
 *
 * A manager that is NULL is E_INVALIDARG; what returns no HRESULT does nothing then, and returns 0 or NULL, and -1 for
 * a descriptor or a time.
 *
 * Reference counting: the last rsca_manager_release, or Release of an interface of the manager, ends what is still in
 * flight with RSCA_E_CANCELLED and then frees the manager.
 */
#ifndef RSCA_MANAGER_H
#define RSCA_MANAGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <Wpframework.h>
#include <rsca/call.h>
#include <rsca/export.h>
#include <rsca/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rsca_manager rsca_manager;

/* All zero is a good configuration; a zero in a field means the value in brackets. */
typedef struct rsca_config {
  uint32_t queue_limit;   /* calls accepted and not yet ended; what its own workers' threads ask for, in actions and
                             callbacks, has half of the places [4096] */
  size_t queue_bytes;     /* bytes of their arguments; likewise [64 MiB] */
  uint32_t drain_ms;      /* how long a Shutdown(FALSE) lets calls end before it cuts them [5000] */
  uint32_t stream_limit;  /* responses of one registration that wait for a consumer that lags [256] */
  size_t stream_bytes;    /* bytes of these [1 MiB] */
  size_t response_limit;  /* bytes of one response; of a run, with all that was reported [64 MiB] */
  size_t response_bytes;  /* bytes of all responses of more than 1 KiB that are being put together, or wait to be
                             delivered. Beyond it a call fails [4 times response_limit, at least 64 MiB] */
  uint32_t workers;       /* threads that run the actions, at most 1024 [none: whoever steps the manager] */
  uint32_t time_limit_ms; /* of a run, from its acceptance to its end; of a registration, for each stretch that its
                             action runs without waiting. A second or more is measured to some 10 ms, and is never
                             short. RSCA_NO_LIMIT: none [with workers 30000, otherwise none] */
  uint32_t clean_up_ms;   /* how long the clean-up of an action that was stopped may take [200] */
  uint32_t kill_ms;       /* how long a shutdown waits for a worker that does not come back [1000] */
  size_t memory_limit;    /* bytes that the Lua state of a worker may have beyond what its script took [64 MiB] */
  size_t shared_bytes;    /* what shared values take, see rsca/shared.h [64 MiB] */
} rsca_config;

/* For a time limit: none. */
#define RSCA_NO_LIMIT UINT32_MAX

/*
 * How a call ended.
 *
 *   user      as given to rsca_manager_run
 *   status    S_OK or the success status the action chose; a failure otherwise
 *   response  Borrowed for the call; the response, or for a failure its message in UTF-8. NULL where size is 0
 *   size      bytes
 *   final     true: nothing follows. Always true for a run
 *
 * Called exactly once for every call that was accepted, on the threads named above, never on the stack of the
 * rsca_manager_run that was accepted.
 */
typedef void (*rsca_result_fn)(void *user, HRESULT status, const void *response, size_t size, bool final);

/* `config` may be NULL: all zero. Copied. `*out`: Returned (+1), NULL on failure.
 * S_OK, E_INVALIDARG (out is NULL, or more than 1024 workers), E_OUTOFMEMORY. */
RSCA_API HRESULT rsca_manager_create(const rsca_config *config, rsca_manager **out);

/* Both return the updated count. Releasing NULL does nothing. */
RSCA_API ULONG rsca_manager_add_ref(rsca_manager *manager);
RSCA_API ULONG rsca_manager_release(rsca_manager *manager);

/*
 * Registers an action written in C, in place of one of that name.
 *
 *   name       Copied; UTF-8, not empty
 *   help       Copied; one line for people, UTF-8; may be NULL
 *   user       Held: passed to the action; given to free_user (may be NULL) when no call can need it any more, on any
 *              thread. On a failure it stays the caller's, and free_user is not called
 *
 * S_OK; E_INVALIDARG (name or fn NULL, name empty); RSCA_E_NO_UNICODE_TRANSLATION; RSCA_E_SHUTDOWN_IN_PROGRESS;
 * E_OUTOFMEMORY.
 */
RSCA_API HRESULT rsca_manager_register(rsca_manager *manager, const char *name, const char *help, rsca_action_fn fn,
                                       void *user, void (*free_user)(void *user));

/* Takes the name away. Calls that were accepted are not touched. S_OK, E_INVALIDARG, RSCA_E_NOT_FOUND. */
RSCA_API HRESULT rsca_manager_unregister(rsca_manager *manager, const char *name);

/* One registered action; all strings Borrowed for the call. */
typedef struct rsca_action_info {
  const char *name;
  const char *help;  /* "" where there is none */
  const char *place; /* "FILE:LINE" of a Lua action, "[C]" of one written in C */
} rsca_action_info;

/* Calls `visit` for each action, ordered by name. S_OK, E_INVALIDARG, E_OUTOFMEMORY. */
RSCA_API HRESULT rsca_manager_list(rsca_manager *manager, void (*visit)(void *user, const rsca_action_info *action),
                                   void *user);

/*
 * Queues a call of the action `name`.
 *
 *   name    UTF-8
 *   args    Copied; UTF-8; may be NULL: ""
 *   fn      called once with the result, see rsca_result_fn
 *   user    passed to fn; the caller's, and must last until fn has been called with final = true
 *   id      may be NULL; on S_OK the call's number, on failure 0
 *
 * S_OK: queued, fn will be called. On every other status fn is never called: E_INVALIDARG (name or fn NULL, name
 * empty), RSCA_E_NO_UNICODE_TRANSLATION, RSCA_E_NOT_FOUND, RSCA_E_BUSY, RSCA_E_SHUTDOWN_IN_PROGRESS,
 * RPC_E_DISCONNECTED (the Lua state that owns the action is closed), E_OUTOFMEMORY.
 */
RSCA_API HRESULT rsca_manager_run(rsca_manager *manager, const char *name, const char *args, rsca_result_fn fn,
                                  void *user, uint64_t *id);

/*
 * Registers for the responses of the action `name`, as many as it reports. Parameters and statuses as for
 * rsca_manager_run. fn is called with S_OK and final = false for each response, in order, never two at a time; then
 * once with final = true:
 *
 *   S_FALSE             the action has returned, or the registration was ended by rsca_manager_unsubscribe
 *   a failure           the action failed, was stopped at its time limit or cancelled; response is its message
 *
 * A response with the action's last words comes before that final, as one of the responses. Names may be subscribed to
 * any number of times.
 */
RSCA_API HRESULT rsca_manager_subscribe(rsca_manager *manager, const char *name, const char *args, rsca_result_fn fn,
                                        void *user, uint64_t *id);

/* Ends a registration, made in whatever way: no response follows, only the final with S_FALSE, in a following step.
 * S_OK: it ends. RSCA_E_NOT_FOUND: there is no registration of that number, or it has ended. */
RSCA_API HRESULT rsca_manager_unsubscribe(rsca_manager *manager, uint64_t id);

/*
 * Asks a call to end. One that has not started ends with RSCA_E_CANCELLED in the next step; so does one that waits,
 * after its clean-up. One that is running may ask rsca_call_cancelled, and ends at its next wait; if it returns first,
 * what it returns counts.
 *
 *   grace_ms  how long an action that is running may go on. Then its Lua code is made to raise, and has clean_up_ms for
 *             its clean-up; what can't be stopped, in a C function, ends all the same, and its result is dropped
 *
 * S_OK: asked. RSCA_E_NOT_FOUND: there is no such call, or it has ended.
 */
RSCA_API HRESULT rsca_manager_cancel(rsca_manager *manager, uint64_t id, unsigned grace_ms);

/*
 * Refuses new calls with RSCA_E_SHUTDOWN_IN_PROGRESS from here on, and ends those in flight: at once with
 * RSCA_E_CANCELLED (`immediate`), or registrations at once and runs by themselves, within drain_ms.
 *
 * On the thread that steps, outside a step, it steps until all have ended: that blocks, up to drain_ms. Everywhere
 * else it does not block. With workers it blocks until all have ended and the threads are joined, for drain_ms,
 * clean_up_ms and kill_ms at most: a worker that does not come back is left to itself, with what it needs.
 *
 * S_OK: nothing is in flight any more. S_FALSE: said from inside an action or a callback, or from a thread that does
 * not step; what is in flight ends in the following steps, or on the workers' threads. May be said again.
 */
RSCA_API HRESULT rsca_manager_shutdown(rsca_manager *manager, bool immediate);

/* A call that has not ended; all strings Borrowed for the call. */
typedef struct rsca_call_info {
  uint64_t id;
  const char *action;
  const char *args;  /* the first 63 bytes of its arguments, UTF-8 */
  size_t args_size;  /* how many there are in all */
  uint64_t age_ms;   /* since it was accepted */
  const char *state; /* "queued"; "running": its code is being executed; "waiting": for whatever */
  bool registration;
  const char *traceback; /* where its Lua code is, 16 KiB at most; NULL: it has none, or its thread did not answer */
} rsca_call_info;

/*
 * Calls `visit` for each call in flight, oldest first. Lua states on other threads are asked where their calls are;
 * that blocks for 50 ms at most. S_OK, E_INVALIDARG, E_OUTOFMEMORY.
 */
RSCA_API HRESULT rsca_manager_running(rsca_manager *manager, void (*visit)(void *user, const rsca_call_info *call),
                                      void *user);

/* The same for those that a shutdown found in flight when it began to cut: without a traceback. S_OK, E_INVALIDARG. */
RSCA_API HRESULT rsca_manager_cut_calls(rsca_manager *manager, void (*visit)(void *user, const rsca_call_info *call),
                                        void *user);

/* What a manager holds at a moment. */
typedef struct rsca_manager_stats {
  uint64_t accepted;        /* calls accepted since it was made */
  uint64_t ended;           /* of those, ended */
  uint64_t failed_callback; /* callbacks that returned a failure */
  size_t actions;           /* registered names */
  size_t queued_bytes;      /* arguments of calls not yet ended */
} rsca_manager_stats;

RSCA_API void rsca_manager_get_stats(rsca_manager *manager, rsca_manager_stats *stats);

/* ---- Stepping: one thread at a time; where a Lua state lives in the manager, its thread ----
 *
 * A manager with workers has nothing to step: its descriptor and its time are -1, a step is S_FALSE. */

/* A descriptor that is readable while there is something to step; -1 where none can be had. Watch it for reading,
 * never read it or close it. Borrowed: valid as long as the manager. */
RSCA_API int rsca_manager_fd(rsca_manager *manager);

/* Milliseconds, rounded up, until a step has something to do: 0 now, -1 not before the descriptor says so. */
RSCA_API int rsca_manager_timeout_ms(rsca_manager *manager);

/*
 * Runs what is due: actions, callbacks, clean-ups. What these queue waits for the next step, so a step always comes
 * to an end. `budget`: how many pieces of work at most; 0: all that is there. While something is left the descriptor
 * stays readable.
 *
 * S_OK: something was run. S_FALSE: there was nothing to do. RSCA_E_POSSIBLE_DEADLOCK: a step is on already, further
 * up this stack or on another thread.
 */
RSCA_API HRESULT rsca_manager_step(rsca_manager *manager, unsigned budget);

/*
 * In the child of a fork. The child has a descriptor of its own: ask for it, and watch it, again. What it inherited is
 * dropped: calls in flight end there without anybody being told, and the parent's callbacks are not called; Lua
 * coroutines that wait get nil and an error. That happens by itself, in the first step of the child. A program that
 * becomes a daemon says instead, before it does anything else with the manager there:
 *
 *   keep    true: calls that are queued are kept, and those that were running end with RSCA_E_CANCELLED
 *
 * S_OK: done; inside an action or a callback, done in the next step. S_FALSE: there was nothing to inherit, as this
 * process is no child, or has said so before. RSCA_E_INVALID_STATE: too late to keep it, it has been dropped. Thread
 * that steps. A fork while another thread is inside one of these functions is the caller's to avoid.
 */
RSCA_API HRESULT rsca_manager_after_fork(rsca_manager *manager, bool keep);

/* ---- Interfaces ---- */

/* The manager as an IPmCustomActions, whose count is the manager's. Returned (+1). */
RSCA_API IPmCustomActions *rsca_manager_custom_actions(rsca_manager *manager);

/* The default session as an IPmCustomActions2, whose count is the manager's. Returned (+1). */
RSCA_API IPmCustomActions2 *rsca_manager_custom_actions2(rsca_manager *manager);

/*
 * A session of its own: a registration per name here does not meet those of other sessions. `*out`: Returned (+1), NULL
 * on failure; it holds the manager. When it is released its registrations go on, to their own end.
 * S_OK, E_INVALIDARG, E_OUTOFMEMORY.
 */
RSCA_API HRESULT rsca_manager_create_session(rsca_manager *manager, IPmCustomActions2 **out);

#ifdef __cplusplus
}
#endif

#endif
