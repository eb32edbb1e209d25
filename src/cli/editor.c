#include "editor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include <lauxlib.h>

#include <readline/history.h>
#include <readline/readline.h>

enum { HISTORY_LINES = 1000 };

static struct {
  lua_State *L;
  FILE *screen;    /* of its own: what scripts write to stdout is held back elsewhere */
  bool edits;      /* a line is being edited */
  bool read;       /* a line has been read, or the end of input */
  char *line;      /* that line; owned; NULL: the end */
  char *history;   /* name of the file; owned; NULL: none */
  char breaks[64]; /* where words begin */
  int before;      /* bytes of the candidates that stand before what is completed */
} editor;

static const char functions_key; /* its address is the place of breaks and complete in the registry */

/* ---- Lines ---- */

static void on_line(char *line) {
  rl_callback_handler_remove(); /* now, or the prompt comes again */
  editor.edits = false;
  editor.read = true;
  editor.line = line;
}

/* prompt(text) */
static int editor_prompt(lua_State *L) {
  const char *text = luaL_checkstring(L, 1);
  editor.edits = true;
  rl_callback_handler_install(text, on_line);
  return 0;
}

static int push_line(lua_State *L) {
  lua_pushstring(L, editor.line);
  return 1;
}

/* read(): a line; false: the end of input; nothing: none is complete yet */
static int editor_read(lua_State *L) {
  if (!editor.edits)
    return 0;
  editor.read = false;
  rl_callback_read_char();
  if (!editor.read)
    return 0;
  if (!editor.line) {
    lua_pushboolean(L, 0);
    return 1;
  }
  lua_pushcfunction(L, push_line);
  int status = lua_pcall(L, 0, 1, 0);
  free(editor.line);
  editor.line = NULL;
  return status == LUA_OK ? 1 : lua_error(L);
}

/* hide() */
static int editor_hide(lua_State *L) {
  (void)L;
  if (editor.edits) {
    (void)rl_clear_visible_line();
    (void)fflush(editor.screen);
  }
  return 0;
}

/* show() */
static int editor_show(lua_State *L) {
  (void)L;
  if (editor.edits) {
    (void)rl_on_new_line();
    rl_forced_update_display();
  }
  return 0;
}

/* discard(): whether something was typed */
static int editor_discard(lua_State *L) {
  bool typed = editor.edits && rl_end > 0;
  if (editor.edits) {
    rl_callback_sigcleanup(); /* a search, a count */
    rl_point = rl_end;
    rl_redisplay();
    (void)fputs("^C\n", editor.screen);
    (void)fflush(editor.screen);
    rl_free_line_state();
    rl_callback_handler_remove();
    editor.edits = false;
  }
  lua_pushboolean(L, typed);
  return 1;
}

/* How many rows lie between the beginning of the prompt and the cursor, on a screen of so many columns. */
static int rows_above(int columns) {
  int row = 0, column = 0;
  const char *parts[] = {rl_display_prompt, rl_line_buffer};
  size_t sizes[] = {rl_display_prompt ? strlen(rl_display_prompt) : 0, (size_t)rl_point};
  for (int i = 0; i < 2; i++) {
    mbstate_t state = {0};
    for (size_t at = 0; at < sizes[i];) {
      wchar_t character;
      size_t size = mbrtowc(&character, parts[i] + at, sizes[i] - at, &state);
      bool good = size > 0 && size <= sizes[i] - at;
      int width = good ? wcwidth(character) : 1;
      at += good ? size : 1;
      bool line_ends = good && character == L'\n';
      if (line_ends || column + (width > 0 ? width : 0) > columns) {
        row++;
        column = 0;
      }
      column += line_ends ? 0 : width >= 0 ? width : 2; /* ^X */
    }
  }
  return row + (column == columns);
}

/* resize(): a terminal lays its lines out anew then, so where they were is not where readline left them. */
static int editor_resize(lua_State *L) {
  (void)L;
  if (!editor.edits)
    return 0;
  rl_reset_screen_size();
  int rows, columns;
  rl_get_screen_size(&rows, &columns);
  int above = rows_above(columns);
  (void)fputs("\r", editor.screen);
  if (above > 0)
    (void)fprintf(editor.screen, "\033[%dA", above < rows ? above : rows - 1);
  (void)fputs("\033[J", editor.screen);
  (void)rl_on_new_line();
  rl_forced_update_display();
  return 0;
}

/* ---- Completion ---- */

/* A call of one of the two functions, with the line up to the cursor and the word that is completed. */
typedef struct question {
  const char *function;
  const char *word;
  char **candidates; /* as readline wants them */
  bool none;         /* the answer was nil */
} question;

/* What all of the candidates have in common; readline puts that in place of the word. */
static char *common_start(char **candidates) {
  size_t length = strlen(candidates[1]);
  for (char **at = candidates + 2; *at; at++) {
    size_t same = 0;
    while (same < length && (*at)[same] == candidates[1][same])
      same++;
    length = same;
  }
  while (length > 0 && ((unsigned char)candidates[1][length] & 0xC0) == 0x80)
    length--; /* not inside of a character */
  return strndup(candidates[1], length);
}

static void free_candidates(char **candidates) {
  for (char **at = candidates + 1; *at; at++)
    free(*at);
  free(candidates[0]);
  free(candidates);
}

/* From the list on top: NULL where there are none, or no memory. Never raises. */
static char **to_candidates(lua_State *L) {
  size_t count = lua_rawlen(L, -1);
  char **candidates = count > 0 ? calloc(count + 2, sizeof *candidates) : NULL;
  size_t taken = 0;
  for (size_t i = 1; candidates && i <= count; i++) {
    lua_rawgeti(L, -1, (lua_Integer)i);
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    char *copy = text ? strdup(text) : NULL;
    if (copy)
      candidates[++taken] = copy;
    lua_pop(L, 1);
  }
  if (candidates && taken > 0)
    candidates[0] = common_start(candidates);
  if (candidates && !candidates[0]) {
    free_candidates(candidates);
    candidates = NULL;
  }
  return candidates;
}

static int ask_main(lua_State *L) {
  question *what = lua_touserdata(L, 1);
  (void)lua_rawgetp(L, LUA_REGISTRYINDEX, &functions_key);
  lua_getfield(L, -1, what->function);
  lua_pushlstring(L, rl_line_buffer, (size_t)rl_point);
  lua_pushstring(L, what->word);
  lua_call(L, 2, 1);
  what->none = lua_isnil(L, -1);
  if (lua_istable(L, -1))
    what->candidates = to_candidates(L);
  else if (lua_type(L, -1) == LUA_TSTRING)
    (void)snprintf(editor.breaks, sizeof editor.breaks, "%s", lua_tostring(L, -1));
  return 0;
}

/* Readline is on the stack: nothing may raise here. */
static void ask(question *what) {
  lua_State *L = editor.L;
  if (!lua_checkstack(L, 4))
    return;
  lua_pushcfunction(L, ask_main);
  lua_pushlightuserdata(L, what);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK)
    lua_pop(L, 1);
}

static char *word_breaks(void) {
  question what = {.function = "breaks", .word = ""};
  (void)strcpy(editor.breaks, " ");
  ask(&what);
  return editor.breaks;
}

/* Those that stand in a list are shown without what is the same in all: the table before the field. */
static int length_before_field(const char *word) {
  const char *dot = strrchr(word, '.'), *colon = strrchr(word, ':');
  const char *last = colon && (!dot || colon > dot) ? colon : dot;
  return last && last > word ? (int)(last - word) + 1 : 0;
}

static char **complete(const char *word, int start, int end) {
  (void)start;
  (void)end;
  question what = {.function = "complete", .word = word};
  ask(&what);
  rl_attempted_completion_over = !what.none; /* otherwise it looks for files */
  editor.before = what.none ? 0 : length_before_field(word);
  if (!what.none)
    rl_completion_append_character = '\0';
  return what.candidates;
}

static void show_candidates(char **candidates, int count, int longest) {
  char **shown = calloc((size_t)count + 2, sizeof *shown);
  if (!shown)
    return;
  for (int i = 0; i <= count; i++) {
    size_t before = (size_t)editor.before;
    shown[i] = candidates[i] + (strlen(candidates[i]) >= before ? before : 0);
  }
  rl_display_match_list(shown, count, longest - editor.before);
  free(shown);
  (void)rl_on_new_line();
  rl_forced_update_display();
}

/* ---- History ---- */

static void read_history_file(const char *name) {
  clear_history();
  stifle_history(HISTORY_LINES);
  free(editor.history);
  editor.history = name ? strdup(name) : NULL;
  if (!editor.history)
    return;
  int fd = open(editor.history, O_CREAT | O_CLOEXEC | O_RDWR, 0600);
  if (fd >= 0)
    (void)close(fd);
  (void)read_history(editor.history);
}

/* remember(text): as one entry, also where it has many lines; at once, for other prompts and whatever comes */
static int editor_remember(lua_State *L) {
  const char *text = luaL_checkstring(L, 1);
  HIST_ENTRY *last = history_length > 0 ? history_get(history_base + history_length - 1) : NULL;
  if (last && strcmp(last->line, text) == 0)
    return 0;
  add_history(text);
  if (editor.history)
    (void)append_history(1, editor.history);
  return 0;
}

/* ---- Opening and closing ---- */

/* Where a script ends the program in the middle of a line. */
static void at_exit(void) {
  if (editor.edits)
    rl_deprep_terminal();
}

/* open{ history =, breaks =, complete = } */
static int editor_open(lua_State *L) {
  static bool registered;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_getfield(L, 1, "history");
  const char *history = lua_tostring(L, -1);
  lua_pushvalue(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &functions_key);
  int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
  editor.screen = fd >= 0 ? fdopen(fd, "w") : NULL;
  if (!editor.screen)
    return luaL_error(L, "can't write to the terminal: %s", strerror(errno));
  editor.L = L;
  editor.edits = false;
  rl_readline_name = "rsca";
  rl_instream = stdin;
  rl_outstream = editor.screen;
  rl_catch_signals = 0;
  rl_catch_sigwinch = 0;
  rl_change_environment = 0;
  rl_attempted_completion_function = complete;
  rl_completion_word_break_hook = word_breaks;
  rl_completion_display_matches_hook = show_candidates;
  rl_completer_quote_characters = "";
  rl_basic_quote_characters = "";
  history_write_timestamps = 1; /* they tell where an entry of many lines begins */
  history_comment_char = '#';
  (void)rl_variable_bind("enable-bracketed-paste", "on");
  read_history_file(history);
  if (!registered)
    registered = atexit(at_exit) == 0;
  return 0;
}

/* close() */
static int editor_close(lua_State *L) {
  if (editor.edits) {
    rl_callback_sigcleanup();
    rl_callback_handler_remove();
    editor.edits = false;
  }
  if (editor.history)
    (void)history_truncate_file(editor.history, HISTORY_LINES);
  free(editor.history);
  editor.history = NULL;
  if (editor.screen) {
    rl_outstream = stdout;
    (void)fclose(editor.screen);
    editor.screen = NULL;
  }
  lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &functions_key);
  return 0;
}

static int open_editor(lua_State *L) {
  static const luaL_Reg functions[] = {{"open", editor_open},     {"prompt", editor_prompt},
                                       {"read", editor_read},     {"hide", editor_hide},
                                       {"show", editor_show},     {"discard", editor_discard},
                                       {"resize", editor_resize}, {"remember", editor_remember},
                                       {"close", editor_close},   {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}

void cli_editor_preload(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, open_editor);
  lua_setfield(L, -2, "rsca.repl.editor");
  lua_pop(L, 1);
}
