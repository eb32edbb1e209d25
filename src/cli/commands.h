/*
 * What the program can do. Each returns how it is to exit.
 *
 * Provides: cli_run, cli_watch, cli_list, cli_repl
 * Uses:     call.h, editor.h, failure.h, host.h, json.h, options.h, output.h
 */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "options.h"

int cli_run(const cli_options *options);
int cli_watch(const cli_options *options);
int cli_list(const cli_options *options);
int cli_repl(const cli_options *options);

#endif
