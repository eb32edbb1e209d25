/*
 * A C program that keeps its actions in Lua files: its own lua_State, rsca_lua_open to connect it with a manager, and
 * calls by name from C. A file that can't be loaded is reported and left out; the program goes on.
 * usage: example_09_embed_lua FILE...
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include <rsca/lua.h>
#include <rsca/manager.h>
#include <rsca/status.h>

static const char *name_of(HRESULT status) {
  const rsca_status_entry *entry = rsca_status_find(status);
  return entry ? entry->name : "a status without a name";
}

/* Gives the scripts a global `host`, then opens rsca. Runs protected, for what it makes may not fit into memory. */
static int open_host(lua_State *L) {
  rsca_manager *manager = lua_touserdata(L, 1);
  luaL_openlibs(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "example 09");
  lua_setfield(L, -2, "name");
  lua_setglobal(L, "host");
  HRESULT status = rsca_lua_open(L, manager);
  return FAILED(status) ? luaL_error(L, "rsca can't be opened: %s", name_of(status)) : 0;
}

static lua_State *create_state(rsca_manager *manager) {
  lua_State *L = luaL_newstate();
  if (!L)
    return NULL;
  lua_pushcfunction(L, open_host);
  lua_pushlightuserdata(L, manager);
  if (lua_pcall(L, 1, 0, 0) == LUA_OK)
    return L;
  fprintf(stderr, "%s\n", lua_tostring(L, -1));
  lua_close(L);
  return NULL;
}

/* Whether it was loaded. Its errors, also those of its syntax, are for whoever wrote the file. */
static bool load(lua_State *L, const char *file) {
  if (luaL_loadfile(L, file) == LUA_OK && lua_pcall(L, 0, 0, 0) == LUA_OK) {
    printf("loaded %s\n", file);
    return true;
  }
  const char *message = lua_tostring(L, -1);
  printf("not loaded: %s\n", message ? message : "an error that is no string");
  lua_pop(L, 1);
  return false;
}

typedef struct answer {
  const char *name;
  bool done;
} answer;

static void on_result(void *user, HRESULT status, const void *response, size_t size, bool final) {
  answer *to = user;
  printf("%s -> %s\n  %.*s\n", to->name, name_of(status), (int)size, size > 0 ? (const char *)response : "");
  to->done = final;
}

/* Runs one action and steps until its result is there. */
static bool run(rsca_manager *manager, const char *name, const char *args) {
  answer to = {.name = name};
  HRESULT status = rsca_manager_run(manager, name, args, on_result, &to, NULL);
  if (FAILED(status)) {
    printf("%s -> refused: %s\n", name, name_of(status));
    return false;
  }
  struct pollfd watched = {.fd = rsca_manager_fd(manager), .events = POLLIN};
  while (!to.done) {
    if (poll(&watched, 1, rsca_manager_timeout_ms(manager)) < 0 && errno != EINTR)
      return false;
    if (FAILED(rsca_manager_step(manager, 0)))
      return false;
  }
  return true;
}

int main(int argc, char **argv) {
  rsca_manager *manager;
  if (FAILED(rsca_manager_create(NULL, &manager)))
    return EXIT_FAILURE;
  lua_State *L = create_state(manager);
  if (!L) {
    (void)rsca_manager_release(manager);
    return EXIT_FAILURE;
  }

  int loaded = 0;
  for (int i = 1; i < argc; i++)
    loaded += load(L, argv[i]);

  bool ok = loaded > 0;
  if (ok) {
    ok = run(manager, "host", "") && run(manager, "uptime", "") && run(manager, "later", "0.1") &&
         run(manager, "later", "soon") && run(manager, "broken", "");
    (void)run(manager, "never", "");
  } else {
    fprintf(stderr, "no actions; usage: %s FILE...\n", argc > 0 ? argv[0] : "example_09_embed_lua");
  }

  (void)rsca_manager_shutdown(manager, false);
  lua_close(L);
  (void)rsca_manager_release(manager);
  return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
