#include "foreign_registration.h"

#include <stdlib.h>
#include <string.h>

#include "core/call.h"
#include "core/text.h"
#include "adapter.h"
#include "error.h"
#include "foreign.h"
#include "hanging.h"
#include "native_proxy.h"
#include "utf16.h"
#include "worker.h"

/* What such a manager is given: puts what it reports into the stream, from whatever thread. */
typedef struct foreign_callback {
  ICustomAction2ResultCallback iface;
  rsci_refs refs;
  rsci_stream *stream; /* held */
  atomic_bool finished;
} foreign_callback;

static ULONG foreign_AddRef(ICustomAction2ResultCallback *iface) {
  return rsci_refs_add(&((foreign_callback *)iface)->refs);
}

/* Once. */
static void finish_foreign(foreign_callback *self, HRESULT status, const void *bytes, size_t size) {
  if (!atomic_exchange(&self->finished, true))
    rsci_stream_finish(self->stream, status, bytes, size);
}

static ULONG foreign_Release(ICustomAction2ResultCallback *iface) {
  foreign_callback *self = (foreign_callback *)iface;
  uint32_t count = rsci_refs_drop(&self->refs);
  if (count == 0) {
    static const char text[] = "the manager let go of the registration without a final report";
    finish_foreign(self, RPC_E_DISCONNECTED, text, sizeof text - 1);
    rsci_stream_release(self->stream);
    free(self);
  }
  return count;
}

static HRESULT report_foreign(foreign_callback *self, HRESULT status, bool final, const void *bytes, size_t size) {
  if (!bytes && size > 0)
    return E_INVALIDARG;
  if (atomic_load(&self->finished))
    return S_FALSE; /* it has heard the end: dropped */
  if (final) {
    finish_foreign(self, status, bytes, size);
    return S_OK;
  }
  HRESULT put = rsci_stream_put(self->stream, bytes, size, false);
  if (put == RSCA_E_CANCELLED)
    finish_foreign(self, put, rsci_refused, strlen(rsci_refused));
  if (put == E_OUTOFMEMORY) { /* a response was lost: better an end than a gap */
    static const char text[] = "out of memory while a response was copied";
    finish_foreign(self, put, text, sizeof text - 1);
  }
  if (put == RSCA_E_BUSY) {
    static const char text[] = "the script lags too far behind the responses";
    finish_foreign(self, RSCA_E_BUSY, text, sizeof text - 1);
  }
  return put;
}

#if RSCA_SDK_REPORTRESULT
static HRESULT foreign_ReportResult(ICustomAction2ResultCallback *iface, HRESULT hrStatus, BOOL fFinalResponse,
                                    PBYTE pbResponse, DWORD cbResponse) {
  return report_foreign((foreign_callback *)iface, hrStatus, fFinalResponse != 0, pbResponse, cbResponse);
}
#else
static HRESULT foreign_ReportResult(ICustomAction2ResultCallback *iface, HRESULT hrStatus, PBYTE pbResponse,
                                    DWORD cbResponse) {
  return report_foreign((foreign_callback *)iface, hrStatus, hrStatus != S_OK, pbResponse, cbResponse);
}
#endif

static const ICustomAction2ResultCallbackVtbl foreign_vtbl = {foreign_AddRef, foreign_Release, foreign_ReportResult};

enum { FOREIGN_LIMIT = 4096, FOREIGN_LIMIT_BYTES = 16 << 20 }; /* it can't be made to wait: more room than ours has */

HRESULT rscl_foreign_start(lua_State *L, rscl_state *state, rscl_owner *object, IPmCustomActions2 *actions, int proxy,
                           rscl_text name, rscl_text args, int handler) {
  int index = lua_gettop(L);
  luaL_checkstack(L, 6, NULL);
  PCWSTR name16 = rscl_push_utf16(L, name), args16 = rscl_push_utf16(L, args);
  const rsci_stream_limits limits = {FOREIGN_LIMIT, FOREIGN_LIMIT_BYTES, rscl_worker_account(state)};
  rscl_subscription *sub = rscl_subscription_create(L, object, state, actions, limits);
  size_t name_bytes = (rsci_utf16_length(name16) + 1) * sizeof *name16;
  foreign_callback *callback = NULL;
  if (!sub || !(sub->foreign_name = malloc(name_bytes)))
    return E_OUTOFMEMORY;
  memcpy(sub->foreign_name, name16, name_bytes);
  lua_getiuservalue(L, RSCL_BOX, RSCL_UV_HANGING);
  lua_getiuservalue(L, RSCL_BOX, RSCL_UV_SLOTS);
  rscl_slots_reserve(L, -1, &state->slots);
  if (handler) {
    lua_pushvalue(L, handler);
    sub->slot = rscl_hang(L, state, -3, proxy, NULL);
  }
  /* A finalizer that ran meanwhile may have released it, or taken the slot. */
  actions = rscl_native_peek(L, proxy, &rscl_custom_actions2_type);
  if (!actions || !state->slots.free || !(callback = malloc(sizeof *callback))) {
    if (sub->slot)
      rscl_unhang(L, state, sub->owner, sub->slot);
    sub->slot = 0;
    (void)rscl_native_check(L, proxy, &rscl_custom_actions2_type); /* raises where it was that */
    return E_OUTOFMEMORY;
  }
  (void)actions->lpVtbl->AddRef(actions);
  *callback = (foreign_callback){.iface = {&foreign_vtbl}, .stream = sub->stream};
  rsci_refs_init(&callback->refs);
  atomic_init(&callback->finished, false);
  rsci_stream_hold(sub->stream);
  lua_pushvalue(L, proxy);
  sub->anchor = rscl_slots_put(L, -2, &state->slots, NULL);
  sub->foreign = true;
  rscl_subscription_begin(sub);
  HRESULT status = actions->lpVtbl->RegisterCustomActionCallback(actions, name16, args16, &callback->iface);
  if (FAILED(status)) {
    atomic_store(&callback->finished, true);
    rscl_subscription_end(sub, L);
  }
  (void)foreign_Release(&callback->iface);
  (void)actions->lpVtbl->Release(actions);
  lua_settop(L, index);
  rscl_adapter_tell(L, state);
  return status;
}

int rscl_subscribe_foreign(lua_State *L, rscl_state *state, IPmCustomActions2 *actions, int proxy, rscl_text name,
                           rscl_text args, int handler) {
  rscl_owner *object = rscl_subscription_push(L, proxy);
  HRESULT status = rscl_foreign_start(L, state, object, actions, proxy, name, args, handler);
  return FAILED(status) ? rscl_refused(L, status, name.data) : 1;
}

HRESULT rscl_register_foreign(lua_State *L, rscl_state *state, IPmCustomActions2 *actions, int proxy, rscl_text name,
                              rscl_text args, int handler) {
  rscl_owner *object = rscl_subscription_push(L, proxy);
  return rscl_foreign_start(L, state, object, actions, proxy, name, args, handler);
}

/* Tells the manager, unless it has said that there is nothing left to end: then the name may be somebody else's. False:
 * it could not be told, or would not. */
static bool unregister(lua_State *L, rscl_subscription *sub) {
  if (rsci_stream_is_finished(sub->stream))
    return false;
  (void)rscl_push_box(L);
  lua_getiuservalue(L, -1, RSCL_UV_SLOTS);
  lua_rawgeti(L, -1, (lua_Integer)sub->anchor);
  IPmCustomActions2 *actions = rscl_native_peek(L, -1, &rscl_custom_actions2_type);
  lua_pop(L, 3);
  if (!actions)
    return false;
  (void)actions->lpVtbl->AddRef(actions);
  bool told = SUCCEEDED(actions->lpVtbl->UnregisterCustomActionCallback(actions, sub->foreign_name));
  (void)actions->lpVtbl->Release(actions);
  return told;
}

bool rscl_foreign_close(lua_State *L, rscl_subscription *sub) {
  bool told = unregister(L, sub);
  if (!sub->slot)
    rscl_subscription_end(sub, L);
  return told;
}

void rscl_foreign_refuse(lua_State *L, rscl_subscription *sub) {
  rsci_stream_refuse(sub->stream);
  if (!rsci_stream_is_finished(sub->stream)) {
    (void)unregister(L, sub);
    rsci_stream_finish(sub->stream, RSCA_E_CANCELLED, rsci_refused, strlen(rsci_refused));
  }
}
