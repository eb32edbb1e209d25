#include "custom_actions.h"

#include <stddef.h>
#include <stdlib.h>

#include "manager.h"
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

static HRESULT custom_actions_RunCustomAction(IPmCustomActions *iface, PCWSTR pszFunctionName, PCWSTR pszFunctionArgs,
                                              ICustomActionResultCallback *pCompletionCallbackClass) {
  static const WCHAR no_args[] = {0};
  if (!pszFunctionName || !pCompletionCallbackClass || pszFunctionName[0] == 0)
    return E_INVALIDARG;
  converted name, args;
  HRESULT status = convert(&name, pszFunctionName);
  if (FAILED(status))
    return status;
  status = convert(&args, pszFunctionArgs ? pszFunctionArgs : no_args);
  if (SUCCEEDED(status)) {
    const rsci_sink sink = {.ops = &rsci_callback_sink, .object = pCompletionCallbackClass};
    status = rsci_manager_run(manager_of(iface), name.text, name.size, args.text, args.size, &sink, NULL);
    converted_fini(&args);
  }
  converted_fini(&name);
  return status;
}

const IPmCustomActionsVtbl rsci_custom_actions_vtbl = {
    custom_actions_AddRef,
    custom_actions_Release,
    custom_actions_RunCustomAction,
};
