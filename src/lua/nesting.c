#include "nesting.h"

#include <lauxlib.h>

#include "fiber.h"
#include "state.h"
#include "stop.h"

#if LUA_VERSION_RELEASE_NUM >= 50406
#define close_coroutine(co, from) lua_closethread(co, from)
#else
#define close_coroutine(co, from) lua_resetthread(co)
#endif

static lua_State *check_coroutine(lua_State *L) {
  lua_State *co = lua_tothread(L, 1);
  luaL_argexpected(L, co, 1, "coroutine");
  return co;
}

static bool is_suspended(lua_State *co) {
  lua_Debug frame;
  if (lua_status(co) == LUA_YIELD)
    return true;
  return lua_status(co) == LUA_OK && lua_getstack(co, 0, &frame) == 0 && lua_gettop(co) > 0;
}

static bool is_dead(lua_State *co) {
  lua_Debug frame;
  return lua_status(co) > LUA_YIELD || (lua_status(co) == LUA_OK && lua_getstack(co, 0, &frame) == 0);
}

/* Runs the pending <close> variables. [-0, +1, v] where it returns a failure: the error */
static int close_nested(lua_State *L, rscl_state *state, lua_State *co) {
  rscl_running running;
  rscl_stop_nest(L, state, &running, co);
  int status = close_coroutine(co, L);
  (void)rscl_stop_unnest(state, &running);
  if (status != LUA_OK)
    lua_xmove(co, L, 1);
  return status;
}

/* Moves `nargs` from the top of L to the coroutine, and runs it. The results are on top: their number, or -1 and what
 * it raised. [-nargs, +n, v] */
static int resume(lua_State *L, rscl_state *state, lua_State *co, int nargs) {
  int nresults = 0;
  rscl_running running;
  if (!is_suspended(co) || !lua_checkstack(co, nargs)) {
    lua_pop(L, nargs);
    lua_pushstring(L, is_suspended(co) ? "too many arguments to resume"
                      : is_dead(co)    ? "cannot resume dead coroutine"
                                       : "cannot resume non-suspended coroutine");
    return -1;
  }
  rscl_stop_nest(L, state, &running, co);
  lua_xmove(L, co, nargs);
  int status = lua_resume(co, L, nargs, &nresults);
  if (rscl_stop_unnest(state, &running)) {
    bool before = rscl_stop_set_closing(state, true);
    if (close_nested(L, state, co) != LUA_OK)
      lua_pop(L, 1);
    (void)rscl_stop_set_closing(state, before);
    rscl_stop_pass_on(L, state); /* does not return, but in a clean-up */
    lua_pushliteral(L, "stopped");
    return -1;
  }
  rscl_stop_pass_on(L, state);
  if (status != LUA_OK && status != LUA_YIELD) {
    lua_xmove(co, L, 1);
    return -1;
  }
  if (!lua_checkstack(L, nresults + 1)) {
    lua_pop(co, nresults);
    lua_pushliteral(L, "too many results to resume");
    return -1;
  }
  lua_xmove(co, L, nresults);
  return nresults;
}

static int nested_resume(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  lua_State *co = check_coroutine(L);
  int count = resume(L, state, co, lua_gettop(L) - 1);
  lua_pushboolean(L, count >= 0);
  lua_insert(L, count >= 0 ? -(count + 1) : -2);
  return count >= 0 ? count + 1 : 2;
}

static int wrapped(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  lua_State *co = lua_tothread(L, lua_upvalueindex(2));
  int count = resume(L, state, co, lua_gettop(L));
  if (count >= 0)
    return count;
  if (lua_status(co) > LUA_YIELD) { /* its own error: what is open is closed, which may change it */
    if (close_nested(L, state, co) != LUA_OK)
      lua_replace(L, -2);
  }
  if (lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

static int nested_create(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_State *co = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  return 1;
}

static int nested_wrap(lua_State *L) {
  (void)nested_create(L);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, -2);
  lua_pushcclosure(L, wrapped, 2);
  return 1;
}

/* What closes a coroutine in whose clean-up another one is closed, and so on, goes no deeper into the C stack: before
 * 5.4.6 Lua does not count that, as each coroutine goes on from where it was resumed. */
enum { MOST_STACK_BYTES = 1 << 20 };

static int nested_close(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  lua_State *co = check_coroutine(L);
  if (co == L || !(is_suspended(co) || is_dead(co)))
    return luaL_error(L, "cannot close a %s coroutine", co == L ? "running" : "normal");
  if (rscl_stop_stack_used(state) > MOST_STACK_BYTES)
    return luaL_error(L, "C stack overflow");
  bool ok = close_nested(L, state, co) == LUA_OK;
  lua_pushboolean(L, ok);
  lua_insert(L, ok ? -1 : -2);
  return ok ? 1 : 2;
}

/* Whoever has the coroutine may resume it at any time. */
static int nested_running(lua_State *L) {
  rscl_fiber *fiber = rscl_check_state(L)->current;
  if (fiber && fiber->co == L)
    fiber->exposed = true;
  lua_pushboolean(L, lua_pushthread(L));
  return 2;
}

/* A message handler would run before anything is unwound, with hooks off. */
static int handle_message(lua_State *L) {
  if (rscl_stop_is_due(rscl_check_state(L)))
    return 1;
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, 1);
  return 1;
}

static int finish_xpcall(lua_State *L, int status, lua_KContext extra) {
  if (status != LUA_OK && status != LUA_YIELD) {
    lua_pushboolean(L, 0);
    lua_pushvalue(L, -2);
    return 2;
  }
  return lua_gettop(L) - (int)extra;
}

static int guarded_xpcall(lua_State *L) {
  int count = lua_gettop(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushvalue(L, 2);
  lua_pushcclosure(L, handle_message, 2);
  lua_replace(L, 2);
  lua_pushboolean(L, 1); /* first of the results */
  lua_pushvalue(L, 1);
  lua_rotate(L, 3, 2);
  int status = lua_pcallk(L, count - 2, LUA_MULTRET, 2, 2, finish_xpcall);
  return finish_xpcall(L, status, 2);
}

static int no_hooks(lua_State *L) {
  return luaL_error(L, "debug.sethook is not there in a worker: it would undo time limits");
}

static const luaL_Reg coroutine_functions[] = {{"create", nested_create},   {"resume", nested_resume},
                                               {"wrap", nested_wrap},       {"close", nested_close},
                                               {"running", nested_running}, {NULL, NULL}};

void rscl_nesting_open(lua_State *L, bool closed) {
  luaL_checkstack(L, 5, NULL);
  int top = lua_gettop(L);
  rscl_state *state = rscl_push_box(L);
  int box = lua_gettop(L);
  if (lua_getglobal(L, "coroutine") == LUA_TTABLE) {
    lua_pushvalue(L, box);
    luaL_setfuncs(L, coroutine_functions, 1);
  }
  lua_pushvalue(L, box);
  lua_pushcclosure(L, guarded_xpcall, 1);
  lua_setglobal(L, "xpcall");
  if (closed && lua_getglobal(L, "debug") == LUA_TTABLE) {
    lua_pushcfunction(L, no_hooks);
    lua_setfield(L, -2, "sethook");
  }
  state->guarded = true;
  lua_settop(L, top);
}

int rscl_guard_state(lua_State *L) {
  (void)rscl_check_state(L);
  rscl_nesting_open(L, false);
  return 0;
}
