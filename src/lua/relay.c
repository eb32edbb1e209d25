#include "relay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "log.h"

/* How many messages may be on their way, and how many bytes if it is more than one; what is said beyond that is lost,
 * and counted. */
enum { MOST_MESSAGES = 1000, MOST_BYTES = 1 << 20 };

struct rscl_relay {
  rsci_refs refs;
  rscl_state *state; /* held */
  atomic_int waiting;
  atomic_size_t waiting_bytes;
  atomic_int lost;
};

typedef struct message {
  rsci_task task;
  rscl_relay *relay; /* held */
  HRESULT status;    /* S_OK: something logged */
  char level[8];
  size_t size;
  char text[]; /* with a NUL after it */
} message;

rscl_relay *rscl_relay_create(rscl_state *state) {
  rscl_relay *relay = calloc(1, sizeof *relay);
  if (relay) {
    rsci_refs_init(&relay->refs);
    rsci_engine_hold(&state->engine);
    relay->state = state;
  }
  return relay;
}

void rscl_relay_hold(rscl_relay *relay) {
  (void)rsci_refs_add(&relay->refs);
}

void rscl_relay_release(rscl_relay *relay) {
  if (rsci_refs_drop(&relay->refs) > 0)
    return;
  rsci_engine_release(&relay->state->engine);
  free(relay);
}

/* ---- On the state's thread ---- */

static void message_free(rsci_task *task) {
  message *said = (message *)task;
  (void)atomic_fetch_sub(&said->relay->waiting, 1);
  (void)atomic_fetch_sub(&said->relay->waiting_bytes, said->size);
  rscl_relay_release(said->relay);
  free(said);
}

static int log_main(lua_State *L) {
  const message *said = lua_touserdata(L, 1);
  rscl_log_deliver(L, said->relay->state, 2, said->level, said->text, said->size);
  return 0;
}

static void undo_message(rscl_state *state, void *subject, lua_State *L, int status) {
  (void)state;
  (void)L;
  (void)status;
  message_free(subject);
}

static void message_run(rsci_task *task) {
  message *said = (message *)task;
  rscl_state *state = said->relay->state;
  lua_State *L = state->turn;
  rscl_guard_set(state, undo_message, task);
  int lost = atomic_exchange(&said->relay->lost, 0);
  if (lost > 0) {
    lua_pushfstring(L, "%d messages of workers were lost: too many at a time", lost);
    rscl_report(L, state, RSCA_E_BUSY, NULL);
  }
  if (FAILED(said->status)) {
    lua_pushlstring(L, said->text, said->size);
    rscl_report(L, state, said->status, NULL);
  } else {
    lua_pushcfunction(L, log_main);
    lua_pushlightuserdata(L, said);
    lua_getiuservalue(L, RSCL_TURN_BOX, RSCL_UV_MODULE);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK)
      rscl_report(L, state, E_FAIL, NULL);
  }
  rscl_guard_clear(state);
  message_free(task);
}

static const rsci_task_ops message_ops = {message_run, message_free};

/* ---- On a worker's ---- */

static void send(rscl_relay *relay, HRESULT status, const char *level, const char *text, size_t size) {
  message *said = NULL;
  int waiting = atomic_fetch_add(&relay->waiting, 1);
  size_t bytes = atomic_fetch_add(&relay->waiting_bytes, size);
  if (waiting < MOST_MESSAGES && (bytes == 0 || (bytes <= MOST_BYTES && size <= MOST_BYTES - bytes)))
    said = malloc(sizeof *said + size + 1);
  if (!said) {
    (void)atomic_fetch_sub(&relay->waiting, 1);
    (void)atomic_fetch_sub(&relay->waiting_bytes, size);
    (void)atomic_fetch_add(&relay->lost, 1);
    return;
  }
  *said = (message){.task = {.ops = &message_ops}, .relay = relay, .status = status, .size = size};
  (void)snprintf(said->level, sizeof said->level, "%s", level);
  memcpy(said->text, text, size);
  said->text[size] = '\0';
  rscl_relay_hold(relay);
  if (!rsci_engine_post(&relay->state->engine, &said->task))
    message_free(&said->task);
}

void rscl_relay_error(rscl_relay *relay, HRESULT status, const char *text) {
  send(relay, status, "error", text, strlen(text));
}

static int worker_on_log(lua_State *L) {
  size_t size;
  const char *level = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &size);
  send(lua_touserdata(L, lua_upvalueindex(1)), S_OK, level, text, size);
  return 0;
}

/* err: its status, message and traceback, as the other state will put them together again. */
static int worker_on_error(lua_State *L) {
  HRESULT status = E_FAIL;
  size_t size;
  if (rscl_is_error(L, 1)) {
    (void)rscl_push_error_field(L, 1, "status");
    status = rscl_failure_status(L, -1, E_FAIL);
    (void)rscl_push_error_field(L, 1, "message");
    if (rscl_push_error_field(L, 1, "traceback") == LUA_TSTRING) {
      lua_pushliteral(L, "\n");
      lua_insert(L, -2);
      lua_concat(L, 3);
    } else {
      lua_pop(L, 1);
    }
  } else {
    lua_settop(L, 1);
  }
  const char *text = luaL_tolstring(L, -1, &size);
  send(lua_touserdata(L, lua_upvalueindex(1)), status, "error", text, size);
  return 0;
}

void rscl_relay_open(lua_State *L, rscl_relay *relay) {
  lua_pushlightuserdata(L, relay); /* the script keeps it, and outlives the state */
  lua_pushcclosure(L, worker_on_log, 1);
  lua_setfield(L, -2, "on_log");
  lua_pushlightuserdata(L, relay);
  lua_pushcclosure(L, worker_on_error, 1);
  lua_setfield(L, -2, "on_error");
}
