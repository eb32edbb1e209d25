/*
 * The command line.
 *
 * Provides: cli_options, cli_options_parse, cli_options_free
 * Uses:     output.h, usage.h
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum cli_command { CLI_RUN, CLI_WATCH, CLI_LIST, CLI_REPL } cli_command;

/* How the program exits, when no signal has ended it. */
enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_MISUSE = 2 };

typedef struct cli_options {
  cli_command command;
  bool json;
  const char *limit; /* the time limit as it was given; NULL: none */
  uint64_t limit_ns; /* above 0 where there is one */
  const char *script;
  char **scripts;   /* of CLI_REPL, up to a NULL */
  const char *name; /* of the action; NULL for CLI_LIST and CLI_REPL */
  char *args;       /* owned; joined by single spaces */
} cli_options;

/* True: there is a command to carry out. False: the program is to exit with *exit_status, and what there was to say has
 * been said: help on stdout, or one line about a misuse on stderr. */
bool cli_options_parse(cli_options *options, int argc, char **argv, int *exit_status);

void cli_options_free(cli_options *options);

#endif
