/*
 * The entry point of a protocol manager, in a file of its own: the linker leaves it out of a program that defines
 * another one and is linked with the archive.
 */
#include <rsca/protocol_manager.h>

HRESULT GetProtocolManager(IWorkerProcessFramework *framework, IProtocolManager **out) {
  (void)framework;
  if (!out)
    return E_INVALIDARG;
  *out = NULL;
  rsca_manager *manager;
  HRESULT status = rsca_manager_create(NULL, &manager);
  if (FAILED(status))
    return status;
  *out = rsca_manager_protocol_manager(manager);
  (void)rsca_manager_release(manager); /* the interface has it */
  return S_OK;
}
