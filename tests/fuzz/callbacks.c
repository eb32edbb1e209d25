#include "callbacks.h"

#include <stddef.h>

#include "clients.h"

static void told(call *self, HRESULT status, const void *bytes, size_t size, bool final) {
  call_told(self, status, bytes, size, final);
  clients_misbehave(self, final ? IN_END : IN_RESPONSE);
  if (final)
    call_unhold(self);
  call_told_end(self, final);
}

void callbacks_result(void *user, HRESULT status, const void *response, size_t size, bool final) {
  told(user, status, response, size, final);
}

/* ---- Objects ---- */

static ULONG take_reference(call *self) {
  int before = atomic_fetch_add(&self->references, 1);
  if (before < 1)
    model_broken(self, "a reference to its callback is taken after the last was given back");
  return (ULONG)before + 1;
}

static ULONG give_reference(call *self) {
  int left = atomic_fetch_sub(&self->references, 1) - 1;
  if (left < 1)
    model_broken(self, "a reference to its callback is given back that was never taken");
  return (ULONG)left;
}

/* Some fail. A registration that hears of a failure ends; what a run or a final answers is only counted. */
static HRESULT answer(call *self, bool final) {
  chance luck = chance_of(self->seed, 1000 + atomic_load(&self->responses));
  if (!chance_one_in(&luck, final ? 10 : 60))
    return S_OK;
  if (!final) {
    (void)atomic_fetch_or(&self->may, MAY_CANCEL);
    history_add(&self->past, RESPONSE_REFUSED, 0);
  }
  (void)atomic_fetch_add(&self->of->failed_callbacks, 1);
  return E_FAIL;
}

static HRESULT report(call *self, HRESULT status, PBYTE bytes, DWORD size, bool final) {
  HRESULT says = answer(self, final);
  told(self, status, bytes, size, final);
  return says;
}

static call *call_of_callback(ICustomActionResultCallback *iface) {
  return (call *)((char *)iface - offsetof(call, callback));
}

static ULONG callback_AddRef(ICustomActionResultCallback *iface) {
  return take_reference(call_of_callback(iface));
}

static ULONG callback_Release(ICustomActionResultCallback *iface) {
  return give_reference(call_of_callback(iface));
}

static HRESULT callback_ReportResult(ICustomActionResultCallback *iface, HRESULT hrStatus, PBYTE pbResponse,
                                     DWORD cbResponse) {
  return report(call_of_callback(iface), hrStatus, pbResponse, cbResponse, true);
}

static const ICustomActionResultCallbackVtbl callback_vtbl = {callback_AddRef, callback_Release, callback_ReportResult};

static call *call_of_callback2(ICustomAction2ResultCallback *iface) {
  return (call *)((char *)iface - offsetof(call, callback2));
}

static ULONG callback2_AddRef(ICustomAction2ResultCallback *iface) {
  return take_reference(call_of_callback2(iface));
}

static ULONG callback2_Release(ICustomAction2ResultCallback *iface) {
  return give_reference(call_of_callback2(iface));
}

static HRESULT callback2_ReportResult(ICustomAction2ResultCallback *iface, RSCA_REPORTRESULT2_PARAMETERS) {
  bool final = hrStatus != S_OK;
#if RSCA_SDK_REPORTRESULT
  if ((fFinalResponse != FALSE) != final)
    model_broken(call_of_callback2(iface), "fFinalResponse is %d, with 0x%08x", fFinalResponse, (unsigned)hrStatus);
#endif
  return report(call_of_callback2(iface), hrStatus, pbResponse, cbResponse, final);
}

static const ICustomAction2ResultCallbackVtbl callback2_vtbl = {callback2_AddRef, callback2_Release,
                                                                callback2_ReportResult};

static call *call_of_health(IHealthStatusCallback *iface) {
  return (call *)((char *)iface - offsetof(call, health));
}

static ULONG health_AddRef(IHealthStatusCallback *iface) {
  return take_reference(call_of_health(iface));
}

static ULONG health_Release(IHealthStatusCallback *iface) {
  return give_reference(call_of_health(iface));
}

static HRESULT health_ReportHealth(IHealthStatusCallback *iface, BOOL fHealthy) {
  call *self = call_of_health(iface);
  told(self, fHealthy ? S_OK : S_FALSE, NULL, 0, true);
  return S_OK;
}

static const IHealthStatusCallbackVtbl health_vtbl = {health_AddRef, health_Release, health_ReportHealth};

void callbacks_init(call *self) {
  if (self->kind == HEALTH)
    self->health.lpVtbl = &health_vtbl;
  else if (self->kind == REGISTER)
    self->callback2.lpVtbl = &callback2_vtbl;
  else
    self->callback.lpVtbl = &callback_vtbl;
}
