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
#include <termios.h>
#include <unistd.h>

#include <rsca/lua.h>

#include "core/thread.h"
#include "fiber.h"
#include "interrupt.h"
#include "tap.h"

/* A step that takes longer holds up the prompt: what runs in it can be interrupted then, whoever started it. */
#define PATIENCE_NS UINT64_C(500000000)

typedef enum doing { WAITING, STEPPING, RUNNING } doing;

static struct {
  atomic_bool open; /* one prompt in a process */
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

static void on_interrupt(int signal_number) {
  if (!pthread_equal(pthread_self(), console.thread)) {
    (void)pthread_kill(console.thread, signal_number);
    return;
  }
  console.interrupts++;
  send_event('i');
  if (console.doing != WAITING && may_interrupt())
    rsca_lua_interrupt(console.L);
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

/* ---- Standard output ---- */

/* A stream that holds back what is written while a prompt is shown. The buffers live on with the streams. */
typedef struct output {
  FILE *file;
  int mode, mode_before;
  char *buffer;
} output;

enum { BUFFER_SIZE = 1 << 16 };
static char out_buffer[BUFFER_SIZE], err_buffer[BUFFER_SIZE];
static output outputs[2];

static int mode_of(FILE *file) {
  if (__flbf(file))
    return _IOLBF;
  return __fbufsize(file) <= 1 ? _IONBF : _IOFBF;
}

static void set_mode(output *out, int mode) {
  if (out->mode == mode)
    return;
  (void)fflush(out->file);
  (void)setvbuf(out->file, mode == _IONBF ? NULL : out->buffer, mode, mode == _IONBF ? 0 : BUFFER_SIZE);
  out->mode = mode;
}

static void open_outputs(bool interactive) {
  outputs[0] = (output){.file = stdout, .buffer = out_buffer};
  outputs[1] = (output){.file = stderr, .buffer = err_buffer};
  for (int i = 0; i < 2; i++) {
    (void)fflush(outputs[i].file);
    outputs[i].mode_before = mode_of(outputs[i].file);
    outputs[i].mode = -1;
  }
  /* A line at a time, so that what is left in the buffer tells whether one is open. */
  if (interactive)
    set_mode(&outputs[0], _IOLBF);
}

static void close_outputs(void) {
  for (int i = 0; i < 2; i++) {
    (void)fflush(outputs[i].file);
    if (outputs[i].mode >= 0)
      set_mode(&outputs[i], outputs[i].mode_before);
  }
}

/* hold(): from here on what is written stays where it is, up to a size, until flush or let_go */
static int console_hold(lua_State *L) {
  (void)L;
  set_mode(&outputs[0], _IOFBF);
  set_mode(&outputs[1], _IOFBF);
  return 0;
}

/* held(): whether something was written */
static int console_held(lua_State *L) {
  lua_pushboolean(L, __fpending(stdout) > 0 || __fpending(stderr) > 0);
  return 1;
}

/* written(): how many bytes wait to go to stdout */
static int console_written(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)__fpending(stdout));
  return 1;
}

/* The last line in a stream's buffer has no end yet. */
static bool has_open_line(const output *out) {
  size_t pending = out->mode < 0 ? 0 : __fpending(out->file);
  return pending > 0 && pending <= BUFFER_SIZE && out->buffer[pending - 1] != '\n';
}

/* flush([complete]): writes what was held; `complete`: ends a line that is open */
static int console_flush(lua_State *L) {
  bool complete = lua_toboolean(L, 1);
  for (int i = 0; i < 2; i++) {
    bool open = complete && has_open_line(&outputs[i]);
    if (open)
      (void)fputc('\n', outputs[i].file);
    (void)fflush(outputs[i].file);
  }
  return 0;
}

/* let_go(): output is as usual again */
static int console_let_go(lua_State *L) {
  (void)L;
  set_mode(&outputs[0], _IOLBF);
  set_mode(&outputs[1], _IONBF);
  return 0;
}

/* say(text [, error]): to stdout, or stderr */
static int console_say(lua_State *L) {
  size_t size;
  const char *text = luaL_checklstring(L, 1, &size);
  (void)fwrite(text, 1, size, lua_toboolean(L, 2) ? stderr : stdout);
  return 0;
}

/* put(text): past what is held, straight to the terminal */
static int console_put(lua_State *L) {
  size_t size;
  const char *at = luaL_checklstring(L, 1, &size);
  while (size > 0) {
    ssize_t written = write(STDOUT_FILENO, at, size);
    if (written > 0) {
      at += written;
      size -= (size_t)written;
    } else if (written < 0 && errno == EAGAIN) {
      struct pollfd watched = {.fd = STDOUT_FILENO, .events = POLLOUT};
      (void)poll(&watched, 1, -1);
    } else if (written == 0 || errno != EINTR) {
      break; /* nobody is there to look at it */
    }
  }
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
  (void)L;
  if (!atomic_load(&console.open) || !pthread_equal(console.thread, pthread_self()))
    return 0;
  release_signals();
  close_outputs();
  for (int i = 0; i < 2; i++)
    if (console.events[i] >= 0)
      (void)close(console.events[i]);
  atomic_store(&console.open, false);
  return 0;
}

/* What open returns; a state that closes in the middle of it all closes the prompt first. */
static void push_closer(lua_State *L) {
  static const luaL_Reg meta[] = {{"__gc", console_close}, {"__close", console_close}, {NULL, NULL}};
  (void)lua_newuserdatauv(L, 0, 0);
  luaL_newlib(L, meta);
  lua_setmetatable(L, -2);
}

/* open(interactive): something to be closed. Signals are caught where it is interactive. Raises inside a step, and
 * where a prompt is open. */
static int console_open(lua_State *L) {
  rscl_state *state = rscl_check_state(L);
  bool interactive = lua_toboolean(L, 1);
  if (state->turn || rsci_runner_is_stepping(state->engine.runner))
    return luaL_error(L, "can't open a prompt here: inside a step");
  push_closer(L);
  if (atomic_exchange(&console.open, true))
    return luaL_error(L, "a prompt is open already");
  console.events[0] = console.events[1] = -1;
  if (interactive && pipe2(console.events, O_CLOEXEC | O_NONBLOCK) != 0) {
    atomic_store(&console.open, false);
    return luaL_error(L, "the process has no file descriptor left");
  }
  console.state = state;
  console.L = L;
  console.thread = pthread_self();
  console.doing = WAITING;
  console.interrupts = 0;
  console.chunk = NULL;
  console.has_terminal = interactive && tcgetattr(STDIN_FILENO, &console.terminal) == 0;
  open_outputs(interactive);
  if (interactive)
    catch_signals();
  return 1;
}

/* guard(): running code can't hide from an interrupt */
static int console_guard(lua_State *L) {
  rscl_guard_state(L, rscl_check_state(L));
  return 0;
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
 * or the time is over. Whether there is input; whether Ctrl-C was pressed; "resized" or "continued", or nothing */
static int console_wait(lua_State *L) {
  struct pollfd watched[] = {{.fd = lua_toboolean(L, 1) ? STDIN_FILENO : -1, .events = POLLIN},
                             {.fd = (int)luaL_optinteger(L, 2, -1), .events = POLLIN},
                             {.fd = console.events[0], .events = POLLIN}};
  bool ready = poll(watched, 3, timeout_ms(L, 3)) > 0;
  const char *what = take_events();
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

/* Calls f() with this published for signal handlers. */
static int call_as(lua_State *L, doing what) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  console.step_began_ns = rsci_now_ns();
  console.doing = (sig_atomic_t)what;
  int status = lua_pcall(L, 0, LUA_MULTRET, 0);
  console.doing = WAITING;
  if (what == RUNNING)
    rscl_interrupt_over();
  return status == LUA_OK ? lua_gettop(L) : lua_error(L);
}

/* step(f): f is rsca.step */
static int console_step(lua_State *L) {
  return call_as(L, STEPPING);
}

/* run(f): all of it can be interrupted */
static int console_run(lua_State *L) {
  return call_as(L, RUNNING);
}

/* chunk(coroutine): this is what Ctrl-C is for; chunk(): there is none any more */
static int console_chunk(lua_State *L) {
  console.chunk = lua_tothread(L, 1);
  if (!console.chunk)
    rscl_interrupt_over();
  return 0;
}

/* now(): seconds, from any moment on */
static int console_now(lua_State *L) {
  lua_pushnumber(L, (lua_Number)rsci_now_ns() / 1e9);
  return 1;
}

static const luaL_Reg functions[] = {{"open", console_open},
                                     {"guard", console_guard},
                                     {"hold", console_hold},
                                     {"held", console_held},
                                     {"written", console_written},
                                     {"flush", console_flush},
                                     {"let_go", console_let_go},
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
                                     {"kind", rscl_kind},
                                     {"tap", rscl_tap},
                                     {NULL, NULL}};

static int console_module(lua_State *L) {
  luaL_newlibtable(L, functions);
  lua_pushvalue(L, RSCL_BOX);
  luaL_setfuncs(L, functions, 1);
  return 1;
}

void rscl_console_preload(lua_State *L, int box) {
  box = lua_absindex(L, box);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushvalue(L, box);
  lua_pushcclosure(L, console_module, 1);
  lua_setfield(L, -2, "rsca.repl.console");
  lua_pop(L, 1);
}
