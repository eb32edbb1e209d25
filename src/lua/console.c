#include "console.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

#include <rsca/lua.h>

#include "core/thread.h"
#include "children.h"
#include "fiber.h"
#include "module.h"
#include "stop.h"
#include "tap.h"

/* A step that takes longer holds up the prompt: what runs in it can be interrupted then, whoever started it. */
#define PATIENCE_NS UINT64_C(500000000)

typedef enum doing { WAITING, STEPPING, RUNNING } doing;

static struct {
  atomic_bool open; /* one prompt in a process */
  const void *closer;
  bool interactive;
  rscl_state *state;
  lua_State *L;
  pthread_t thread;
  int events[2]; /* a pipe: one byte for each signal */
  struct termios terminal;
  bool has_terminal;

  /* For signal handlers. */
  volatile sig_atomic_t doing;
  volatile sig_atomic_t interrupts; /* nobody has looked at yet */
  uint64_t step_began_ns;
  lua_State *volatile chunk; /* the coroutine that Ctrl-C is for */
} console;

/* ---- Signals ---- */

static void send_event(char event) {
  int saved = errno;
  ssize_t written = write(console.events[1], &event, 1); /* full: there is something to be read already */
  (void)written;
  errno = saved;
}

/* Of the chunk, or in the way of the prompt for too long. */
static bool may_interrupt(void) {
  if (console.doing == RUNNING)
    return true;
  const rscl_fiber *fiber = console.state->current;
  bool is_chunk = fiber && console.chunk && fiber->co == console.chunk;
  return is_chunk || console.interrupts > 1 || rsci_now_ns() - console.step_began_ns > PATIENCE_NS;
}

/* For a script that waits, outside of any step: in C, where no instruction is counted. Once; then it is as for others.
 */
static void wait_hook(lua_State *L, lua_Debug *unused) {
  (void)unused;
  lua_sethook(L, NULL, 0, 0);
  rsca_lua_interrupt();
  luaL_error(L, "interrupted");
}

static void on_interrupt(int signal_number) {
  if (!pthread_equal(pthread_self(), console.thread)) {
    (void)pthread_kill(console.thread, signal_number);
    return;
  }
  console.interrupts++;
  send_event('i');
  if (console.doing == WAITING || !may_interrupt())
    return;
  rsca_lua_interrupt();
  if (console.doing == RUNNING && !console.state->current)
    lua_sethook(console.L, wait_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

static void on_resize(int signal_number) {
  (void)signal_number;
  send_event('r');
}

static const char paste_on[] = "\033[?2004h", paste_off[] = "\033[?2004l"; /* bracketed paste */

static void put(const char *text, size_t size) {
  ssize_t written = write(STDOUT_FILENO, text, size);
  (void)written;
}

/* As it was before the prompt. True: it was being edited on. */
static bool restore_terminal(struct termios *now) {
  if (!console.has_terminal || tcgetattr(STDIN_FILENO, now) != 0)
    return false;
  bool edited = (now->c_lflag & ICANON) == 0;
  if (edited)
    put(paste_off, sizeof paste_off - 1);
  (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &console.terminal);
  return edited;
}

/* SA_RESETHAND, SA_NODEFER: raised again it is what it would have been. */
static void on_fatal(int signal_number) {
  struct termios now;
  (void)restore_terminal(&now);
  (void)raise(signal_number);
}

static void on_stop(int signal_number) {
  int saved = errno;
  struct termios now;
  struct sigaction ours, usual = {.sa_handler = SIG_DFL};
  bool edited = restore_terminal(&now);
  (void)sigaction(SIGTSTP, &usual, &ours);
  (void)raise(signal_number);
  /* Here it goes on when somebody continues it. */
  (void)sigaction(SIGTSTP, &ours, NULL);
  if (edited) {
    (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &now);
    put(paste_on, sizeof paste_on - 1);
  }
  send_event('c');
  errno = saved;
}

static struct caught {
  int number;
  void (*handler)(int signal_number);
  int flags;
  bool only_default; /* somebody else's handler, or that it is ignored, stays */
  bool caught;
  struct sigaction before;
} signals[] = {
    {.number = SIGINT, .handler = on_interrupt},
    {.number = SIGWINCH, .handler = on_resize, .flags = SA_RESTART},
    {.number = SIGTSTP, .handler = on_stop, .flags = (int)(SA_RESTART | SA_NODEFER), .only_default = true},
    {.number = SIGTERM, .handler = on_fatal, .flags = (int)(SA_RESETHAND | SA_NODEFER), .only_default = true},
    {.number = SIGHUP, .handler = on_fatal, .flags = (int)(SA_RESETHAND | SA_NODEFER), .only_default = true},
    {.number = SIGQUIT, .handler = on_fatal, .flags = (int)(SA_RESETHAND | SA_NODEFER), .only_default = true},
};
enum { SIGNAL_COUNT = sizeof signals / sizeof *signals };

static void catch_signals(void) {
  for (int i = 0; i < SIGNAL_COUNT; i++) {
    struct caught *entry = &signals[i];
    (void)sigaction(entry->number, NULL, &entry->before);
    if (entry->only_default && ((entry->before.sa_flags & SA_SIGINFO) || entry->before.sa_handler != SIG_DFL))
      continue;
    struct sigaction action = {.sa_handler = entry->handler, .sa_flags = entry->flags};
    entry->caught = sigaction(entry->number, &action, NULL) == 0;
  }
}

static void release_signals(void) {
  for (int i = 0; i < SIGNAL_COUNT; i++) {
    if (signals[i].caught)
      (void)sigaction(signals[i].number, &signals[i].before, NULL);
    signals[i].caught = false;
  }
}

/* ---- Standard output ----
 *
 * While a prompt is on the screen nothing may be written into it. print flushes, so holding back what stdout has in its
 * buffer is not enough: for the length of a step the descriptor leads into a file of memory. That of stderr is left as
 * it is, for those who write there when the program breaks; its stream gets a buffer. */

enum { BUFFER_SIZE = 1 << 16 };
static char out_buffer[BUFFER_SIZE], err_buffer[BUFFER_SIZE]; /* live on with the streams */

static struct {
  int held;   /* the file; -1: nothing can be held */
  int screen; /* where stdout leads otherwise */
  bool holds;
  int out_mode, err_mode; /* of the streams, before */
} output;

static int mode_of(FILE *file) {
  if (__flbf(file))
    return _IOLBF;
  return __fbufsize(file) <= 1 ? _IONBF : _IOFBF;
}

static void set_mode(FILE *file, int mode, char *buffer) {
  (void)fflush(file);
  (void)setvbuf(file, mode == _IONBF ? NULL : buffer, mode, mode == _IONBF ? 0 : BUFFER_SIZE);
}

static void open_output(void) {
  output.held = memfd_create("rsca.repl", MFD_CLOEXEC);
  output.screen = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  output.holds = false;
  if (output.held >= 0)
    (void)fcntl(output.held, F_SETFL, O_APPEND); /* others may have inherited it */
  output.out_mode = mode_of(stdout);
  output.err_mode = mode_of(stderr);
  /* A line at a time, so that what is left in the buffer tells whether one is open. */
  set_mode(stdout, _IOLBF, out_buffer);
}

static void close_output(void) {
  set_mode(stdout, output.out_mode, out_buffer);
  set_mode(stderr, output.err_mode, err_buffer);
  if (output.held >= 0)
    (void)close(output.held);
  if (output.screen >= 0)
    (void)close(output.screen);
}

static void hold(void) {
  if (output.held < 0 || output.screen < 0)
    return;
  (void)fflush(stdout);
  output.holds = dup2(output.held, STDOUT_FILENO) >= 0;
}

static void let_go(void) {
  if (!output.holds)
    return;
  (void)fflush(stdout);
  (void)dup2(output.screen, STDOUT_FILENO);
  output.holds = false;
}

static off_t held_size(void) {
  off_t size = output.held >= 0 ? lseek(output.held, 0, SEEK_END) : 0;
  return size > 0 ? size : 0;
}

/* buffer(whether): stderr keeps what is written there until flush, as long as a prompt is on the screen */
static int console_buffer(lua_State *L) {
  if (lua_toboolean(L, 1))
    set_mode(stderr, _IOFBF, err_buffer);
  else
    set_mode(stderr, _IONBF, NULL);
  return 0;
}

/* held(): whether something was written */
static int console_held(lua_State *L) {
  lua_pushboolean(L, held_size() > 0 || __fpending(stderr) > 0);
  return 1;
}

/* written(): how many bytes have been, since flush, in a step that holds them; 0 in others */
static int console_written(lua_State *L) {
  if (output.holds)
    (void)fflush(stdout);
  lua_pushinteger(L, output.holds ? (lua_Integer)held_size() : 0);
  return 1;
}

static void put_all(int fd, const char *at, size_t size) {
  while (size > 0) {
    ssize_t written = write(fd, at, size);
    if (written > 0) {
      at += written;
      size -= (size_t)written;
    } else if (written < 0 && errno == EAGAIN) {
      struct pollfd watched = {.fd = fd, .events = POLLOUT};
      (void)poll(&watched, 1, -1);
    } else if (written == 0 || errno != EINTR) {
      return; /* nobody is there to look at it */
    }
  }
}

/* Ends with a newline. */
static void put_held(void) {
  char bytes[4096], last = '\n';
  off_t at = 0;
  for (ssize_t size; (size = pread(output.held, bytes, sizeof bytes, at)) > 0; at += size) {
    put_all(STDOUT_FILENO, bytes, (size_t)size);
    last = bytes[size - 1];
  }
  if (last != '\n')
    put_all(STDOUT_FILENO, "\n", 1);
  (void)ftruncate(output.held, 0);
}

/* A line in a stream's buffer that has no end yet. */
static bool has_open_line(FILE *file, const char *buffer) {
  size_t pending = __fpending(file);
  return pending > 0 && pending <= BUFFER_SIZE && buffer[pending - 1] != '\n';
}

/* flush([complete]): writes what there is; `complete`: ends a line that is open */
static int console_flush(lua_State *L) {
  bool complete = lua_toboolean(L, 1);
  if (complete && has_open_line(stdout, out_buffer))
    (void)fputc('\n', stdout);
  (void)fflush(stdout);
  if (held_size() > 0)
    put_held();
  if (complete && has_open_line(stderr, err_buffer))
    (void)fputc('\n', stderr);
  (void)fflush(stderr);
  return 0;
}

/* say(text [, error]): to stdout, or stderr */
static int console_say(lua_State *L) {
  size_t size;
  const char *text = luaL_checklstring(L, 1, &size);
  (void)fwrite(text, 1, size, lua_toboolean(L, 2) ? stderr : stdout);
  return 0;
}

/* put(text): past all buffers, straight to the terminal */
static int console_put(lua_State *L) {
  size_t size;
  const char *text = luaL_checklstring(L, 1, &size);
  put_all(STDOUT_FILENO, text, size);
  return 0;
}

/* is_terminal(fd) */
static int console_is_terminal(lua_State *L) {
  lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
  return 1;
}

/* columns(): of the terminal, or nothing */
static int console_columns(lua_State *L) {
  struct winsize size;
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
    return 0;
  lua_pushinteger(L, size.ws_col);
  return 1;
}

/* ---- Opening and closing ---- */

/* Everything as it was. Harmless when said again. */
static int console_close(lua_State *L) {
  if (!atomic_load(&console.open) || lua_touserdata(L, 1) != console.closer)
    return 0;
  console.closer = NULL;
  release_signals();
  let_go();
  (void)fflush(stdout);
  if (console.interactive)
    close_output();
  for (int i = 0; i < 2; i++)
    if (console.events[i] >= 0)
      (void)close(console.events[i]);
  atomic_store(&console.open, false);
  return 0;
}

/* What open returns; a state that closes in the middle of it all closes the prompt first. */
static void *push_closer(lua_State *L) {
  static const luaL_Reg meta[] = {{"__gc", console_close}, {"__close", console_close}, {NULL, NULL}};
  void *closer = lua_newuserdatauv(L, 0, 0);
  luaL_newlib(L, meta);
  lua_setmetatable(L, -2);
  return closer;
}

static int refuse(lua_State *L, const char *why) {
  lua_pushnil(L);
  lua_pushstring(L, why);
  return 2;
}

/* open(interactive): something to be closed, or nil and why not. Signals are caught where it is interactive. */
static int console_open(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  bool interactive = lua_toboolean(L, 1);
  if (state->turn || rsci_runner_is_stepping(state->engine.runner))
    return refuse(L, "can't open a prompt here: inside a step");
  void *closer = push_closer(L);
  if (atomic_exchange(&console.open, true))
    return refuse(L, "a prompt is open already");
  console.events[0] = console.events[1] = -1;
  if (interactive && pipe2(console.events, O_CLOEXEC | O_NONBLOCK) != 0) {
    atomic_store(&console.open, false);
    return refuse(L, "the process has no file descriptor left");
  }
  console.closer = closer;
  console.state = state;
  console.L = L;
  console.thread = pthread_self();
  console.doing = WAITING;
  console.interrupts = 0;
  console.chunk = NULL;
  console.has_terminal = interactive && tcgetattr(STDIN_FILENO, &console.terminal) == 0;
  console.interactive = interactive;
  output.held = output.screen = -1;
  if (interactive) {
    open_output();
    catch_signals();
  }
  return 1;
}

/* ---- Waiting ---- */

static int timeout_ms(lua_State *L, int arg) {
  if (lua_isnoneornil(L, arg))
    return -1;
  lua_Number ms = luaL_checknumber(L, arg) * 1000;
  if (!(ms > 0))
    return 0;
  return ms >= INT_MAX - 1 ? INT_MAX : (int)ms + 1; /* rounded up */
}

/* NULL: none of those that are about the screen */
static const char *take_events(void) {
  char bytes[64];
  const char *what = NULL;
  ssize_t size;
  while (console.events[0] >= 0 && (size = read(console.events[0], bytes, sizeof bytes)) > 0) {
    if (memchr(bytes, 'c', (size_t)size))
      what = "continued";
    else if (memchr(bytes, 'r', (size_t)size) && !what)
      what = "resized";
  }
  return what;
}

/* wait(input, fd, seconds): until there is input, if that is wanted, or the descriptor is readable, or a signal comes,
 * or the time is over, or nobody reads what is written. Whether there is input; whether Ctrl-C was pressed; "resized",
 * "continued" or "unheard", or nothing */
static int console_wait(lua_State *L) {
  struct pollfd watched[] = {{.fd = lua_toboolean(L, 1) ? STDIN_FILENO : -1, .events = POLLIN},
                             {.fd = (int)luaL_optinteger(L, 2, -1), .events = POLLIN},
                             {.fd = console.events[0], .events = POLLIN},
                             {.fd = console.interactive ? -1 : STDOUT_FILENO}};
  bool ready = poll(watched, 4, timeout_ms(L, 3)) > 0;
  const char *what = ready && watched[3].revents != 0 ? "unheard" : take_events();
  lua_pushboolean(L, ready && watched[0].revents != 0);
  lua_pushboolean(L, console.interrupts > 0);
  lua_pushstring(L, what);
  console.interrupts = 0;
  return 3;
}

/* read(): bytes of input up to the end of a line, as far as they are there; "" none; false: that was all */
static int console_read(lua_State *L) {
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  struct pollfd watched = {.fd = STDIN_FILENO, .events = POLLIN};
  /* One at a time: what follows the line is for whoever reads standard input in it. */
  for (char byte = '\0'; byte != '\n' && poll(&watched, 1, 0) == 1;) {
    ssize_t size = read(STDIN_FILENO, &byte, 1);
    if (size < 0 && (errno == EINTR || errno == EAGAIN))
      break;
    if (size <= 0) {
      luaL_pushresult(&buffer);
      if (lua_rawlen(L, -1) == 0)
        lua_pushboolean(L, 0);
      return 1;
    }
    luaL_addchar(&buffer, byte);
  }
  luaL_pushresult(&buffer);
  return 1;
}

/* ---- Running ---- */

/* step(f, hold): f is rsca.step; `hold`: what is written waits for flush */
static int console_step(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  bool holds = lua_toboolean(L, 2);
  lua_settop(L, 1);
  if (holds)
    hold();
  console.step_began_ns = rsci_now_ns();
  console.doing = STEPPING;
  int status = lua_pcall(L, 0, 0, 0);
  console.doing = WAITING;
  let_go();
  return status == LUA_OK ? 0 : lua_error(L);
}

/* run(f): calls it outside of any step, where all of it can be interrupted */
static int console_run(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  rscl_run run;
  rscl_stop_enter(console.state, &run, L, NULL, false);
  console.doing = RUNNING;
  int status = lua_pcall(L, 0, LUA_MULTRET, 0);
  console.doing = WAITING;
  (void)rscl_stop_leave(console.state, &run);
  if (lua_gethook(L) == wait_hook)
    lua_sethook(L, NULL, 0, 0);
  return status == LUA_OK ? lua_gettop(L) : lua_error(L);
}

/* chunk(coroutine): this is what Ctrl-C is for; chunk(): there is none any more */
static int console_chunk(lua_State *L) {
  console.chunk = lua_tothread(L, 1);
  return 0;
}

/* now(): seconds, from any moment on */
static int console_now(lua_State *L) {
  lua_pushnumber(L, (lua_Number)rsci_now_ns() / 1e9);
  return 1;
}

/* interrupted(): whether Ctrl-C was pressed, and nobody has waited since */
static int console_interrupted(lua_State *L) {
  lua_pushboolean(L, console.interrupts > 0);
  return 1;
}

static const luaL_Reg functions[] = {{"open", console_open},
                                     {"buffer", console_buffer},
                                     {"held", console_held},
                                     {"written", console_written},
                                     {"flush", console_flush},
                                     {"say", console_say},
                                     {"put", console_put},
                                     {"is_terminal", console_is_terminal},
                                     {"columns", console_columns},
                                     {"wait", console_wait},
                                     {"read", console_read},
                                     {"step", console_step},
                                     {"run", console_run},
                                     {"chunk", console_chunk},
                                     {"now", console_now},
                                     {"interrupted", console_interrupted},
                                     {"interruptible", rscl_children_interruptible},
                                     {"kind", rscl_kind},
                                     {"make_types", rscl_make_types},
                                     {"tap", rscl_tap},
                                     {"registration", rscl_registration},
                                     {NULL, NULL}};

static int console_module(lua_State *L) {
  luaL_newlibtable(L, functions);
  (void)rscl_push_box(L);
  luaL_setfuncs(L, functions, 1);
  return 1;
}

void rscl_console_preload(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, console_module);
  lua_setfield(L, -2, "rsca.repl.console");
  lua_pop(L, 1);
}
