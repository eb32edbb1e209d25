#include "sinks.h"

static void function_nothing(void *object) {
  (void)object;
}

static void function_ended(rsca_call *call) {
  rsci_call_leave(call);
  call->sink.fn(call->sink.object, call->status, call->bytes, call->size, true);
  rsci_call_delivered(call);
}

const rsci_sink_ops rsci_function_sink = {function_nothing, function_nothing, NULL, NULL, function_ended};

static HRESULT function_report(rsca_call *call, const void *bytes, size_t size) {
  call->sink.fn(call->sink.object, S_OK, bytes, size, false);
  return S_OK;
}

const rsci_sink_ops rsci_function_stream_sink = {function_nothing, function_nothing, function_report, NULL,
                                                 function_ended};

static void callback_hold(void *object) {
  ICustomActionResultCallback *callback = object;
  (void)callback->lpVtbl->AddRef(callback);
}

static void callback_release(void *object) {
  ICustomActionResultCallback *callback = object;
  (void)callback->lpVtbl->Release(callback);
}

static void callback_ended(rsca_call *call) {
  ICustomActionResultCallback *callback = call->sink.object;
  rsci_call_leave(call);
  /* The interface takes bytes that are not const; it may look, not write. */
  HRESULT answer =
      callback->lpVtbl->ReportResult(callback, call->status, (PBYTE)(uintptr_t)call->bytes, (DWORD)call->size);
  rsci_call_count_answer(call, answer);
  callback_release(callback);
  rsci_call_delivered(call);
}

const rsci_sink_ops rsci_callback_sink = {callback_hold, callback_release, NULL, NULL, callback_ended};

static void callback2_hold(void *object) {
  ICustomAction2ResultCallback *callback = object;
  (void)callback->lpVtbl->AddRef(callback);
}

static void callback2_release(void *object) {
  ICustomAction2ResultCallback *callback = object;
  (void)callback->lpVtbl->Release(callback);
}

/* The one place that knows in which form ReportResult is called. */

HRESULT rsci_callback2_report(ICustomAction2ResultCallback *callback, HRESULT status, const void *bytes, size_t size,
                              bool final) {
  PBYTE response = (PBYTE)(uintptr_t)bytes;
#if RSCA_SDK_REPORTRESULT
  return callback->lpVtbl->ReportResult(callback, status, final, response, (DWORD)size);
#else
  (void) final; /* any status but S_OK says so */
  return callback->lpVtbl->ReportResult(callback, status, response, (DWORD)size);
#endif
}

bool rsci_callback2_can_say(HRESULT status, bool final) {
#if RSCA_SDK_REPORTRESULT
  (void)status;
  (void) final;
  return true;
#else
  return final == (status != S_OK);
#endif
}

static HRESULT callback2_call(rsca_call *call, HRESULT status, const void *bytes, size_t size, bool final) {
  HRESULT answer = rsci_callback2_report(call->sink.object, status, bytes, size, final);
  rsci_call_count_answer(call, answer);
  return answer;
}

static HRESULT callback2_report(rsca_call *call, const void *bytes, size_t size) {
  if (SUCCEEDED(callback2_call(call, S_OK, bytes, size, false)))
    return S_OK;
  rsci_call_refuse(call);
  return RSCA_E_CANCELLED;
}

static void callback2_ended(rsca_call *call) {
  rsci_call_leave(call);
  (void)callback2_call(call, call->status, call->bytes, call->size, true);
  callback2_release(call->sink.object);
  rsci_call_delivered(call);
}

const rsci_sink_ops rsci_callback2_sink = {callback2_hold, callback2_release, callback2_report, NULL, callback2_ended};
