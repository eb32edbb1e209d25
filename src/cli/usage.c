#include "usage.h"

#include <stdio.h>
#include <string.h>

#include <rsca/version.h>

#include "output.h"

static const struct {
  const char *name;
  const char *usage;
  const char *text;
} commands[] = {
    [CLI_RUN] = {"run", "rsca run [OPTION]... SCRIPT NAME [ARG]...", "Runs the action NAME and writes its response."},
    [CLI_WATCH] = {"watch", "rsca watch [OPTION]... SCRIPT NAME [ARG]...",
                   "Writes every response of the action NAME, until it ends or is interrupted."},
    [CLI_LIST] = {"list", "rsca list [OPTION]... SCRIPT", "Lists the actions."},
    [CLI_REPL] = {"repl", "rsca repl [SCRIPT]...",
                  "Opens a prompt for Lua and for the actions, after running the scripts."},
};
enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

static const char script_help[] =
    "SCRIPT is a file in Lua that registers actions; '-' is standard input. ARGs are joined by single spaces.\n";
static const char limit_help[] = "      --time-limit SECONDS  cancels the action when this time is over\n";
static const char other_help[] = "      --json                one JSON object in a line for each result\n"
                                 "  -h, --help                this help\n"
                                 "      --version             the version\n"
                                 "\n"
                                 "After '--' nothing is an option. The page rsca(1) of the manual tells all.\n";

static const char repl_text[] =
    "SCRIPTs are files in Lua that register actions. At the prompt '.help' tells more. What is piped in is carried "
    "out\n"
    "line by line, without a prompt; then the exit status is 1 if something in it went wrong.\n"
    "\n"
    "  -h, --help                this help\n"
    "\n"
    "After '--' nothing is an option. The page rsca(1) of the manual tells all.\n";

bool cli_find_command(const char *name, cli_command *command) {
  for (int i = 0; i < COMMAND_COUNT; i++) {
    if (strcmp(name, commands[i].name) == 0) {
      *command = (cli_command)i;
      return true;
    }
  }
  return false;
}

const char *cli_usage(cli_command command) {
  return commands[command].usage;
}

/* Whether all that was printed could be written. */
static int finish(void) {
  int error = cli_answer("", 0, false);
  return error ? cli_unwritten(error) : CLI_DONE;
}

int cli_help(void) {
  for (int i = 0; i < COMMAND_COUNT; i++)
    (void)printf("%s %s\n", i ? "      " : "usage:", commands[i].usage);
  (void)puts("");
  for (int i = 0; i < COMMAND_COUNT; i++)
    (void)printf("  %-6s %s\n", commands[i].name, commands[i].text);
  (void)printf("\n%s\n%s%s", script_help, limit_help, other_help);
  return finish();
}

static int repl_help(void) {
  (void)printf("\n%s", repl_text);
  return finish();
}

int cli_help_for(cli_command command) {
  (void)printf("usage: %s\n%s\n", commands[command].usage, commands[command].text);
  if (command == CLI_REPL)
    return repl_help();
  (void)printf("\n%s\n%s%s", script_help, command == CLI_LIST ? "" : limit_help, other_help);
  return finish();
}

int cli_version(void) {
  (void)puts("rsca " RSCA_VERSION);
  return finish();
}
