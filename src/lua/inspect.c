#include "inspect.h"

#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>

#include "error.h"
#include "fiber.h"
#include "manager_proxy.h"
#include "memory.h"

/* ---- Answering ---- */

/* Names of functions may be of any length, and there is one of these for each call. */
enum { MOST_BYTES = 16 * 1024 };

static char *copy(const char *text) {
  size_t size = strnlen(text, MOST_BYTES);
  char *copied = malloc(size + 1);
  if (copied) {
    memcpy(copied, text, size);
    copied[size] = '\0';
  }
  return copied;
}

static int traceback_main(lua_State *L) {
  luaL_traceback(L, lua_touserdata(L, 1), NULL, (int)lua_tointeger(L, 2));
  return 1;
}

/* Of a coroutine that rests. NULL: there is no memory. [-0, +0, -] */
static char *traceback_of(lua_State *L, lua_State *co) {
  if (!lua_checkstack(L, 4))
    return NULL;
  lua_pushcfunction(L, traceback_main);
  lua_pushlightuserdata(L, co);
  lua_pushinteger(L, L == co ? 1 : 0); /* without this very function */
  char *text = lua_pcall(L, 2, 1, 0) == LUA_OK ? copy(lua_tostring(L, -1)) : NULL;
  lua_pop(L, 1);
  return text;
}

static rscl_fiber *fiber_of(const rsca_call *call) {
  bool runs = atomic_load(&call->phase) == RSCI_CALL_RUNNING;
  return runs ? call->fiber : NULL;
}

/* Answers all that was asked for; on the state's thread. `running`: the coroutine whose hook this is, or NULL. */
static void answer(lua_State *L, rscl_state *state, lua_State *running) {
  rsci_inspected *asked = atomic_exchange(&state->stop.inspected, NULL);
  rsca_call *call_running = running ? atomic_load(&state->engine.running) : NULL;
  while (asked) {
    rsci_inspected *next = asked->next;
    rscl_fiber *fiber = fiber_of(asked->call);
    char *traceback = NULL;
    if (asked->call == call_running)
      traceback = traceback_of(L, running);
    else if (fiber && fiber->co)
      traceback = traceback_of(L, fiber->co);
    rsci_inspected_tell(asked, traceback);
    asked = next;
  }
}

static void inspect_run(rsci_task *task) {
  rscl_state *state = (rscl_state *)task->engine;
  answer(state->turn, state, NULL);
  rsci_snapshot_release(((rsci_inspected *)task)->snapshot);
}

/* The state has closed: nobody takes from its list any more. */
static void inspect_drop(rsci_task *task) {
  rsci_inspected *inspected = (rsci_inspected *)task;
  rsci_inspected_tell(inspected, NULL);
  rsci_snapshot_release(inspected->snapshot);
}

static const rsci_task_ops inspect_ops = {inspect_run, inspect_drop};

void rscl_inspect(rscl_state *state, rsci_inspected *inspected) {
  inspected->task.ops = &inspect_ops;
  inspected->next = atomic_load(&state->stop.inspected);
  while (!atomic_compare_exchange_weak(&state->stop.inspected, &inspected->next, inspected))
    ;
  /* What runs now may keep the state from its tasks for long: then its hook answers, for all. */
  if (rsci_engine_post(&state->engine, &inspected->task))
    rscl_stop_interrupt(state, atomic_load(&state->engine.running));
  else
    inspect_drop(&inspected->task);
}

void rscl_inspect_running(lua_State *L, rscl_state *state) {
  if (atomic_load_explicit(&state->stop.inspected, memory_order_relaxed))
    answer(L, state, L);
}

/* ---- Asking ---- */

static void set_text(lua_State *L, const char *key, const char *text) {
  lua_pushstring(L, text);
  lua_setfield(L, -2, key);
}

static void push_call(lua_State *L, const rsca_call_info *info) {
  lua_createtable(L, 0, 7);
  lua_pushinteger(L, (lua_Integer)info->id);
  lua_setfield(L, -2, "id");
  set_text(L, "action", info->action);
  set_text(L, "args", info->args);
  lua_pushnumber(L, (lua_Number)info->age_ms / 1e3);
  lua_setfield(L, -2, "age");
  set_text(L, "state", info->state);
  lua_pushboolean(L, info->registration);
  lua_setfield(L, -2, "registration");
  if (info->traceback)
    set_text(L, "traceback", info->traceback);
}

/* Owned by an object, should something raise. */
typedef struct seen {
  rscl_owned owned;
  rsci_snapshot *snapshot; /* NULL: nothing yet */
} seen;

static void drop_seen(rscl_owned *owned) {
  seen *self = (seen *)owned;
  if (self->snapshot)
    rsci_snapshot_release(self->snapshot);
  free(self);
}

static const luaL_Reg seen_meta[] = {{"__gc", rscl_owner_gc}, {NULL, NULL}};
static const rscl_type seen_type = {"rsca.seen", seen_meta, NULL, NULL};

/* [-0, +1, m] */
static seen *push_seen(lua_State *L) {
  return rscl_push_owned(L, rscl_owned_of_box(L, RSCL_BOX), 0, &seen_type, sizeof(seen), drop_seen);
}

/* [-0, +1, m] */
static void push_calls(lua_State *L, const rsci_snapshot *snapshot) {
  lua_createtable(L, (int)snapshot->count, 0);
  for (size_t i = 0; i < snapshot->count; i++) {
    push_call(L, &snapshot->calls[i].info);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

/* Where the calls of this very state are. */
static void look_here(lua_State *L, rscl_state *state, rsci_snapshot *snapshot) {
  for (size_t i = 0; i < snapshot->count; i++) {
    rsci_inspected *one = &snapshot->calls[i];
    if (atomic_load(&one->call->engine) != &state->engine)
      continue;
    rscl_fiber *fiber = fiber_of(one->call);
    if (fiber && fiber->co)
      one->traceback = traceback_of(L, fiber->co);
  }
}

int rscl_running_calls(lua_State *L, rscl_state *state, int proxy) {
  luaL_checkstack(L, 8, NULL);
  seen *calls = push_seen(L);
  rscl_owner *owner = lua_touserdata(L, -1);
  rsca_manager *manager = rscl_manager_test(L, proxy); /* a finalizer may have closed it */
  calls->snapshot = manager ? rsci_snapshot_take(manager) : NULL;
  if (!calls->snapshot)
    return rscl_fail(L, manager ? E_OUTOFMEMORY : RSCA_E_SHUTDOWN_IN_PROGRESS, NULL, NULL);
  look_here(L, state, calls->snapshot);
  rsci_snapshot_ask(calls->snapshot, &state->engine);
  push_calls(L, calls->snapshot);
  rscl_disown(owner);
  return 1;
}

void rscl_push_cut_calls(lua_State *L, int proxy) {
  luaL_checkstack(L, 8, NULL);
  proxy = lua_absindex(L, proxy);
  seen *calls = push_seen(L);
  rscl_owner *owner = lua_touserdata(L, -1);
  rsca_manager *manager = rscl_manager_test(L, proxy); /* a finalizer may have closed it */
  calls->snapshot = manager ? rsci_snapshot_of_cut(manager) : NULL;
  if (calls->snapshot)
    push_calls(L, calls->snapshot);
  else
    lua_newtable(L);
  rscl_disown(owner);
  lua_remove(L, -2);
}
