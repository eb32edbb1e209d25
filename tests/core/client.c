#include "client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local unsigned submitting; /* submits on this stack */
static _Thread_local unsigned reporting;  /* reports on this stack */

/* Results. */

uint64_t client_hash(const void *bytes, size_t size) {
  const unsigned char *at = bytes;
  uint64_t hash = UINT64_C(14695981039346656037);
  for (size_t i = 0; i < size; i++)
    hash = (hash ^ at[i]) * UINT64_C(1099511628211);
  return hash;
}

static void write_down(outcome *heard, HRESULT status, const void *bytes, size_t size, bool final) {
  heard->status = status;
  heard->size = size;
  heard->is_null = !bytes;
  heard->final = final;
  heard->on_stack_of_run = submitting > 0;
  heard->depth = reporting;
  heard->thread = pthread_self();
  heard->hash = client_hash(bytes, size);
  if (size > 0)
    memcpy(heard->bytes, bytes, size < sizeof heard->bytes ? size : sizeof heard->bytes);
  /* Whoever waits for the count may let it go at once. */
  void (*inside)(void *user) = heard->inside;
  void *user = heard->user;
  reporting++;
  atomic_fetch_add(&heard->reports, 1);
  if (inside)
    inside(user);
  reporting--;
}

bool ended_with(const outcome *heard, HRESULT status, const void *bytes, size_t size) {
  return atomic_load(&heard->reports) == 1 && heard->status == status && heard->size == size &&
         heard->is_null == (size == 0) && heard->final && !heard->on_stack_of_run &&
         heard->hash == client_hash(bytes, size);
}

bool ended_saying_why(const outcome *heard, HRESULT status) {
  return atomic_load(&heard->reports) == 1 && heard->status == status && heard->size > 0 && !heard->is_null &&
         heard->final && !heard->on_stack_of_run;
}

static void on_result(void *user, HRESULT status, const void *response, size_t size, bool final) {
  write_down(user, status, response, size, final);
}

HRESULT submit(rsca_manager *manager, const char *name, const char *args, outcome *heard, uint64_t *id) {
  submitting++;
  HRESULT status = rsca_manager_run(manager, name, args, on_result, heard, id);
  submitting--;
  return status;
}

/* The callback. */

static counting_callback *callback_of(ICustomActionResultCallback *iface) {
  return (counting_callback *)((char *)iface - offsetof(counting_callback, iface));
}

static ULONG callback_AddRef(ICustomActionResultCallback *iface) {
  return atomic_fetch_add(&callback_of(iface)->references, 1) + 1;
}

static ULONG callback_Release(ICustomActionResultCallback *iface) {
  counting_callback *callback = callback_of(iface);
  unsigned before = atomic_fetch_sub(&callback->references, 1);
  if (before <= 1) /* 1 is the test's */
    atomic_fetch_add(&callback->over_released, 1);
  return before - 1;
}

static HRESULT callback_ReportResult(ICustomActionResultCallback *iface, HRESULT hrStatus, PBYTE pbResponse,
                                     DWORD cbResponse) {
  counting_callback *callback = callback_of(iface);
  callback->heard.held = atomic_load(&callback->references);
  HRESULT answer = callback->answer;
  write_down(&callback->heard, hrStatus, pbResponse, cbResponse, true);
  return answer;
}

void counting_callback_init(counting_callback *callback) {
  static const ICustomActionResultCallbackVtbl vtbl = {callback_AddRef, callback_Release, callback_ReportResult};
  memset(callback, 0, sizeof *callback);
  callback->iface.lpVtbl = &vtbl;
  atomic_init(&callback->references, 1);
}

bool untouched(counting_callback *callback) {
  return atomic_load(&callback->references) == 1 && atomic_load(&callback->over_released) == 0 &&
         atomic_load(&callback->heard.reports) == 0;
}

HRESULT submit_to_interface(IPmCustomActions *actions, PCWSTR name, PCWSTR args, counting_callback *callback) {
  submitting++;
  HRESULT status = actions->lpVtbl->RunCustomAction(actions, name, args, callback ? &callback->iface : NULL);
  submitting--;
  return status;
}

/* The action. */

HRESULT obey(void *user, rsca_call *call, const char *args, size_t size) {
  obedient *self = user;
  self->call = call;
  self->id = rsca_call_id(call);
  self->thread = pthread_self();
  self->args_size = size;
  self->terminated = args[size] == '\0';
  memset(self->args, 0, sizeof self->args);
  memcpy(self->args, args, size < sizeof self->args ? size : sizeof self->args - 1);
  strncpy(self->name, rsca_call_name(call), sizeof self->name - 1);
  atomic_fetch_add(&self->runs, 1);
  HRESULT status = self->status; /* who finishes it from `inside` may have the last word on the rest */
  if (self->inside)
    self->inside(self, self->user);
  if (self->echo)
    self->report_status = rsca_call_report(call, args, size);
  else if (self->size > 0)
    self->report_status = rsca_call_report(call, self->bytes, self->size);
  return status;
}

void free_obedient(void *user) {
  obedient *action = user;
  atomic_fetch_add(&action->freed, 1);
}

HRESULT register_obedient(rsca_manager *manager, const char *name, obedient *action) {
  return rsca_manager_register(manager, name, NULL, obey, action, free_obedient);
}

/* The manager. */

rsca_manager *make_manager(const rsca_config *config) {
  rsca_manager *manager;
  if (rsca_manager_create(config, &manager) != S_OK)
    abort();
  return manager;
}

unsigned step_all(rsca_manager *manager) {
  unsigned steps = 0;
  while (rsca_manager_step(manager, 0) == S_OK)
    steps++;
  return steps;
}

bool is_readable(int fd) {
  struct pollfd watched = {.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&watched, 1, 0) == 1 && (watched.revents & POLLIN) != 0;
}

void wait_as_host(rsca_manager *manager) {
  struct pollfd watched = {.fd = rsca_manager_fd(manager), .events = POLLIN, .revents = 0};
  (void)poll(&watched, 1, rsca_manager_timeout_ms(manager));
}

/* Threads. */

void on_another_thread(void *(*body)(void *user), void *user) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, body, user) != 0 || pthread_join(thread, NULL) != 0)
    abort();
}

void gate_init(gate *self) {
  (void)sem_init(self, 0, 0);
}

void gate_open(gate *self) {
  (void)sem_post(self);
}

void gate_pass(gate *self) {
  while (sem_wait(self) != 0 && errno == EINTR)
    ;
}
