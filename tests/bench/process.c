/*
 * bench.process: programs that a benchmark starts, and ends.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const char type_name[] = "bench.process";

typedef struct process {
  pid_t pid; /* 0: it has ended */
} process;

/* Returns its exit status, or 128 and the signal. */
static int wait_for(process *self) {
  int status;
  while (waitpid(self->pid, &status, 0) < 0)
    if (errno != EINTR)
      return -1;
  self->pid = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void stop(process *self) {
  if (self->pid == 0)
    return;
  (void)kill(self->pid, SIGTERM);
  (void)wait_for(self);
}

/* It ends when this process does. */
static void become(char *const *argv, pid_t parent, bool silent) {
  int nowhere = open("/dev/null", O_RDWR);
  if (nowhere < 0 || dup2(nowhere, STDIN_FILENO) < 0 || (silent && dup2(nowhere, STDOUT_FILENO) < 0) ||
      prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent)
    _exit(127);
  (void)execvp(argv[0], argv);
  (void)dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
  _exit(127);
}

static int start(lua_State *L, bool silent) {
  int count = lua_gettop(L);
  luaL_checkstring(L, 1);
  char **argv = lua_newuserdatauv(L, ((size_t)count + 1) * sizeof *argv, 0);
  for (int i = 0; i < count; i++)
    argv[i] = (char *)(uintptr_t)luaL_checkstring(L, i + 1);
  argv[count] = NULL;
  process *self = lua_newuserdatauv(L, sizeof *self, 0);
  self->pid = 0;
  luaL_setmetatable(L, type_name);
  pid_t parent = getpid(), pid = fork();
  if (pid < 0)
    return luaL_error(L, "%s: %s", argv[0], strerror(errno));
  if (pid == 0)
    become(argv, parent, silent);
  self->pid = pid;
  return 1;
}

/* start(program, arg...): a process; what it writes goes nowhere, but for its errors */
static int process_start(lua_State *L) {
  return start(L, true);
}

/* start_here(program, arg...): one that writes to where this one does */
static int process_start_here(lua_State *L) {
  return start(L, false);
}

/* process:wait(): its exit status */
static int process_wait(lua_State *L) {
  process *self = luaL_checkudata(L, 1, type_name);
  luaL_argcheck(L, self->pid != 0, 1, "it has ended");
  lua_pushinteger(L, wait_for(self));
  return 1;
}

/* process:running() */
static int process_running(lua_State *L) {
  process *self = luaL_checkudata(L, 1, type_name);
  siginfo_t info = {.si_pid = 0};
  bool running = self->pid != 0 && waitid(P_PID, (id_t)self->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
  lua_pushboolean(L, running && info.si_pid == 0);
  return 1;
}

/* process:stop() */
static int process_stop(lua_State *L) {
  stop(luaL_checkudata(L, 1, type_name));
  return 0;
}

/* directory(): a new one, for this process alone */
static int process_directory(lua_State *L) {
  char path[] = "/tmp/rsca-bench-XXXXXX";
  if (!mkdtemp(path))
    return luaL_error(L, "%s: %s", path, strerror(errno));
  lua_pushstring(L, path);
  return 1;
}

static const luaL_Reg methods[] = {{"wait", process_wait}, {"running", process_running}, {"stop", process_stop},
                                   {"__gc", process_stop}, {"__close", process_stop},    {NULL, NULL}};
static const luaL_Reg functions[] = {
    {"start", process_start}, {"start_here", process_start_here}, {"directory", process_directory}, {NULL, NULL}};

int bench_open_process(lua_State *L) {
  if (luaL_newmetatable(L, type_name)) {
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
  }
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  return 1;
}
