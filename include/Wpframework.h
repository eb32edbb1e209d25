/*
 * The interfaces between a worker process framework (the host program) and a protocol manager (what answers
 * run-time status and control requests), named and ordered as on the public reference pages that name this header.
 *
 * Provides: IWpfReferencedObject and everything derived from it, PM_INTERFACE_ID_ENUM, and the basic types, statuses
 * and macros that a source written from those pages uses. C11 sees structs with a vtable pointer, C++11 and later see
 * abstract classes. Both describe the same objects: either language may implement them and either may call them.
 * Uses: <stdint.h>; on Windows <windows.h>, whose definitions then stand.
 *
 * Words in the contracts:
 *   Copied           the callee keeps bytes of its own; the caller's may go when the call returns
 *   Borrowed         used during the call only, no reference taken
 *   Held             the callee takes a reference and releases it when it is done
 *   Returned (+1)    the caller gets a reference and must Release it
 * Unless a method says otherwise it may be called on any thread, does not block, and may be called from inside an
 * action and from inside a callback. Out-parameters are written before anything can fail. "Refused" means: the callback
 * is neither held nor ever called.
 *
 * In C++ the destructors are protected and not virtual: Release ends an object's life, never `delete`, and a virtual
 * destructor would add vtable slots that objects made elsewhere do not have. Objects made in C carry no type
 * information, so neither dynamic_cast nor typeid, nor the sanitizers that rely on it (-fsanitize=vptr,
 * -fsanitize=cfi-vcall), may be applied to an interface pointer.
 */
#ifndef RSCA_WPFRAMEWORK_H
#define RSCA_WPFRAMEWORK_H

/* ---- basic types, statuses and macros ---- */

#ifdef _WIN32

#include <windows.h>

#define RSCA_TEXT_PREFIXED(literal) L##literal

#else

#include <stdint.h>

typedef int32_t HRESULT; /* negative: failure; 32 bit everywhere, also where long has 64 */
typedef uint32_t ULONG;
typedef uint32_t DWORD;
typedef int BOOL; /* 0 is false, anything else true */
typedef unsigned char BYTE;
typedef BYTE *PBYTE;
typedef void *PVOID;

/* One UTF-16 code unit, the element type of RSCA_TEXT literals. wchar_t has 32 bits here and does not serve. */
#ifdef __cplusplus
typedef char16_t WCHAR;
#else
typedef uint_least16_t WCHAR; /* what <uchar.h> calls char16_t */
#endif
typedef const WCHAR *PCWSTR; /* ends with a zero unit */

#define RSCA_TEXT_PREFIXED(literal) u##literal

#ifdef __cplusplus
#define RSCA_CAST(type, value) static_cast<type>(value)
#else
#define RSCA_CAST(type, value) ((type)(value))
#endif

/* Directions of parameters; they expand to nothing. */
#ifndef IN
#define IN
#endif
#ifndef OUT
#define OUT
#endif

#ifndef FALSE
#define FALSE 0
#endif
#ifndef TRUE
#define TRUE 1
#endif

#ifndef S_OK
#define S_OK RSCA_CAST(HRESULT, 0)
#endif
#ifndef S_FALSE
#define S_FALSE RSCA_CAST(HRESULT, 1)
#endif
#ifndef SUCCEEDED
#define SUCCEEDED(status) (RSCA_CAST(HRESULT, status) >= 0)
#endif
#ifndef FAILED
#define FAILED(status) (RSCA_CAST(HRESULT, status) < 0)
#endif

/* A Windows error code as an HRESULT. 0 and what already is a failure HRESULT stay as they are. A constant expression
 * for a constant; evaluates its argument more than once. */
#ifndef HRESULT_FROM_WIN32
#define HRESULT_FROM_WIN32(code)                                                                                       \
  (RSCA_CAST(HRESULT, code) <= 0 ? RSCA_CAST(HRESULT, code)                                                            \
                                 : RSCA_CAST(HRESULT, (RSCA_CAST(DWORD, code) & 0xFFFFu) | 0x80070000u))
#endif

#endif

/* A string literal as PCWSTR: RSCA_TEXT("uptime"). */
#define RSCA_TEXT(literal) RSCA_TEXT_PREFIXED(literal)

/* ---- how the two languages come to one layout ---- */

/*
 * RSCA_SDK_REPORTRESULT picks the form of ICustomAction2ResultCallback::ReportResult: 0 is the form of the reference
 * page, 1 that of the Windows SDK, which has one parameter more. Everything that shares such objects, the library
 * included, must be compiled with the same value.
 */
#ifndef RSCA_SDK_REPORTRESULT
#ifdef _WIN32
#define RSCA_SDK_REPORTRESULT 1
#else
#define RSCA_SDK_REPORTRESULT 0
#endif
#endif

#if RSCA_SDK_REPORTRESULT
#define RSCA_REPORTRESULT2_PARAMETERS HRESULT hrStatus, BOOL fFinalResponse, PBYTE pbResponse, DWORD cbResponse
#else
#define RSCA_REPORTRESULT2_PARAMETERS HRESULT hrStatus, PBYTE pbResponse, DWORD cbResponse
#endif

/* RSCA_METHOD: the calling convention of the functions in a C vtable, which is that of C++ methods. */
#if defined(_WIN32) && (defined(__i386__) || defined(_M_IX86))
#ifdef __GNUC__
#define RSCA_METHOD __attribute__((__thiscall__))
#else
#define RSCA_METHOD __thiscall
#endif
#else
#define RSCA_METHOD
#endif

/*
 * RSCA_INTERFACE, on each class: visible whatever -fvisibility says, so that every shared object sees one type; and
 * open to implementers that link-time optimization can't see, as objects made in C are.
 */
#ifdef __cplusplus
#ifdef __has_cpp_attribute
#if __has_cpp_attribute(clang::lto_visibility_public) && !defined(_WIN32)
#define RSCA_INTERFACE [[clang::lto_visibility_public, gnu::visibility("default")]]
#elif __has_cpp_attribute(clang::lto_visibility_public)
#define RSCA_INTERFACE [[clang::lto_visibility_public]]
#elif __has_cpp_attribute(gnu::visibility) && !defined(_WIN32)
#define RSCA_INTERFACE [[gnu::visibility("default")]]
#endif
#endif
#ifndef RSCA_INTERFACE
#define RSCA_INTERFACE
#endif
#endif

#ifdef __cplusplus
class IWpfReferencedObject;
class ICustomActionResultCallback;
class ICustomAction2ResultCallback;
class IPmCustomActions;
class IPmCustomActions2;
class IProtocolManager;
class IPmHealthAndIdleMonitor;
class IHealthStatusCallback;
class IWorkerProcessFramework;
#else
typedef struct IWpfReferencedObject IWpfReferencedObject;
typedef struct ICustomActionResultCallback ICustomActionResultCallback;
typedef struct ICustomAction2ResultCallback ICustomAction2ResultCallback;
typedef struct IPmCustomActions IPmCustomActions;
typedef struct IPmCustomActions2 IPmCustomActions2;
typedef struct IProtocolManager IProtocolManager;
typedef struct IPmHealthAndIdleMonitor IPmHealthAndIdleMonitor;
typedef struct IHealthStatusCallback IHealthStatusCallback;
typedef struct IWorkerProcessFramework IWorkerProcessFramework;
#endif

/* What GetPmInterface can be asked for. Reference page: PM_INTERFACE_ID_ENUM Enumeration. */
typedef enum PM_INTERFACE_ID_ENUM {
  PM_LISTENER_CHANNEL_MANAGER_ID = 1,
  PM_HEALTH_AND_IDLE_MONITOR_ID = 2, /* IPmHealthAndIdleMonitor */
  PM_CUSTOM_ACTIONS_ID = 3,          /* IPmCustomActions */
  PM_APPLICATION_PRELOAD_ID = 4,
  PM_IDLE_TIMEOUT_ID = 5
} PM_INTERFACE_ID_ENUM;

/*
 * A counted object; every interface below starts with these two methods. Counting is atomic.
 * Reference page: IWpfReferencedObject Interface.
 *
 * AddRef: one reference more. Returns the updated count. (Page: IWpfReferencedObject::AddRef Method.)
 *
 * Release: one reference less. Returns the updated count; at 0 the object is gone. The last Release may come on any
 * thread. (Page: IWpfReferencedObject::Release Method.)
 *
 * C code calls them through the vtable of the interface it has, not through a pointer cast to IWpfReferencedObject.
 */
#ifdef __cplusplus
class RSCA_INTERFACE IWpfReferencedObject {
public:
  virtual ULONG AddRef(void) = 0;
  virtual ULONG Release(void) = 0;

protected:
  ~IWpfReferencedObject() = default;
};
#else
typedef struct IWpfReferencedObjectVtbl {
  ULONG(RSCA_METHOD *AddRef)(IWpfReferencedObject *This);
  ULONG(RSCA_METHOD *Release)(IWpfReferencedObject *This);
} IWpfReferencedObjectVtbl;

struct IWpfReferencedObject {
  const IWpfReferencedObjectVtbl *lpVtbl;
};
#endif

/*
 * Hears how one RunCustomAction ended. The client implements it.
 * Reference page: ICustomActionResultCallback Interface.
 *
 * ReportResult: called exactly once for each call that was accepted; afterwards the reference to the callback is
 * released. (Page: ICustomActionResultCallback::ReportResult Method.)
 *   hrStatus     S_OK or the success status that the action chose; the failure status that it chose; 0x80004005
 *                E_FAIL: it raised an error; 0x800705B4: time limit; 0x800704C7: cancelled, or cut by a shutdown;
 *                0x8007000E E_OUTOFMEMORY: memory or response limit; 0x80010108 RPC_E_DISCONNECTED: what the action
 *                ran in was closed
 *   pbResponse   Borrowed. The response, any bytes; after a failure what is known about it, in UTF-8. It is an input
 *                and not to be written to. NULL when empty.
 *   cbResponse   the number of bytes at pbResponse; 0 when empty
 *   returns      S_OK, or a failure, which is counted and changes nothing
 * Called on a worker thread, on the thread that steps the manager or on the manager's service thread, with no lock held
 * and never on the stack of the call that was accepted, though perhaps before that call has returned on its own thread.
 * May call any method of any interface. Should not block: it holds up the thread it is called on. In C++ it must not
 * throw.
 */
#ifdef __cplusplus
class RSCA_INTERFACE ICustomActionResultCallback : public IWpfReferencedObject {
public:
  virtual HRESULT ReportResult(IN HRESULT hrStatus, IN PBYTE pbResponse, IN DWORD cbResponse) = 0;

protected:
  ~ICustomActionResultCallback() = default;
};
#else
typedef struct ICustomActionResultCallbackVtbl {
  ULONG(RSCA_METHOD *AddRef)(ICustomActionResultCallback *This);
  ULONG(RSCA_METHOD *Release)(ICustomActionResultCallback *This);
  HRESULT(RSCA_METHOD *ReportResult)
  (ICustomActionResultCallback *This, IN HRESULT hrStatus, IN PBYTE pbResponse, IN DWORD cbResponse);
} ICustomActionResultCallbackVtbl;

struct ICustomActionResultCallback {
  const ICustomActionResultCallbackVtbl *lpVtbl;
};
#endif

/*
 * Hears the responses of one registration and then its end. The client implements it.
 * Reference page: ICustomAction2ResultCallback Interface.
 *
 * ReportResult: called any number of times with S_OK, then exactly once with another status: that report is the final
 * one, and the reference to the callback is released after it. Reports come in the order in which the action made
 * them, never two at a time. (Page: ICustomAction2ResultCallback::ReportResult Method.)
 *   hrStatus         S_OK: one response, more may follow; S_FALSE: the end, the action is done or the registration was
 *                    ended by UnregisterCustomActionCallback; a failure: the end, with the statuses of
 *                    ICustomActionResultCallback::ReportResult
 *   fFinalResponse   only where RSCA_SDK_REPORTRESULT is 1: TRUE in the final report, FALSE in all others
 *   pbResponse       Borrowed. The response, or what is known about the failure; an input. NULL when empty, as with
 *                    S_FALSE.
 *   cbResponse       the number of bytes at pbResponse; 0 when empty
 *   returns          S_OK to go on; a failure ends the registration: its final report then has 0x800704C7
 * Threads, locks and what it may call: as for ICustomActionResultCallback::ReportResult. A final report that falls due
 * while a report of the same registration is running follows when that returns, on its thread. The name can be
 * registered again before the final report is made.
 */
#ifdef __cplusplus
class RSCA_INTERFACE ICustomAction2ResultCallback : public IWpfReferencedObject {
public:
  virtual HRESULT ReportResult(RSCA_REPORTRESULT2_PARAMETERS) = 0;

protected:
  ~ICustomAction2ResultCallback() = default;
};
#else
typedef struct ICustomAction2ResultCallbackVtbl {
  ULONG(RSCA_METHOD *AddRef)(ICustomAction2ResultCallback *This);
  ULONG(RSCA_METHOD *Release)(ICustomAction2ResultCallback *This);
  HRESULT(RSCA_METHOD *ReportResult)(ICustomAction2ResultCallback *This, RSCA_REPORTRESULT2_PARAMETERS);
} ICustomAction2ResultCallbackVtbl;

struct ICustomAction2ResultCallback {
  const ICustomAction2ResultCallbackVtbl *lpVtbl;
};
#endif

/*
 * Runs actions, each for one response. The manager implements it.
 * Reference page: IPmCustomActions Interface.
 *
 * RunCustomAction: queues one call of an action. Never blocks; any thread, inside actions and callbacks too. The
 * callback is never called on the stack of this call. (Page: IPmCustomActions::RunCustomAction Method.)
 *   pszFunctionName            Copied. The action's name, well-formed UTF-16, not empty.
 *   pszFunctionArgs            Copied. Its arguments, well-formed UTF-16; NULL stands for the empty string.
 *   pCompletionCallbackClass   Held if accepted, until it has been told how the call ended; else Borrowed.
 *   S_OK                             queued: the callback is told exactly once how the call ended
 *   0x80070057 E_INVALIDARG          refused: name or callback is NULL, or the name is empty
 *   0x80070459                       refused: name or arguments are not well-formed UTF-16
 *   0x80070490                       refused: no action has this name
 *   0x800700AA                       refused for now: the queue is full, in calls or in bytes
 *   0x8007045B                       refused: shut down, or shutting down
 *   0x80010108 RPC_E_DISCONNECTED    refused: what the action runs in has been closed
 *   0x8007000E E_OUTOFMEMORY         refused: out of memory
 */
#ifdef __cplusplus
class RSCA_INTERFACE IPmCustomActions : public IWpfReferencedObject {
public:
  virtual HRESULT RunCustomAction(IN PCWSTR pszFunctionName, IN PCWSTR pszFunctionArgs,
                                  IN ICustomActionResultCallback *pCompletionCallbackClass) = 0;

protected:
  ~IPmCustomActions() = default;
};
#else
typedef struct IPmCustomActionsVtbl {
  ULONG(RSCA_METHOD *AddRef)(IPmCustomActions *This);
  ULONG(RSCA_METHOD *Release)(IPmCustomActions *This);
  HRESULT(RSCA_METHOD *RunCustomAction)
  (IPmCustomActions *This, IN PCWSTR pszFunctionName, IN PCWSTR pszFunctionArgs,
   IN ICustomActionResultCallback *pCompletionCallbackClass);
} IPmCustomActionsVtbl;

struct IPmCustomActions {
  const IPmCustomActionsVtbl *lpVtbl;
};
#endif

/*
 * Runs actions that respond any number of times. The manager implements it. One object is one session: it has at most
 * one registration of a name at a time.
 * Reference page: IPmCustomActions2 Interface.
 *
 * RegisterCustomActionCallback: starts an action as a registration. Never blocks; the callback is never called on the
 * stack of this call. (Page: IPmCustomActions2::RegisterCustomActionCallback Method.)
 *   parameters and statuses    as for IPmCustomActions::RunCustomAction; the callback is Held until its final report
 *   S_OK                       queued: the callback hears any number of responses, then exactly one end
 *   0x800700B7                 refused: this session already has a registration of that name
 *
 * UnregisterCustomActionCallback: ends this session's registration of a name. Never blocks: the callback may still be
 * running when this returns, and hears its final S_FALSE afterwards. May be called from inside that very callback.
 * Does not touch other sessions or the action itself. (Page: IPmCustomActions2::UnregisterCustomActionCallback Method.)
 *   pszFunctionName            Borrowed. The name it was registered under.
 *   S_OK                       the registration is ending and its name is free again
 *   0x80070057 E_INVALIDARG    the name is NULL or empty
 *   0x80070459                 the name is not well-formed UTF-16
 *   0x80070490                 this session has no registration of that name
 *   0x8007000E E_OUTOFMEMORY   out of memory; nothing has changed
 */
#ifdef __cplusplus
class RSCA_INTERFACE IPmCustomActions2 : public IWpfReferencedObject {
public:
  virtual HRESULT RegisterCustomActionCallback(IN PCWSTR pszFunctionName, IN PCWSTR pszFunctionArgs,
                                               IN ICustomAction2ResultCallback *pCompletionCallbackClass) = 0;
  virtual HRESULT UnregisterCustomActionCallback(IN PCWSTR pszFunctionName) = 0;

protected:
  ~IPmCustomActions2() = default;
};
#else
typedef struct IPmCustomActions2Vtbl {
  ULONG(RSCA_METHOD *AddRef)(IPmCustomActions2 *This);
  ULONG(RSCA_METHOD *Release)(IPmCustomActions2 *This);
  HRESULT(RSCA_METHOD *RegisterCustomActionCallback)
  (IPmCustomActions2 *This, IN PCWSTR pszFunctionName, IN PCWSTR pszFunctionArgs,
   IN ICustomAction2ResultCallback *pCompletionCallbackClass);
  HRESULT(RSCA_METHOD *UnregisterCustomActionCallback)(IPmCustomActions2 *This, IN PCWSTR pszFunctionName);
} IPmCustomActions2Vtbl;

struct IPmCustomActions2 {
  const IPmCustomActions2Vtbl *lpVtbl;
};
#endif

/*
 * A protocol manager as its host sees it: hands out the other interfaces and can be shut down.
 * Reference page: IProtocolManager Interface.
 *
 * GetPmInterface: one of the interfaces that PM_INTERFACE_ID_ENUM names.
 * (Page: IProtocolManager::GetPmInterface Method.)
 *   PmInterfaceId              which one
 *   ppInterface                Returned (+1), of the type that belongs to the ID; NULL unless S_OK
 *   S_OK                       *ppInterface is it
 *   0x80070057 E_INVALIDARG    ppInterface is NULL
 *   0x80070490                 this manager has no such interface
 *
 * GetCustomInterface: an interface beyond those, under a number that the manager's own header names.
 * (Page: IProtocolManager::GetCustomInterface Method.)
 *   InterfaceId                which one
 *   ppInterface and statuses   as for GetPmInterface; also
 *   0x8007000E E_OUTOFMEMORY   it would have to be made, and there is no memory
 *
 * Shutdown: ends the manager's work; no call is accepted from then on. Callable more than once. On the thread that
 * steps the manager it does the stepping itself: it blocks until everything that was accepted has been told its end,
 * for as long as the drain limit. Everywhere else it does not block. The page reserves it to the host that owns the
 * manager. (Page: IProtocolManager::Shutdown Method.)
 *   fImmediate    FALSE: registrations end, calls that are queued or running may finish within the drain limit; then,
 *                 and at once where it is TRUE, what is left ends with 0x800704C7
 *   S_OK          done
 *   S_FALSE       called from inside an action or a callback, or on a thread that does not step: returned at once, the
 *                 rest follows in the next steps
 */
#ifdef __cplusplus
class RSCA_INTERFACE IProtocolManager : public IWpfReferencedObject {
public:
  virtual HRESULT GetPmInterface(IN PM_INTERFACE_ID_ENUM PmInterfaceId, OUT PVOID *ppInterface) = 0;
  virtual HRESULT GetCustomInterface(IN DWORD InterfaceId, OUT PVOID *ppInterface) = 0;
  virtual HRESULT Shutdown(IN BOOL fImmediate) = 0;

protected:
  ~IProtocolManager() = default;
};
#else
typedef struct IProtocolManagerVtbl {
  ULONG(RSCA_METHOD *AddRef)(IProtocolManager *This);
  ULONG(RSCA_METHOD *Release)(IProtocolManager *This);
  HRESULT(RSCA_METHOD *GetPmInterface)
  (IProtocolManager *This, IN PM_INTERFACE_ID_ENUM PmInterfaceId, OUT PVOID *ppInterface);
  HRESULT(RSCA_METHOD *GetCustomInterface)(IProtocolManager *This, IN DWORD InterfaceId, OUT PVOID *ppInterface);
  HRESULT(RSCA_METHOD *Shutdown)(IProtocolManager *This, IN BOOL fImmediate);
} IProtocolManagerVtbl;

struct IProtocolManager {
  const IProtocolManagerVtbl *lpVtbl;
};
#endif

/*
 * Tells the host whether a manager is idle and whether it is well. The manager implements it.
 * Reference page: IPmHealthAndIdleMonitor Interface.
 *
 * CheckIdle: whether nothing is accepted that has not ended. (Page: IPmHealthAndIdleMonitor::CheckIdle Method.)
 *   pfIdle                     set to TRUE or FALSE
 *   S_OK                       *pfIdle says it
 *   0x80070057 E_INVALIDARG    pfIdle is NULL
 *
 * CheckHealth: asks for one ReportHealth, in a following step. Never blocks; the callback is never called on the stack
 * of this call. A manager that nobody steps does not answer: how long to wait is for the host to say.
 * (Page: IPmHealthAndIdleMonitor::CheckHealth Method.)
 *   pIHealthStatusCallback     Held until it has been told, if accepted; else Borrowed
 *   S_OK                       queued: the callback is told exactly once
 *   0x80070057 E_INVALIDARG    refused: the callback is NULL
 *   0x800700AA                 refused for now: as many wait to be told as calls may be queued
 *   0x8007045B                 refused: shut down, or shutting down
 *   0x8007000E E_OUTOFMEMORY   refused: out of memory
 */
#ifdef __cplusplus
class RSCA_INTERFACE IPmHealthAndIdleMonitor : public IWpfReferencedObject {
public:
  virtual HRESULT CheckIdle(OUT BOOL *pfIdle) = 0;
  virtual HRESULT CheckHealth(IN IHealthStatusCallback *pIHealthStatusCallback) = 0;

protected:
  ~IPmHealthAndIdleMonitor() = default;
};
#else
typedef struct IPmHealthAndIdleMonitorVtbl {
  ULONG(RSCA_METHOD *AddRef)(IPmHealthAndIdleMonitor *This);
  ULONG(RSCA_METHOD *Release)(IPmHealthAndIdleMonitor *This);
  HRESULT(RSCA_METHOD *CheckIdle)(IPmHealthAndIdleMonitor *This, OUT BOOL *pfIdle);
  HRESULT(RSCA_METHOD *CheckHealth)(IPmHealthAndIdleMonitor *This, IN IHealthStatusCallback *pIHealthStatusCallback);
} IPmHealthAndIdleMonitorVtbl;

struct IPmHealthAndIdleMonitor {
  const IPmHealthAndIdleMonitorVtbl *lpVtbl;
};
#endif

/*
 * Hears the answer to one CheckHealth. The host implements it.
 * Reference page: IHealthStatusCallback Interface.
 *
 * ReportHealth: called exactly once for each CheckHealth that was accepted; afterwards the reference to the callback is
 * released. (Page: IHealthStatusCallback::ReportHealth Method.)
 *   fHealthy    TRUE: the manager is well: it is stepped, which this very report proves, and takes calls; FALSE: it was
 *               shut down, is shutting down, or its last reference was given back
 *   returns     S_OK, or a failure, which changes nothing
 * Called on the thread that steps the manager, or that shuts it down or gives back its last reference, with no lock
 * held. May call any method of any interface. Should not block; in C++ it must not throw.
 */
#ifdef __cplusplus
class RSCA_INTERFACE IHealthStatusCallback : public IWpfReferencedObject {
public:
  virtual HRESULT ReportHealth(IN BOOL fHealthy) = 0;

protected:
  ~IHealthStatusCallback() = default;
};
#else
typedef struct IHealthStatusCallbackVtbl {
  ULONG(RSCA_METHOD *AddRef)(IHealthStatusCallback *This);
  ULONG(RSCA_METHOD *Release)(IHealthStatusCallback *This);
  HRESULT(RSCA_METHOD *ReportHealth)(IHealthStatusCallback *This, IN BOOL fHealthy);
} IHealthStatusCallbackVtbl;

struct IHealthStatusCallback {
  const IHealthStatusCallbackVtbl *lpVtbl;
};
#endif

#endif
