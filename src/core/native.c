#include "native.h"

#include <stdlib.h>
#include <string.h>

#include "call.h"

typedef struct function {
  rsca_action_fn fn;
  void *user;
  void (*free_user)(void *user);
} function;

static void native_turn(rsci_engine *engine, rsci_runner *runner) {
  rsci_task *task;
  while ((task = rsci_runner_next(runner, engine)) != NULL)
    task->ops->run(task);
}

static void finish_reported(rsca_call *call, HRESULT status) {
  rsci_call_finish(call, status, call->report.data, call->report.size);
}

static void native_start(rsci_engine *engine, rsca_call *call) {
  function *action = call->action->data;
  atomic_store_explicit(&engine->running, call, memory_order_release); /* who looks sends no signal: no order to keep */
  HRESULT status = action->fn(action->user, call, call->args.data, call->args.size);
  atomic_store_explicit(&engine->running, NULL, memory_order_release);
  /* After E_PENDING the call belongs to whoever will finish it, and may be gone already. */
  if (status != E_PENDING)
    finish_reported(call, status);
}

static void native_cancel(rsci_engine *engine, rsca_call *call) {
  (void)engine;
  rsci_call_end_cancelled(call);
}

static void native_room(rsci_engine *engine, rsca_call *call) {
  (void)engine;
  (void)call; /* a C action has been told, and asks again when it likes */
}

void rsci_native_forget(rsci_engine *engine, rsci_action *action) {
  (void)engine;
  function *gone = action->data;
  if (gone->free_user)
    gone->free_user(gone->user);
  free(gone);
}

static void native_destroy(rsci_engine *engine) {
  rsci_engine_fini(engine);
  free(engine);
}

static const rsci_engine_ops native_ops = {.turn = native_turn,
                                           .start = native_start,
                                           .cancel = native_cancel,
                                           .room = native_room,
                                           .forget = rsci_native_forget,
                                           .destroy = native_destroy};

rsci_engine *rsci_native_create(rsci_runner *runner) {
  rsci_engine *engine = malloc(sizeof *engine);
  if (engine && !rsci_engine_init(engine, &native_ops, runner)) {
    free(engine);
    engine = NULL;
  }
  return engine;
}

rsci_action *rsci_native_action(rsci_engine *engine, const char *name, const char *help, rsca_action_fn fn, void *user,
                                void (*free_user)(void *user)) {
  function *data = malloc(sizeof *data);
  if (!data)
    return NULL;
  *data = (function){fn, user, free_user};
  rsci_action *action = rsci_action_create(engine, name, help, "[C]", NULL);
  if (!action) {
    free(data);
    return NULL;
  }
  action->data = data;
  return action;
}

void rsci_native_action_free(rsci_action *action) {
  free(action->data);
  rsci_action_free(action);
}

/* Finishing later: the result travels to the engine's thread as the call's own task. */

static rsca_call *call_of_task(rsci_task *task) {
  return (rsca_call *)((char *)task - offsetof(rsca_call, task));
}

static void late_run(rsci_task *task) {
  rsca_call *call = call_of_task(task);
  finish_reported(call, call->late_status);
}

static void late_drop(rsci_task *task) {
  rsca_call *call = call_of_task(task);
  if (!rsci_call_keep_answer(call, task))
    finish_reported(call, call->late_status);
}

static const rsci_task_ops late_ops = {late_run, late_drop};

HRESULT rsci_native_finish(rsca_call *call, HRESULT status, const void *bytes, size_t size) {
  HRESULT kept = S_OK;
  bool fits = size <= call->calls->response_limit - call->report.size;
  if (size > 0 && !bytes)
    kept = E_INVALIDARG;
  else if (!fits || !rsci_call_append(call, &call->report, bytes, size))
    kept = E_OUTOFMEMORY;
  if (kept != S_OK) {
    status = kept;
    call->report.size = 0;
  }
  if (kept == E_OUTOFMEMORY && !fits) {
    atomic_store(&call->spoilt, rsci_oversize);
    status = S_OK; /* the end says that it did not fit */
  }
  call->late_status = status == E_PENDING ? E_FAIL : status;
  call->task.ops = &late_ops;
  if (!rsci_call_post_answer(call, &call->task))
    finish_reported(call, call->late_status);
  return kept;
}
