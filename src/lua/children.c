#include "children.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lualib.h>

extern char **environ;

/* A file of the io library, and whose output or input it is. */
typedef struct pipe_file {
  luaL_Stream stream; /* the library knows this */
  pid_t child;
} pipe_file;

/* Starts the shell with a command; `from` becomes its descriptor `to`, unless that is -1. Sets errno. */
static bool start(lua_State *L, const char *command, int from, int to, pid_t *child) {
  const sigset_t *mask = lua_touserdata(L, lua_upvalueindex(1));
  char shell[] = "sh", option[] = "-c";
  char *arguments[] = {shell, option, (char *)(uintptr_t)command, NULL};
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
  int problem = posix_spawnattr_init(&attributes);
  if (problem == 0 && (problem = posix_spawn_file_actions_init(&actions)) == 0) {
    problem = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    if (problem == 0)
      problem = posix_spawnattr_setsigmask(&attributes, mask);
    if (problem == 0 && to >= 0)
      problem = posix_spawn_file_actions_adddup2(&actions, from, to);
    if (problem == 0)
      problem = posix_spawn(child, "/bin/sh", &actions, &attributes, arguments, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)posix_spawnattr_destroy(&attributes);
  }
  errno = problem;
  return problem == 0;
}

/* Its status as luaL_execresult wants it; -1: it can't be had. */
static int join(pid_t child) {
  int status;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR)
      return -1;
  return status;
}

/* os.execute([command]) */
static int children_execute(lua_State *L) {
  const char *command = luaL_optstring(L, 1, NULL);
  if (!command) {
    lua_pushboolean(L, access("/bin/sh", X_OK) == 0);
    return 1;
  }
  pid_t child;
  errno = 0;
  return luaL_execresult(L, start(L, command, -1, -1, &child) ? join(child) : -1);
}

static int close_pipe(lua_State *L) {
  pipe_file *file = (pipe_file *)luaL_checkudata(L, 1, LUA_FILEHANDLE);
  errno = 0;
  (void)fclose(file->stream.f);
  return luaL_execresult(L, join(file->child));
}

/* io.popen(command [, mode]) */
static int children_popen(lua_State *L) {
  const char *command = luaL_checkstring(L, 1);
  const char *mode = luaL_optstring(L, 2, "r");
  luaL_argcheck(L, strcmp(mode, "r") == 0 || strcmp(mode, "w") == 0, 2, "invalid mode");
  bool reads = *mode == 'r';
  pipe_file *file = lua_newuserdatauv(L, sizeof *file, 0);
  *file = (pipe_file){{NULL, NULL}, -1};
  luaL_setmetatable(L, LUA_FILEHANDLE);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0)
    return luaL_fileresult(L, 0, command);
  int ours = ends[!reads], theirs = ends[reads];
  file->stream.f = fdopen(ours, mode);
  bool started = file->stream.f && start(L, command, theirs, reads, &file->child);
  int problem = errno;
  (void)close(theirs);
  if (started) {
    file->stream.closef = close_pipe;
    return 1;
  }
  if (file->stream.f)
    (void)fclose(file->stream.f);
  else
    (void)close(ours);
  errno = problem;
  return luaL_fileresult(L, 0, command);
}

static void replace(lua_State *L, const char *library, const char *name, lua_CFunction function, const sigset_t *mask) {
  if (lua_getglobal(L, library) == LUA_TTABLE) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)mask);
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, -2, name);
  }
  lua_pop(L, 1);
}

void rscl_children_open(lua_State *L, const sigset_t *mask) {
  replace(L, LUA_OSLIBNAME, "execute", children_execute, mask);
  replace(L, LUA_IOLIBNAME, "popen", children_popen, mask);
}

/* ---- In the program and at its prompt ---- */

enum { SHELL_SIGINT = 128 + SIGINT }; /* what a shell exits with when SIGINT has ended its command */

/* os.execute([command]) */
static int interruptible_execute(lua_State *L) {
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  const char *how = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  lua_Integer number = lua_tointeger(L, 3);
  if (number == (strcmp(how, "signal") == 0 ? SIGINT : SHELL_SIGINT))
    (void)raise(SIGINT);
  return lua_gettop(L);
}

int rscl_children_interruptible(lua_State *L) {
  if (lua_getglobal(L, LUA_OSLIBNAME) != LUA_TTABLE || lua_getfield(L, -1, "execute") != LUA_TFUNCTION ||
      lua_tocfunction(L, -1) == interruptible_execute)
    return 0;
  lua_pushcclosure(L, interruptible_execute, 1);
  lua_setfield(L, -2, "execute");
  return 0;
}
