/*
 * What the bridge tests share: a counting native callback, managers whose end is noticed, Lua states.
 */
#ifndef BRIDGE_SUPPORT_H
#define BRIDGE_SUPPORT_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <rsca/lua.h>
#include <rsca/manager.h>

/* ---- A native callback that remembers what it was told ---- */

typedef struct counting {
  ICustomActionResultCallback iface;
  atomic_uint refs;
  atomic_uint calls;
  HRESULT status;
  size_t size;
  char text[256];
  pthread_t thread; /* that it was last called on */
} counting;

extern atomic_int counting_alive;

counting *counting_create(void); /* one reference, the caller's */
static inline unsigned counting_refs(counting *callback) {
  return atomic_load(&callback->refs);
}
/* Gives back the caller's reference, which must be the last. */
void counting_end(counting *callback);

/* ---- Managers ---- */

/* How many managers made with make_manager, or marked by mark_manager, have not been freed. */
extern atomic_int managers_alive;

rsca_manager *make_manager(void);
/* Registers the action "native" (answers "native " and its arguments), which counts the manager's life. */
void mark_manager(rsca_manager *manager);
unsigned manager_refs(rsca_manager *manager);

/* ---- Lua ---- */

/* A state with its libraries and rsca, `manager` as its own. It has the functions:
 *   watch(x)  returns x, and has `collected` count it when it is collected
 *   collected  how many were */
lua_State *open_state(rsca_manager *manager);
/* Runs `code`, failing the test on an error; results are left on the stack. */
void run_lua(lua_State *L, const char *code);
lua_Integer lua_global(lua_State *L, const char *name);
void collect(lua_State *L);
/* Steps until there is nothing to do now. */
void step_all(rsca_manager *manager);

/* Calls fn(argument) on another thread, and waits for its end. */
void on_other_thread(void (*fn)(void *argument), void *argument);

#endif
