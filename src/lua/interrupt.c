#include "interrupt.h"

#include <signal.h>

#include <lualib.h>

#include <rsca/lua.h>

#include "core/thread.h"
#include "fiber.h"

/* After the first raise, for handlers of the script that clean up; from then on every instruction raises. */
#define GRACE_NS UINT64_C(100000000)
enum { INSTRUCTIONS = 1000 }; /* between two looks at the clock meanwhile */

/* A coroutine that a guarded function runs. */
typedef struct run {
  struct run *outer;
  lua_State *co;
  const rscl_fiber *fiber; /* on which that function runs */
} run;

static _Thread_local run *innermost;

/* Written in a signal handler on the same thread. */
static _Thread_local struct {
  rscl_state *state; /* guarded */
  const rscl_fiber *fiber;
  volatile sig_atomic_t is_due;
  volatile sig_atomic_t raised;
  uint64_t grace_ends_ns;
} interrupt;

static bool is_due(void) {
  return interrupt.is_due && interrupt.fiber == interrupt.state->current;
}

static void on_hook(lua_State *L, lua_Debug *ar);

static bool has_grace(void) {
  return interrupt.raised == 1 && rsci_now_ns() < interrupt.grace_ends_ns;
}

static void arm(lua_State *L) {
  if (has_grace())
    lua_sethook(L, on_hook, LUA_MASKCOUNT, INSTRUCTIONS);
  else
    lua_sethook(L, on_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

static void on_hook(lua_State *L, lua_Debug *ar) {
  (void)ar;
  if (!is_due()) {
    lua_sethook(L, NULL, 0, 0); /* a coroutine takes its hook from who makes it */
    return;
  }
  if (has_grace())
    return;
  if (interrupt.raised == 0)
    interrupt.grace_ends_ns = rsci_now_ns() + GRACE_NS;
  interrupt.raised = interrupt.raised == 0 ? 1 : 2;
  arm(L);
  luaL_error(L, "interrupted");
}

static lua_State *running(lua_State *L, const rscl_state *state) {
  if (innermost && innermost->fiber == state->current)
    return innermost->co;
  if (state->current)
    return state->current->co;
  return state->turn ? state->turn : L;
}

void rsca_lua_interrupt(lua_State *L) {
  rscl_state *state = interrupt.state;
  if (!state)
    return;
  bool again = is_due();
  interrupt.fiber = state->current;
  interrupt.raised = again ? 2 : 0;
  interrupt.is_due = 1;
  arm(running(L, state));
}

void rscl_interrupt_over(void) {
  interrupt.is_due = 0;
}

/* ---- Guarded functions: the coroutine that runs is known, and an interrupt goes on in who resumed it ---- */

static void enter(run *here, lua_State *co) {
  *here = (run){innermost, co, interrupt.state ? interrupt.state->current : NULL};
  innermost = here;
  if (interrupt.is_due && is_due())
    arm(co);
}

static void leave(const run *here, lua_State *L) {
  innermost = here->outer;
  if (interrupt.is_due && is_due())
    arm(L);
}

static lua_State *check_coroutine(lua_State *L) {
  lua_State *co = lua_tothread(L, 1);
  if (!co)
    luaL_typeerror(L, 1, "coroutine");
  return co;
}

/* Resumes with the `nargs` values on top: how many results were moved to L, or -1 and an error. */
static int resume(lua_State *L, lua_State *co, int nargs) {
  if (!lua_checkstack(co, nargs)) {
    lua_pushliteral(L, "too many arguments to resume");
    return -1;
  }
  lua_xmove(L, co, nargs);
  run here;
  int nresults = 0;
  enter(&here, co);
  int status = lua_resume(co, L, nargs, &nresults);
  leave(&here, L);
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

static int guarded_resume(lua_State *L) {
  lua_State *co = check_coroutine(L);
  int nresults = resume(L, co, lua_gettop(L) - 1);
  lua_pushboolean(L, nresults >= 0);
  int count = nresults < 0 ? 1 : nresults;
  lua_insert(L, -(count + 1));
  return count + 1;
}

static int reset(lua_State *L, lua_State *co) {
  run here;
  enter(&here, co);
  int status = lua_resetthread(co);
  leave(&here, L);
  return status;
}

static int guarded_step(lua_State *L) {
  lua_State *co = lua_tothread(L, lua_upvalueindex(1));
  int nresults = resume(L, co, lua_gettop(L));
  if (nresults >= 0)
    return nresults;
  int status = lua_status(co);
  if (status != LUA_OK && status != LUA_YIELD) {
    lua_pop(L, 1);
    status = reset(L, co);
    lua_xmove(co, L, 1);
  }
  if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  return lua_error(L);
}

static int guarded_wrap(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_State *co = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, co, 1);
  lua_pushcclosure(L, guarded_step, 1);
  return 1;
}

static int guarded_close(lua_State *L) {
  lua_State *co = check_coroutine(L);
  lua_Debug frame;
  bool suspended = lua_status(co) == LUA_YIELD || (lua_status(co) == LUA_OK && !lua_getstack(co, 0, &frame));
  if (co == L || (!suspended && lua_status(co) == LUA_OK))
    return luaL_error(L, "cannot close a %s coroutine", co == L ? "running" : "normal");
  if (reset(L, co) == LUA_OK) {
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_pushboolean(L, 0);
  lua_xmove(co, L, 1);
  return 2;
}

/* A message handler runs where the error was raised, out of the hook's reach: not while an interrupt is due. */
static int guarded_handler(lua_State *L) {
  lua_settop(L, 1);
  if (interrupt.is_due && is_due())
    return 1;
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, 1, 1);
  return 1;
}

/* Its stack: (a place, the handler, results...) or, after a failure, the error on top. */
static int called(lua_State *L, int status, lua_KContext unused) {
  (void)unused;
  bool good = status == LUA_OK || status == LUA_YIELD;
  lua_pushboolean(L, good);
  if (!good) {
    lua_insert(L, -2);
    return 2;
  }
  lua_replace(L, 1);
  lua_remove(L, 2);
  return lua_gettop(L);
}

static int guarded_xpcall(lua_State *L) {
  int nargs = lua_gettop(L) - 2;
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_pushvalue(L, 2);
  lua_pushcclosure(L, guarded_handler, 1);
  lua_replace(L, 2);
  lua_pushvalue(L, 1);
  lua_insert(L, 3);
  return called(L, lua_pcallk(L, nargs, LUA_MULTRET, 2, 0, called), 0);
}

void rscl_guard_state(lua_State *L, rscl_state *state) {
  static const luaL_Reg functions[] = {
      {"resume", guarded_resume}, {"wrap", guarded_wrap}, {"close", guarded_close}, {NULL, NULL}};
  interrupt.state = state;
  lua_pushglobaltable(L);
  if (lua_getfield(L, -1, LUA_COLIBNAME) == LUA_TTABLE)
    luaL_setfuncs(L, functions, 0);
  lua_pop(L, 1);
  lua_pushcfunction(L, guarded_xpcall);
  lua_setfield(L, -2, "xpcall");
  lua_pop(L, 1);
}
