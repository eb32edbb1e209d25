#include "adapter.h"

/* Of the adapter's table, a user value of the box. */
enum { MAY_WAIT = 1, WAIT, PENDING, NAME };

/* set(may_wait, wait, pending, name), for the Lua half: the name of one that is set already, or nothing */
static int set(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  lua_settop(L, NAME);
  if (state->adapted) {
    lua_getiuservalue(L, RSCL_BOX, RSCL_UV_ADAPTER);
    lua_rawgeti(L, -1, NAME);
    return 1;
  }
  lua_createtable(L, NAME, 0);
  lua_insert(L, 1);
  for (int place = NAME; place >= MAY_WAIT; place--)
    lua_rawseti(L, 1, place);
  lua_setiuservalue(L, RSCL_BOX, RSCL_UV_ADAPTER);
  state->adapted = true;
  return 0;
}

int rscl_set_adapter(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  lua_settop(L, 1);
  if (lua_isnil(L, 1)) {
    state->adapted = false;
    lua_setiuservalue(L, RSCL_BOX, RSCL_UV_ADAPTER);
    return 0;
  }
  lua_getglobal(L, "require");
  lua_pushliteral(L, "rsca.adapter");
  lua_call(L, 1, 1);
  lua_insert(L, 1);
  lua_pushvalue(L, RSCL_BOX);
  lua_pushcclosure(L, set, 1);
  lua_call(L, 2, 0);
  return 0;
}

rscl_mode rscl_adapter_mode(lua_State *L) {
  luaL_checkstack(L, 4, NULL);
  lua_getiuservalue(L, RSCL_BOX, RSCL_UV_ADAPTER);
  lua_rawgeti(L, -1, MAY_WAIT);
  lua_call(L, 0, 1);
  if (lua_type(L, -1) == LUA_TSTRING)
    return (rscl_mode)luaL_error(L, "can't wait here: %s", lua_tostring(L, -1));
  bool adapts = lua_toboolean(L, -1);
  lua_pop(L, 2);
  if (adapts && !lua_isyieldable(L))
    return (rscl_mode)luaL_error(L, "can't wait here: inside a function that can't yield");
  return adapts ? RSCL_ADAPT : RSCL_BLOCK;
}

static void tell(lua_State *L) {
  lua_getiuservalue(L, RSCL_BOX, RSCL_UV_ADAPTER);
  lua_rawgeti(L, -1, PENDING);
  lua_remove(L, -2);
  /* What has begun has begun, whatever becomes of this. */
  if (lua_isnil(L, -1) || lua_pcall(L, 0, 0, 0) != LUA_OK)
    lua_pop(L, 1);
}

void rscl_adapter_tell(lua_State *L, rscl_state *state) {
  if (state->adapted && state->idle && lua_checkstack(L, 4)) {
    state->idle = false;
    tell(L);
  }
}

/* ---- What runs on the fiber ---- */

/* Owns the spawned function: when it goes, so does that. */
typedef struct task {
  uint64_t ticket; /* of the fiber's slot; 0: none yet */
} task;

static int task_close(lua_State *L) {
  task *owner = lua_touserdata(L, 1);
  uint64_t ticket = owner->ticket;
  owner->ticket = 0;
  rscl_state *state = ((rscl_box *)lua_touserdata(L, RSCL_BOX))->state;
  rscl_fiber *fiber = ticket && state ? rscl_slots_owner(&state->slots, ticket) : NULL;
  if (fiber)
    rscl_fiber_give_up(fiber);
  return 0;
}

static const luaL_Reg task_meta[] = {{"__gc", task_close}, {"__close", task_close}, {NULL, NULL}};
static const rscl_type task_type = {"rsca.task", task_meta, NULL, NULL};

/* spawn(f, ...): as rsca.spawn, but with an object that ends it when that is closed or collected */
static int spawn(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  int nargs = lua_gettop(L) - 1;
  task *owner = lua_newuserdatauv(L, sizeof *owner, 0);
  *owner = (task){0};
  rscl_object_set_type(L, &task_type);
  lua_insert(L, 1);
  lua_getiuservalue(L, RSCL_BOX, RSCL_UV_SLOTS);
  lua_insert(L, 2);
  rscl_fiber *fiber = rscl_fiber_create(L, 2, state, RSCL_SPAWNED, NULL);
  if (!rscl_fiber_post(fiber, L, 2, nargs))
    luaL_error(L, "too many arguments to wait with");
  fiber->hosted = true;
  owner->ticket = rscl_fiber_ticket(fiber);
  lua_settop(L, 1);
  return 1;
}

/* ---- Waiting ---- */

static int adapted(lua_State *L, int status, lua_KContext unused) {
  (void)status;
  (void)unused;
  return lua_gettop(L);
}

int rscl_adapt(lua_State *L, int nargs) {
  lua_Debug running;
  lua_settop(L, nargs);
  luaL_checkstack(L, 5, NULL);
  lua_getiuservalue(L, RSCL_BOX, RSCL_UV_ADAPTER);
  lua_rawgeti(L, -1, WAIT);
  lua_replace(L, -2);
  lua_insert(L, 1);
  lua_pushvalue(L, RSCL_BOX);
  lua_pushcclosure(L, spawn, 1);
  lua_insert(L, 2);
  (void)lua_getstack(L, 0, &running);
  (void)lua_getinfo(L, "f", &running);
  lua_insert(L, 3);
  lua_callk(L, nargs + 2, LUA_MULTRET, 0, adapted);
  return adapted(L, LUA_OK, 0);
}
