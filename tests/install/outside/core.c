/* The C API of an installed rsca. */
#include <stdio.h>
#include <stdlib.h>

#include <rsca/manager.h>
#include <rsca/version.h>

static HRESULT ping(void *user, rsca_call *call, const char *args, size_t size) {
  (void)user;
  return rsca_call_report(call, args, size);
}

static void on_result(void *user, HRESULT status, const void *response, size_t size, bool final) {
  int *told = user;
  *told += final;
  printf("core %s 0x%08X %.*s\n", RSCA_VERSION, (unsigned)status, (int)size, size > 0 ? (const char *)response : "");
}

int main(void) {
  int told = 0;
  rsca_manager *manager;
  if (FAILED(rsca_manager_create(NULL, &manager)) ||
      FAILED(rsca_manager_register(manager, "ping", NULL, ping, NULL, NULL)) ||
      FAILED(rsca_manager_run(manager, "ping", "pong", on_result, &told, NULL)))
    return EXIT_FAILURE;
  while (rsca_manager_step(manager, 0) == S_OK) {
  }
  return rsca_manager_release(manager) == 0 && told == 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}
