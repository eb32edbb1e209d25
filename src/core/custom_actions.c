#include "custom_actions.h"

#include <stddef.h>
#include <stdlib.h>

#include "manager.h"
#include "sinks.h"
#include "text.h"

static rsca_manager *manager_of(IPmCustomActions *iface) {
  return (rsca_manager *)((char *)iface - offsetof(rsca_manager, custom_actions));
}

static ULONG custom_actions_AddRef(IPmCustomActions *iface) {
  return rsca_manager_add_ref(manager_of(iface));
}

static ULONG custom_actions_Release(IPmCustomActions *iface) {
  return rsca_manager_release(manager_of(iface));
}

/* Text in UTF-8, in `room` where it fits. */
typedef struct converted {
  char room[256];
  char *text; /* `room`, or a malloc of its own */
  size_t size;
} converted;

static HRESULT convert(converted *out, PCWSTR text) {
  size_t units = rsci_utf16_length(text);
  out->text = out->room;
  out->size = rsci_utf16_to_utf8_size(text, units);
  if (out->size == RSCI_MALFORMED)
    return RSCA_E_NO_UNICODE_TRANSLATION;
  if (out->size > sizeof out->room && !(out->text = malloc(out->size)))
    return E_OUTOFMEMORY;
  rsci_utf16_to_utf8(text, units, out->text);
  return S_OK;
}

static void converted_fini(converted *text) {
  if (text->text != text->room)
    free(text->text);
}

/* What both methods that start something do with their parameters. */
static HRESULT start(rsca_manager *manager, rsci_session *session, PCWSTR name, PCWSTR args, const rsci_sink *sink) {
  static const WCHAR no_args[] = {0};
  if (!name || !sink->object || name[0] == 0)
    return E_INVALIDARG;
  converted name8, args8;
  HRESULT status = convert(&name8, name);
  if (FAILED(status))
    return status;
  status = convert(&args8, args ? args : no_args);
  if (SUCCEEDED(status)) {
    status = rsci_manager_run(manager, session, name8.text, name8.size, args8.text, args8.size, sink, NULL);
    converted_fini(&args8);
  }
  converted_fini(&name8);
  return status;
}

static HRESULT custom_actions_RunCustomAction(IPmCustomActions *iface, PCWSTR pszFunctionName, PCWSTR pszFunctionArgs,
                                              ICustomActionResultCallback *pCompletionCallbackClass) {
  const rsci_sink sink = {.ops = &rsci_callback_sink, .object = pCompletionCallbackClass};
  return start(manager_of(iface), NULL, pszFunctionName, pszFunctionArgs, &sink);
}

const IPmCustomActionsVtbl rsci_custom_actions_vtbl = {
    custom_actions_AddRef,
    custom_actions_Release,
    custom_actions_RunCustomAction,
};

/* ---- Sessions ---- */

static HRESULT register_callback(rsca_manager *manager, rsci_session *session, PCWSTR name, PCWSTR args,
                                 ICustomAction2ResultCallback *callback) {
  const rsci_sink sink = {.ops = &rsci_callback2_sink, .object = callback};
  return start(manager, session, name, args, &sink);
}

static HRESULT unregister_callback(rsca_manager *manager, rsci_session *session, PCWSTR name) {
  if (!name || name[0] == 0)
    return E_INVALIDARG;
  converted name8;
  HRESULT status = convert(&name8, name);
  if (FAILED(status))
    return status;
  status = rsci_manager_unregister_name(manager, session, name8.text, name8.size);
  converted_fini(&name8);
  return status;
}

/* The default session shares the manager's count. */

static rsca_manager *manager_of_default(IPmCustomActions2 *iface) {
  return (rsca_manager *)((char *)iface - offsetof(rsca_manager, custom_actions2));
}

static ULONG default_AddRef(IPmCustomActions2 *iface) {
  return rsca_manager_add_ref(manager_of_default(iface));
}

static ULONG default_Release(IPmCustomActions2 *iface) {
  return rsca_manager_release(manager_of_default(iface));
}

static HRESULT default_RegisterCustomActionCallback(IPmCustomActions2 *iface, PCWSTR pszFunctionName,
                                                    PCWSTR pszFunctionArgs,
                                                    ICustomAction2ResultCallback *pCompletionCallbackClass) {
  rsca_manager *manager = manager_of_default(iface);
  return register_callback(manager, &manager->default_session, pszFunctionName, pszFunctionArgs,
                           pCompletionCallbackClass);
}

static HRESULT default_UnregisterCustomActionCallback(IPmCustomActions2 *iface, PCWSTR pszFunctionName) {
  rsca_manager *manager = manager_of_default(iface);
  return unregister_callback(manager, &manager->default_session, pszFunctionName);
}

const IPmCustomActions2Vtbl rsci_custom_actions2_vtbl = {
    default_AddRef,
    default_Release,
    default_RegisterCustomActionCallback,
    default_UnregisterCustomActionCallback,
};

/* Those that are handed out have a count of their own. */

typedef struct session {
  IPmCustomActions2 iface;
  rsci_refs refs;
  rsca_manager *manager; /* a reference */
  rsci_session names;
} session;

static session *session_from(IPmCustomActions2 *iface) {
  return (session *)iface; /* its first member */
}

static ULONG session_AddRef(IPmCustomActions2 *iface) {
  return rsci_refs_add(&session_from(iface)->refs);
}

static ULONG session_Release(IPmCustomActions2 *iface) {
  session *self = session_from(iface);
  uint32_t count = rsci_refs_drop(&self->refs);
  if (count == 0) {
    rsci_manager_leave_session(self->manager, &self->names);
    (void)rsca_manager_release(self->manager);
    free(self);
  }
  return count;
}

static HRESULT session_RegisterCustomActionCallback(IPmCustomActions2 *iface, PCWSTR pszFunctionName,
                                                    PCWSTR pszFunctionArgs,
                                                    ICustomAction2ResultCallback *pCompletionCallbackClass) {
  session *self = session_from(iface);
  return register_callback(self->manager, &self->names, pszFunctionName, pszFunctionArgs, pCompletionCallbackClass);
}

static HRESULT session_UnregisterCustomActionCallback(IPmCustomActions2 *iface, PCWSTR pszFunctionName) {
  session *self = session_from(iface);
  return unregister_callback(self->manager, &self->names, pszFunctionName);
}

static const IPmCustomActions2Vtbl session_vtbl = {
    session_AddRef,
    session_Release,
    session_RegisterCustomActionCallback,
    session_UnregisterCustomActionCallback,
};

HRESULT rsca_manager_create_session(rsca_manager *manager, IPmCustomActions2 **out) {
  if (!out)
    return E_INVALIDARG;
  *out = NULL;
  if (!manager)
    return E_INVALIDARG;
  session *self = malloc(sizeof *self);
  if (!self)
    return E_OUTOFMEMORY;
  *self = (session){.iface = {&session_vtbl}, .manager = manager};
  rsci_refs_init(&self->refs);
  (void)rsca_manager_add_ref(manager);
  *out = &self->iface;
  return S_OK;
}
