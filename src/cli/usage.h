/*
 * What the commands are called and how they are used.
 *
 * Provides: cli_find_command, cli_usage, cli_help, cli_help_for, cli_version
 * Uses:     options.h, output.h
 */
#ifndef CLI_USAGE_H
#define CLI_USAGE_H

#include <stdbool.h>

#include "options.h"

/* False: there is none of that name. */
bool cli_find_command(const char *name, cli_command *command);

/* One line, without a newline. */
const char *cli_usage(cli_command command);

/* These write to stdout, and return how the program is to exit. */
int cli_help(void);
int cli_help_for(cli_command command);
int cli_version(void);

#endif
