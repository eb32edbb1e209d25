/*
 * A call, as the action that answers it sees it.
 *
 * Ownership: a call is Borrowed for the run of the action function; after E_PENDING it is the action's until
 * rsca_call_finish.
 * Blocking: nothing here blocks.
 * A call that is NULL is E_INVALIDARG, or 0, NULL and false.
 */
#ifndef RSCA_CALL_H
#define RSCA_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <Wpframework.h>
#include <rsca/export.h>
#include <rsca/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rsca_call rsca_call;

/*
 * An action written in C.
 *
 *   user  what it was registered with
 *   call  Borrowed for the call, see above
 *   args  Borrowed for the call; well-formed UTF-8, NUL-terminated, "" where the caller gave none
 *   size  bytes of args, without the NUL
 *
 * Returns how the call ends:
 *   a success status   the response is all that was reported
 *   a failure status   the same bytes are its message, UTF-8
 *   E_PENDING          not yet: rsca_call_finish follows, exactly once, from any thread
 *
 * Runs on the thread that steps the manager, or on a worker of its pool, with no lock held; it may call back into any
 * interface. It should not block: the thread waits for it. One that does not come back from a worker within the time
 * limit is answered RSCA_E_TIMEOUT all the same; its worker is set aside until it does, and replaced.
 */
typedef HRESULT (*rsca_action_fn)(void *user, rsca_call *call, const char *args, size_t size);

/* The call's number, as rsca_manager_run gave it: never 0, never given twice by one manager. */
RSCA_API uint64_t rsca_call_id(const rsca_call *call);

/* The action's name, UTF-8. Borrowed for the call. */
RSCA_API const char *rsca_call_name(const rsca_call *call);

/*
 * Reports `size` bytes: in a registration one response of its own, in a run more of the one response. Copied; any bytes
 * will do. `bytes` may be NULL where `size` is 0.
 *
 * In a registration, on the thread that runs the action, a C callback is called before this returns. RSCA_E_BUSY: the
 * consumer lags and as much waits for it as may; nothing was taken, report again later.
 *
 * S_OK; E_INVALIDARG; E_OUTOFMEMORY: nothing was added, and where that is for the response limit, or of a run for
 * response_bytes, the call fails with this status, unless its action ends it with a failure of its own;
 * RSCA_E_CANCELLED: the call has been ended meanwhile, cancelled or cut, and nobody will hear it. Threads: one at a
 * time per call.
 */
RSCA_API HRESULT rsca_call_report(rsca_call *call, const void *bytes, size_t size);

/* Whether the call has been cancelled or cut. An action that runs for long asks now and then. Any thread. */
RSCA_API bool rsca_call_cancelled(const rsca_call *call);

/*
 * Ends a call whose action returned E_PENDING; afterwards the call may not be touched. `bytes` are added to the
 * response as by rsca_call_report (NULL and 0: nothing more). The callback runs in a following step of the manager,
 * not here. It is owed even when the call has been cancelled or cut meanwhile: then the result is dropped.
 *
 * S_OK; E_OUTOFMEMORY, E_INVALIDARG (bytes NULL, size not 0): the call ends with that status. `status` E_PENDING counts
 * as E_FAIL. Threads: any.
 */
RSCA_API HRESULT rsca_call_finish(rsca_call *call, HRESULT status, const void *bytes, size_t size);

#ifdef __cplusplus
}
#endif

#endif
