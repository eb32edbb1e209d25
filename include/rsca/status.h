/*
 * Statuses: the HRESULTs that rsca answers with, by name.
 *
 * Threads: any. Nothing here blocks or allocates.
 */
#ifndef RSCA_STATUS_H
#define RSCA_STATUS_H

#include <stddef.h>

#include <Wpframework.h>
#include <rsca/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where the platform's own headers define these, theirs stand. */
#ifndef E_FAIL
#define E_FAIL ((HRESULT)0x80004005)
#endif
#ifndef E_INVALIDARG
#define E_INVALIDARG ((HRESULT)0x80070057)
#endif
#ifndef E_OUTOFMEMORY
#define E_OUTOFMEMORY ((HRESULT)0x8007000E)
#endif
#ifndef E_PENDING
#define E_PENDING ((HRESULT)0x8000000A)
#endif
#ifndef RPC_E_DISCONNECTED
#define RPC_E_DISCONNECTED ((HRESULT)0x80010108)
#endif

/* HRESULT_FROM_WIN32 of the like-named Windows errors. */
#define RSCA_E_BUSY ((HRESULT)0x800700AA)                   /* the queue is full (calls or bytes) */
#define RSCA_E_ALREADY_EXISTS ((HRESULT)0x800700B7)         /* the name is taken */
#define RSCA_E_NO_UNICODE_TRANSLATION ((HRESULT)0x80070459) /* text is not well formed */
#define RSCA_E_SHUTDOWN_IN_PROGRESS ((HRESULT)0x8007045B)   /* shut down, or shutting down */
#define RSCA_E_INVALID_DATA ((HRESULT)0x8007000D)           /* what is there is of the wrong kind */
#define RSCA_E_NOT_FOUND ((HRESULT)0x80070490)              /* no such action, no such call */
#define RSCA_E_CANCELLED ((HRESULT)0x800704C7)              /* cancelled, or cut by a shutdown */
#define RSCA_E_POSSIBLE_DEADLOCK ((HRESULT)0x8007046B)      /* it would wait for itself */
#define RSCA_E_TIMEOUT ((HRESULT)0x800705B4)                /* the time limit of a call */
#define RSCA_WAIT_TIMEOUT ((HRESULT)0x80070102)             /* a wait's own limit; what was awaited goes on */
#define RSCA_E_INVALID_STATE ((HRESULT)0x8007139F)          /* too early, or too late, for what was asked */

/* One status that rsca knows. */
typedef struct rsca_status_entry {
  const char *name; /* as scripts write it: rsca.status.<name>; the Windows name without HRESULT_FROM_WIN32 */
  HRESULT status;
  const char *meaning; /* one sentence, lower case, no full stop */
} rsca_status_entry;

/*
 * The entry of `status`, or NULL where rsca has no name for it. The entry is constant and stays valid for ever.
 */
RSCA_API const rsca_status_entry *rsca_status_find(HRESULT status);

/* The table itself: `*count` entries, S_OK first. Constant. */
RSCA_API const rsca_status_entry *rsca_status_table(size_t *count);

#ifdef __cplusplus
}
#endif

#endif
