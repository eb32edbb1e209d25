#include "worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lualib.h>

#include "children.h"
#include "error.h"
#include "module.h"
#include "nesting.h"
#include "relay.h"

struct rscl_script {
  rsca_manager *manager; /* borrowed: it owns the pool that owns this */
  char *text; /* its source; once it is loaded, what the first state compiled of it, with all that tells of places */
  size_t size;
  char *chunk_name; /* as Lua wants it: "@FILE" */
  int (*open_state)(lua_State *L, void *user);
  void *user;
  void (*free_user)(void *user);
  struct rscl_relay *relay; /* NULL: none */
  sigset_t mask;            /* the host's, for the children of actions */

  /* Set when it is loaded the first time. */
  bool loaded, compiled;
  char **names; /* of its actions, by number */
  size_t name_count, name_capacity;
  HRESULT status;
  char *message;           /* owned: what went wrong; NULL: nothing, or the status says all */
  const rscl_state *asker; /* who waits for that; NULL: no state */
};

/* A copy; NULL: out of memory. */
static char *joined(const char *prefix, const char *text) {
  size_t size = strlen(prefix) + strlen(text) + 1;
  char *copy = malloc(size);
  if (copy)
    (void)snprintf(copy, size, "%s%s", prefix, text);
  return copy;
}

/* ---- Actions ---- */

bool rscl_worker_is_first(const rscl_worker *worker) {
  return !worker->script->loaded;
}

/* What the script remembers of a name, for as long as there is the pool: the first state's memory, though its action be
 * unregistered. */
static bool add_name(rscl_worker *worker, const char *name) {
  rscl_script *script = worker->script;
  if (!rsci_budget_charge(worker->memory.account, strlen(name) + 1 + sizeof *script->names + sizeof *worker->actions))
    return false;
  if (script->name_count == script->name_capacity) {
    size_t capacity = script->name_capacity ? 2 * script->name_capacity : 16;
    char **names = realloc(script->names, capacity * sizeof *names);
    if (!names)
      return false;
    script->names = names;
    script->name_capacity = capacity;
  }
  char *copy = joined("", name);
  if (copy)
    script->names[script->name_count++] = copy;
  return copy != NULL;
}

bool rscl_worker_number(rscl_worker *worker, const char *name, size_t *number, bool *known) {
  rscl_script *script = worker->script;
  *known = true;
  for (*number = 0; *number < script->name_count; (*number)++)
    if (strcmp(script->names[*number], name) == 0)
      return true;
  *known = !script->loaded;
  return *known && add_name(worker, name);
}

bool rscl_worker_put(rscl_worker *worker, size_t number, rscl_worker_action action) {
  if (number >= worker->action_count) {
    size_t count = worker->script->name_count;
    rscl_worker_action *actions = realloc(worker->actions, count * sizeof *actions);
    if (!actions)
      return false;
    memset(actions + worker->action_count, 0, (count - worker->action_count) * sizeof *actions);
    worker->actions = actions;
    worker->action_count = count;
  }
  worker->actions[number] = action;
  return true;
}

/* ---- A state ---- */

size_t rscl_worker_set_reserve(rscl_state *state, size_t bytes) {
  if (!state->worker)
    return 0;
  size_t before = state->worker->memory.reserve;
  state->worker->memory.reserve = bytes;
  return before;
}

bool rscl_worker_has_room(const rscl_state *state, size_t bytes) {
  if (!state->worker)
    return true;
  const rscl_memory *memory = &state->worker->memory;
  size_t total = rscl_memory_total(memory);
  return total < memory->limit && bytes <= memory->limit - total;
}

rsci_budget *rscl_worker_account(const rscl_state *state) {
  return state->worker ? state->worker->memory.account : NULL;
}

bool rscl_worker_charge(rscl_state *state, size_t bytes) {
  if (!state->worker)
    return true;
  bool charged = rscl_worker_has_room(state, bytes) && rsci_budget_charge(state->worker->memory.account, bytes);
  if (!charged)
    state->worker->memory.refused = true;
  return charged;
}

void rscl_worker_discharge(rscl_state *state, size_t bytes) {
  if (state->worker)
    rsci_budget_discharge(state->worker->memory.account, bytes);
}

void rscl_worker_collect(lua_State *L, rscl_state *state) {
  rscl_worker *worker = state->worker;
  if (!worker || rsci_budget_used(worker->memory.account) <= worker->collect_at)
    return;
  lua_gc(L, LUA_GCCOLLECT);
  /* Again when there is twice as much, but never so late that there is no room for more. */
  size_t most = worker->script->manager->config.memory_limit / 2;
  size_t twice = 2 * rsci_budget_used(worker->memory.account);
  if (twice < most / 2)
    twice = most / 2;
  worker->collect_at = twice < most ? twice : most;
}

/* The host is to hear it, whatever the script does with its hook. False: nobody listens there. */
static bool tell(const rscl_script *script, const rscl_state *state, HRESULT status, const char *text) {
  if (script->relay)
    rscl_relay_error(script->relay, status, text);
  else if (state && state->hooks.on_error)
    state->hooks.on_error(state->hooks.user, status, NULL, text, strlen(text));
  else
    return false;
  return true;
}

/* In a turn. */
static void retire(rscl_state *state, HRESULT status, const char *why) {
  const rscl_script *script = state->worker->script;
  rsci_pool_retire(script->manager->pool, state->engine.runner);
  if (tell(script, state, status, why))
    return;
  (void)rscl_worker_set_reserve(state, RSCL_MEMORY_RESERVE);
  lua_pushstring(state->turn, why);
  rscl_report(state->turn, state, status, NULL);
  (void)rscl_worker_set_reserve(state, 0);
}

static bool is_full(const rscl_worker *worker) {
  return rscl_memory_total(&worker->memory) > worker->memory.limit - worker->script->manager->config.memory_limit / 8;
}

static void look_at_memory(rscl_state *state, void *unused) {
  (void)unused;
  const rscl_worker *worker = state->worker;
  lua_gc(state->turn, LUA_GCCOLLECT);
  if (is_full(worker))
    lua_gc(state->turn, LUA_GCCOLLECT); /* what has a finalizer is freed by the collection after that */
  if (is_full(worker))
    retire(state, E_OUTOFMEMORY, "a worker's state is replaced: its memory is full of what no collection frees");
}

/* As many in a row, and the worker has no time for calls. */
enum { MOST_OVERRUNS = 4 };

void rscl_worker_overran(rscl_state *state) {
  rscl_worker *worker = state->worker;
  const rsca_manager *manager = worker->script->manager;
  uint64_t now_ns = rsci_now_ns(), least_ns = manager->limit_ns + RSCI_NS_PER_MS * manager->config.clean_up_ms;
  /* In a row: a good part of the time between them went to what was stopped. */
  bool in_a_row = (now_ns - worker->overrun_ns) / 4 <= least_ns;
  worker->overruns = in_a_row ? worker->overruns + 1 : 1;
  worker->overrun_ns = now_ns;
  if (worker->overruns >= MOST_OVERRUNS)
    rsci_runner_give_up(worker->runner);
}

static void look_at_time(rscl_state *state, void *unused) {
  (void)unused;
  retire(state, RSCA_E_TIMEOUT, "a worker's state is replaced: functions that belong to no call take all its time");
}

void rscl_worker_settle(rscl_state *state) {
  rscl_worker *worker = state->worker;
  if (!worker)
    return;
  if (worker->overruns >= MOST_OVERRUNS) {
    worker->overruns = 0;
    rscl_state_protect(state, look_at_time, NULL);
  } else if (worker->memory.refused || atomic_load_explicit(&worker->memory.account->refused, memory_order_relaxed)) {
    worker->memory.refused = false;
    atomic_store(&worker->memory.account->refused, false);
    rscl_state_protect(state, look_at_memory, NULL);
  }
}

/* print(...): to the log. */
static int worker_print(lua_State *L) {
  luaL_Buffer text;
  int count = lua_gettop(L);
  luaL_buffinit(L, &text);
  for (int i = 1; i <= count; i++) {
    if (i > 1)
      luaL_addchar(&text, '\t');
    (void)luaL_tolstring(L, i, NULL);
    luaL_addvalue(&text);
  }
  luaL_pushresult(&text);
  lua_getfield(L, lua_upvalueindex(1), "log");
  lua_pushliteral(L, "info");
  lua_pushvalue(L, -3);
  lua_call(L, 2, 0);
  return 0;
}

/* Nothing ends the host; and other threads run. */
static int no_exit(lua_State *L) {
  return luaL_error(L, "os.exit is not there in a worker: it would end the whole program");
}

static int with_traceback(lua_State *L) {
  size_t size;
  rscl_worker *worker = lua_touserdata(L, lua_upvalueindex(1));
  worker->load_status = E_FAIL;
  if (rscl_is_error(L, 1)) {
    (void)rscl_push_error_field(L, 1, "status");
    if (rscl_failure_status(L, -1, E_FAIL) == E_OUTOFMEMORY)
      worker->load_status = E_OUTOFMEMORY;
  }
  const char *message = luaL_tolstring(L, 1, &size);
  luaL_traceback(L, L, message, 1);
  return 1;
}

static int write_code(lua_State *L, const void *bytes, size_t size, void *buffer) {
  (void)L;
  return rsci_buffer_append(buffer, bytes, size) ? 0 : 1;
}

/* The other states need not compile it again: what was made of it takes the place of the source. Where there is no
 * memory for that, they do. [-0, +0, -] the function on top */
static void keep_code(lua_State *L, rscl_script *script) {
  rsci_buffer code = {0};
  if (lua_dump(L, write_code, &code, 0) != 0) {
    free(code.data);
    return;
  }
  free(script->text);
  script->text = code.data;
  script->size = code.size;
  script->compiled = true;
}

/* [-0, +1, v] */
static void push_script(lua_State *L, rscl_script *script) {
  const char *mode = script->compiled ? "b" : "t";
  if (luaL_loadbufferx(L, script->text, script->size, script->chunk_name, mode) != LUA_OK)
    lua_error(L);
  if (!script->loaded)
    keep_code(L, script);
}

static int open_main(lua_State *L) {
  rscl_worker *worker = lua_touserdata(L, 1);
  rscl_script *script = worker->script;
  lua_gc(L, LUA_GCSTOP); /* there is hardly any garbage yet */
  luaL_openlibs(L);
  if (FAILED(rscl_lua_open(L, script->manager, worker)))
    return rscl_memory_raise(L);
  rscl_nesting_open(L, true);
  rscl_children_open(L, &script->mask);
  if (lua_getglobal(L, LUA_OSLIBNAME) == LUA_TTABLE) {
    lua_pushcfunction(L, no_exit);
    lua_setfield(L, -2, "exit");
  }
  lua_getglobal(L, "require");
  lua_pushliteral(L, "rsca");
  lua_call(L, 1, 1);
  if (script->relay)
    rscl_relay_open(L, script->relay);
  lua_pushcclosure(L, worker_print, 1);
  lua_setglobal(L, "print");
  lua_settop(L, 0);
  lua_gc(L, LUA_GCRESTART);
  lua_pushlightuserdata(L, worker);
  lua_pushcclosure(L, with_traceback, 1);
  if (script->open_state) {
    (void)script->open_state(L, script->user);
    lua_settop(L, 1);
  }
  push_script(L, script);
  worker->loading = true;
  rscl_state *state = rscl_push_box(L);
  lua_pop(L, 1);
  rscl_run run;
  rscl_stop_enter(state, &run, L, NULL, false);
  int status = lua_pcall(L, 0, 0, 1);
  bool stopped = rscl_stop_leave(state, &run);
  if (stopped) {
    const char *where = rscl_stop_where(state);
    lua_pushfstring(L, "the script was not loaded in time: %s", where ? where : "stopped");
    rscl_stop_forget_where(state);
  }
  return stopped || status != LUA_OK ? lua_error(L) : 0;
}

static size_t limit_above(size_t base, size_t limit) {
  return limit < SIZE_MAX - base ? base + limit : SIZE_MAX;
}

static void close_lua(rscl_worker *worker) {
  /* There is room for what has to be closed, but not without end for finalizers, which nothing stops. */
  worker->memory.limit = limit_above(rscl_memory_total(&worker->memory), worker->script->manager->config.memory_limit);
  if (worker->L)
    lua_close(worker->L);
  rscl_region_fini(&worker->memory.region);
  rsci_budget_release(worker->memory.account);
  free(worker->actions);
  free(worker);
}

static void fail(rscl_script *script, HRESULT status, const char *text) {
  free(script->message);
  script->message = joined("", text);
  script->status = status;
}

static rsci_engine *script_open(void *user, rsci_runner *runner) {
  rscl_script *script = user;
  rscl_worker *worker = calloc(1, sizeof *worker);
  if (!worker)
    return NULL;
  worker->script = script;
  worker->runner = runner;
  worker->load_status = E_FAIL;
  worker->memory.limit = SIZE_MAX;
  size_t limit = script->manager->config.memory_limit;
  worker->memory.account = rsci_budget_create(limit, NULL);
  rscl_region_init(&worker->memory.region);
  worker->L = worker->memory.account ? lua_newstate(rscl_memory_allocate, &worker->memory) : NULL;
  if (!worker->L) {
    close_lua(worker);
    return NULL;
  }
  lua_State *L = worker->L;
  worker->memory.limit = limit; /* while it is loaded: of all */
  lua_pushcfunction(L, open_main);
  lua_pushlightuserdata(L, worker);
  int status = lua_pcall(L, 1, 0, 0);
  worker->loading = false;
  if (status != LUA_OK) {
    const char *text = lua_tostring(L, -1);
    const rscl_state *state = rscl_push_box(L);
    lua_pop(L, 1);
    if (script->loaded) /* on a thread of its own, as others do: what loading it came to is not theirs to touch */
      (void)tell(script, state, E_FAIL, text ? text : "not enough memory");
    else
      fail(script, status == LUA_ERRMEM ? E_OUTOFMEMORY : worker->load_status, text ? text : "not enough memory");
    close_lua(worker);
    return NULL;
  }
  lua_settop(L, 0);
  lua_gc(L, LUA_GCCOLLECT);
  worker->collect_at = limit / 4;
  worker->memory.limit = limit_above(rscl_memory_total(&worker->memory), limit);
  rscl_state *state = rscl_push_box(L);
  lua_settop(L, 0);
  rsci_engine_hold(&state->engine);
  if (!script->loaded) /* the workers that come later, each on its own thread, only look */
    script->loaded = true;
  return &state->engine;
}

static bool script_is_wanted(void *user) {
  const rscl_script *script = user;
  return !script->asker || !rscl_stop_is_due(script->asker);
}

static void script_close(void *user, rsci_engine *engine) {
  (void)user;
  close_lua(((rscl_state *)engine)->worker);
}

static void script_free(void *user) {
  rscl_script *script = user;
  for (size_t i = 0; i < script->name_count; i++)
    free(script->names[i]);
  if (script->relay)
    rscl_relay_release(script->relay);
  if (script->free_user)
    script->free_user(script->user);
  free(script->names);
  free(script->message);
  free(script->chunk_name);
  free(script->text);
  free(script);
}

static const rsci_script_ops script_ops = {script_open, script_is_wanted, script_close, script_free};

/* ---- Loading ---- */

static char *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file)
    return NULL;
  rsci_buffer buffer = {0};
  char block[4096];
  size_t got;
  bool fits = rsci_buffer_reserve(&buffer, 1);
  while (fits && (got = fread(block, 1, sizeof block, file)) > 0)
    fits = rsci_buffer_append(&buffer, block, got);
  fits = fits && !ferror(file);
  (void)fclose(file);
  if (!fits) {
    free(buffer.data);
    return NULL;
  }
  *size = buffer.size;
  return buffer.data;
}

/* A first line for the shell is no Lua: it becomes a comment of the same length. */
static void hide_shebang(char *text, size_t size) {
  if (size >= 2 && text[0] == '#')
    text[0] = text[1] = '-';
}

static HRESULT read_source(rscl_script *script, const rsca_lua_script *source) {
  if (source->path) {
    script->text = read_file(source->path, &script->size);
    if (!script->text) {
      char text[512];
      (void)snprintf(text, sizeof text, "cannot read the script '%s'", source->path);
      fail(script, RSCA_E_NOT_FOUND, text);
      return RSCA_E_NOT_FOUND;
    }
  } else {
    script->size = source->size ? source->size : strlen(source->text);
    script->text = malloc(script->size + 1);
    if (script->text)
      memcpy(script->text, source->text, script->size);
  }
  script->chunk_name = joined("@", source->name ? source->name : source->path ? source->path : "script");
  if (!script->text || !script->chunk_name)
    return E_OUTOFMEMORY;
  hide_shebang(script->text, script->size);
  return S_OK;
}

HRESULT rscl_script_load(rsca_manager *manager, const rsca_lua_script *source, const rscl_state *asker,
                         struct rscl_relay *relay, char *message, size_t size) {
  if (size > 0)
    *message = '\0';
  rscl_script *script = calloc(1, sizeof *script);
  if (!script) {
    if (relay)
      rscl_relay_release(relay);
    return E_OUTOFMEMORY;
  }
  script->manager = manager;
  script->relay = relay;
  (void)pthread_sigmask(SIG_SETMASK, NULL, &script->mask);
  script->asker = asker;
  script->open_state = source->open_state;
  script->user = source->user;
  HRESULT status = read_source(script, source);
  script->status = E_OUTOFMEMORY;
  script->free_user = source->free_user;
  if (SUCCEEDED(status))
    status = rsci_pool_load(manager->pool, &script_ops, script);
  if (SUCCEEDED(status))
    return status;
  if (status == RSCA_E_TIMEOUT) { /* it is not ours any more */
    (void)snprintf(message, size, "the script was not loaded in time, and can't be stopped where it is");
    return status;
  }
  if (status == E_FAIL)
    status = script->status;
  if (script->message)
    (void)snprintf(message, size, "%s", script->message);
  script->free_user = NULL; /* what that is for stays the caller's */
  script_free(script);
  return status;
}
