#include "state.h"

#include <stdlib.h>
#include <string.h>

#include "action.h"
#include "fiber.h"
#include "inherit.h"
#include "inspect.h"
#include "memory.h"
#include "object.h"
#include "subscription.h"
#include "worker.h"

static const char box_key; /* its address is the box's place in the registry */

/* ---- Slots ---- */

/* The table is filled with false up to the capacity, so that putting a value never allocates. */
void rscl_slots_reserve(lua_State *L, int table, rscl_slots *slots) {
  if (slots->free)
    return;
  table = lua_absindex(L, table);
  uint32_t capacity = slots->capacity ? 2 * slots->capacity : 4;
  struct rscl_slot_entry *entries = NULL;
  if (capacity > slots->capacity && capacity < INT32_MAX)
    entries = realloc(slots->entries, capacity * sizeof *entries);
  if (!entries)
    (void)rscl_memory_raise(L);
  slots->entries = entries;
  luaL_checkstack(L, 2, NULL);
  for (uint32_t i = slots->capacity ? slots->capacity : 1; i < capacity; i++) {
    lua_pushboolean(L, 0);
    lua_rawseti(L, table, (lua_Integer)i);
  }
  /* Nothing raises from here on: all new places become free together. */
  for (uint32_t i = capacity - 1; i >= (slots->capacity ? slots->capacity : 1); i--) {
    entries[i] = (struct rscl_slot_entry){.generation = 1, .next_free = slots->free};
    slots->free = i;
  }
  slots->capacity = capacity;
}

rscl_slot rscl_slots_put(lua_State *L, int table, rscl_slots *slots, void *owner) {
  rscl_slot slot = slots->free;
  slots->free = slots->entries[slot].next_free;
  slots->entries[slot].owner = owner;
  lua_rawseti(L, table, (lua_Integer)slot);
  return slot;
}

void rscl_slots_clear(lua_State *L, int table, rscl_slots *slots, rscl_slot slot) {
  if (table < 0)
    table = lua_absindex(L, table);
  lua_pushboolean(L, 0);
  lua_rawseti(L, table, (lua_Integer)slot);
  slots->entries[slot].generation++;
  slots->entries[slot].owner = NULL;
  slots->entries[slot].next_free = slots->free;
  slots->free = slot;
}

void *rscl_slots_owner(const rscl_slots *slots, uint64_t ticket) {
  const struct rscl_slot_entry *entry = &slots->entries[(uint32_t)ticket];
  return entry->generation == (uint32_t)(ticket >> 32) ? entry->owner : NULL;
}

/* ---- Turns ---- */

static int closer_gc(lua_State *L);
static const luaL_Reg closer_meta[] = {{"__gc", closer_gc}, {NULL, NULL}};
static const rscl_type closer_type = {"rsca.closer", closer_meta, NULL, NULL};

typedef struct protected_work {
  rscl_state *state;
  void (*work)(rscl_state *state, void *data);
  void *data;
} protected_work;

static int protected_main(lua_State *L) {
  protected_work *work = lua_touserdata(L, 1);
  lua_settop(L, 0);
  (void)rscl_push_box(L);
  lua_getiuservalue(L, RSCL_TURN_BOX, RSCL_UV_SLOTS);
  lua_getiuservalue(L, RSCL_TURN_BOX, RSCL_UV_FUNCTIONS);
  lua_getiuservalue(L, RSCL_TURN_BOX, RSCL_UV_HANGING);
  work->state->turn = L;
  work->work(work->state, work->data);
  return 0;
}

/* False: an error came out of it, and has been dealt with. */
static bool protect(rscl_state *state, void (*work)(rscl_state *state, void *data), void *data) {
  lua_State *L = state->service;
  protected_work protected = {state, work, data};
  rscl_fiber *current = state->current;
  lua_State *outer = state->turn;
  rscl_run run;
  rscl_stop_mark(state, &run);
  rscl_state *thread_was_of = outer ? state : rscl_stop_take_thread(state);
  lua_sethook(L, NULL, 0, 0); /* one that a script's on_error hook may have left here */
  lua_pushcfunction(L, protected_main);
  lua_pushlightuserdata(L, &protected);
  int status = lua_pcall(L, 1, 0, 0);
  if (status != LUA_OK)
    (void)rscl_stop_leave(state, &run);
  state->turn = outer;
  state->current = current;
  if (!outer)
    rscl_stop_give_thread(thread_was_of);
  if (status == LUA_OK)
    return true;
  (void)rscl_worker_set_reserve(state, 0);
  rscl_guard guard = state->guard;
  rscl_guard_clear(state);
  if (guard.undo)
    guard.undo(state, guard.subject, L, status);
  lua_pop(L, 1);
  return false;
}

void rscl_state_protect(rscl_state *state, void (*work)(rscl_state *state, void *data), void *data) {
  rscl_guard outer = state->guard;
  rscl_guard_clear(state);
  (void)protect(state, work, data);
  state->guard = outer;
}

/* lua_close runs finalizers in the reverse order of their objects' making. So that a coroutine that waits is closed
 * while what it holds (a file, a proxy) is still whole, a new closer is made after it began to wait. The one before is
 * garbage, and does nothing. [-0, +0, m] */
static void make_closer(rscl_state *state, lua_State *L) {
  state->suspended = false; /* whether or not there is memory for this one */
  void *closer = lua_newuserdatauv(L, 0, 0);
  rscl_object_set_type(L, &closer_type);
  lua_setiuservalue(L, RSCL_TURN_BOX, RSCL_UV_CLOSER);
  state->closer = closer;
}

static void run_tasks(rscl_state *state, void *data) {
  rsci_runner *runner = data;
  lua_State *L = state->turn;
  rsci_task *task;
  while ((task = rsci_runner_next(runner, &state->engine)) != NULL) {
    task->ops->run(task);
    lua_settop(L, RSCL_TURN_TOP);
  }
  rscl_guard_clear(state);
  if (state->suspended)
    make_closer(state, L);
}

static void state_turn(rsci_engine *engine, rsci_runner *runner) {
  rscl_state *state = (rscl_state *)engine;
  size_t ran;
  bool done;
  do {
    ran = runner->ran;
    done = protect(state, run_tasks, runner);
  } while (!done && runner->ran > ran);
  if (!done)
    rsci_runner_give_up(runner); /* not even a task could be begun, for lack of memory: the rest is for the next step */
  rscl_worker_settle(state);
}

/* ---- Life ---- */

static void state_destroy(rsci_engine *engine) {
  rscl_state *state = (rscl_state *)engine;
  rscl_fibers_fini(state);
  free(state->slots.entries);
  free(state->functions.entries);
  free(state->hanging.entries);
  free(state->stop.where);
  rsci_engine_fini(&state->engine);
  free(state);
}

static void state_interrupt(rsci_engine *engine, rsca_call *call) {
  rscl_stop_interrupt((rscl_state *)engine, call);
}

static void state_inspect(rsci_engine *engine, rsci_inspected *inspected) {
  rscl_inspect((rscl_state *)engine, inspected);
}

static const rsci_engine_ops state_ops = {.turn = state_turn,
                                          .start = rscl_action_start,
                                          .cancel = rscl_action_cancel,
                                          .room = rscl_action_room,
                                          .forget = rscl_action_forget,
                                          .destroy = state_destroy,
                                          .interrupt = state_interrupt,
                                          .inspect = state_inspect};

static const char closed_text[] = "the Lua state that owned the action was closed";

static void close_fibers(rscl_state *state, void *data) {
  (void)data;
  size_t count;
  do {
    count = state->fiber_count;
    rscl_fiber_close(state->fibers, RPC_E_DISCONNECTED, closed_text);
  } while (state->fibers && state->fiber_count < count);
}

static void let_own_go(rscl_state *state) {
  rsca_manager *own = state->own;
  state->own = NULL;
  if (state->worker)
    rsci_calls_unkeep(&own->calls);
  else
    (void)rsca_manager_release(own);
}

/* The universe is going: everything that lived in it ends. */
static void close_state(rscl_box *box) {
  rscl_state *state = box->state;
  if (state->closing)
    return;
  state->closing = true;
  rsci_runner *runner = state->engine.runner;
  rsci_runner_hold(runner);
  if (state->turn) {
    /* os.exit(code, true) inside an action: the step that called it never goes on. */
    state->turn = NULL;
    rsci_runner_abandon_step(runner);
  }
  /* A step of its own: what the endings call back can't step, and begins nothing in here. */
  bool entered = rsci_runner_enter(runner);
  while (state->fibers) {
    size_t count = state->fiber_count;
    rscl_state_protect(state, close_fibers, NULL);
    if (state->fibers && state->fiber_count >= count)
      rscl_fiber_abandon(state->fibers, RPC_E_DISCONNECTED, closed_text);
  }
  box->state = NULL; /* what they closed could still be asked */
  rscl_subscriptions_close(state);
  rsci_engine_close(&state->engine);
  rsci_runner_remove_heir(runner, &state->heir);
  state->service = NULL;
  rsci_runner_unpin(runner);
  let_own_go(state);
  rsci_engine_release(&state->engine);
  if (entered)
    rsci_runner_leave(runner);
  rsci_runner_release(runner);
}

/* The last of our finalizers: managers that were finalized before it wait for a step to be freed in, and there may be
 * none after this one. */
static int box_gc(lua_State *L) {
  rscl_box *box = lua_touserdata(L, 1);
  if (box->state)
    close_state(box);
  rscl_drop_owned(&box->owned);
  rsci_runner *runner = box->runner;
  box->runner = NULL;
  if (runner) {
    size_t ran;
    (void)rsci_runner_step(runner, 0, &ran);
    rsci_runner_release(runner);
  }
  return 0;
}

static int closer_gc(lua_State *L) {
  const void *closer = lua_touserdata(L, 1);
  rscl_box *box = lua_touserdata(L, RSCL_BOX);
  if (box->state && box->state->closer == closer)
    close_state(box);
  return 0;
}

/* Makes an empty table a user value, with the metatable at `metatable` if not 0. [-0, +0, m] */
static void set_table(lua_State *L, int box, int user_value, int metatable) {
  lua_newtable(L);
  if (metatable) {
    lua_pushvalue(L, metatable);
    lua_setmetatable(L, -2);
  }
  lua_setiuservalue(L, box, user_value);
}

enum { MODULE_FIELDS = 32 }; /* about as many as it gets */

static void set_tables(lua_State *L, int box) {
  lua_createtable(L, 0, 1);
  int weak = lua_gettop(L);
  lua_pushliteral(L, "v");
  lua_setfield(L, weak, "__mode");
  set_table(L, box, RSCL_UV_SLOTS, 0);
  set_table(L, box, RSCL_UV_FUNCTIONS, weak);
  set_table(L, box, RSCL_UV_HANGING, weak);
  set_table(L, box, RSCL_UV_ANCHORS, 0);
  set_table(L, box, RSCL_UV_MANAGERS, weak);
  set_table(L, box, RSCL_UV_NATIVES, weak);
  lua_pop(L, 1);
  lua_createtable(L, 0, MODULE_FIELDS);
  lua_setiuservalue(L, box, RSCL_UV_MODULE);
}

HRESULT rscl_state_create(lua_State *L, rsca_manager *manager, rscl_worker *worker) {
  /* The box first, empty but with its finalizer: whatever fails from here on is cleaned up by it. */
  rscl_box *box = lua_newuserdatauv(L, sizeof *box, RSCL_UV_COUNT);
  int index = lua_gettop(L);
  *box = (rscl_box){.state = NULL};
  lua_createtable(L, 0, 2);
  lua_pushcfunction(L, box_gc);
  lua_setfield(L, -2, "__gc");
  lua_pushliteral(L, "rsca.state");
  lua_setfield(L, -2, "__name");
  lua_setmetatable(L, index);
  set_tables(L, index);
  lua_State *service = lua_newthread(L);
  if (!lua_checkstack(service, 32))
    return E_OUTOFMEMORY;
  lua_rawsetp(L, LUA_REGISTRYINDEX, &state_ops); /* anchors the coroutine */

  rscl_state *state = calloc(1, sizeof *state);
  if (!state)
    return E_OUTOFMEMORY;
  HRESULT status = S_OK;
  if (worker)
    rsci_manager_keep(manager);
  else if (manager)
    (void)rsca_manager_add_ref(manager);
  else
    status = rsca_manager_create(NULL, &manager);
  if (FAILED(status)) {
    free(state);
    return status;
  }
  rsci_runner *runner = worker ? worker->runner : manager->runner;
  state->own = manager;
  state->worker = worker;
  if (!rsci_engine_init(&state->engine, &state_ops, runner)) {
    let_own_go(state);
    free(state);
    return E_OUTOFMEMORY;
  }
  state->service = service;
  state->heir.inherit = rscl_state_inherit;
  rsci_runner_add_heir(runner, &state->heir);
  rsci_runner_pin(runner);
  rsci_runner_hold(runner);
  box->runner = runner;
  box->state = state;
  return S_OK;
}

void rscl_state_publish(lua_State *L) {
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &box_key);
}

rscl_state *rscl_push_box(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &box_key) != LUA_TUSERDATA)
    return NULL;
  return ((rscl_box *)lua_touserdata(L, -1))->state;
}

rscl_state *rscl_check_state(lua_State *L) {
  rscl_state *state = ((rscl_box *)lua_touserdata(L, RSCL_BOX))->state;
  if (!state)
    luaL_error(L, "rsca: the Lua state is closing");
  return state;
}
