#include <locale.h>

#include <lauxlib.h>
#include <lua.h>

#include "commands.h"
#include "host.h"
#include "output.h"

#ifdef CLI_READLINE
#include "editor.h"
#endif

typedef struct prompt {
  const cli_options *options;
  bool failed;
} prompt;

/* (prompt): nothing, or what is wrong */
static int prompt_main(lua_State *L) {
  prompt *what = lua_touserdata(L, 1);
  lua_newtable(L);
  lua_setglobal(L, "arg"); /* as scripts have it elsewhere */
#ifdef CLI_READLINE
  cli_editor_preload(L);
#endif
  lua_getglobal(L, "require");
  lua_pushliteral(L, "rsca");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "repl");
  lua_newtable(L);
  lua_newtable(L);
  for (int i = 0; what->options->scripts[i]; i++) {
    lua_pushstring(L, what->options->scripts[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "scripts");
  lua_call(L, 1, 1);
  what->failed = !lua_toboolean(L, -1);
  return 0;
}

int cli_repl(const cli_options *options) {
  (void)setlocale(LC_CTYPE, ""); /* the editor counts characters, not bytes */
  prompt what = {.options = options};
  cli_host host;
  const char *problem = cli_host_start(&host, prompt_main, &what);
  if (problem)
    cli_complain("%s", problem);
  int error = cli_answer("", 0, false);
  int status = problem || what.failed ? CLI_FAILED : CLI_DONE;
  if (error)
    status = cli_unwritten(error);
  cli_host_close(&host);
  return status;
}
