/*
 * What went wrong with a call, for people and for programs.
 *
 * Provides: cli_failure, cli_failure_of, cli_failure_print, cli_fail, cli_fail_script,
 *           cli_status_name
 * Uses:     json.h, options.h, output.h
 */
#ifndef CLI_FAILURE_H
#define CLI_FAILURE_H

#include <stddef.h>

#include <rsca/status.h>

#include "options.h"

/* All borrowed. */
typedef struct cli_failure {
  HRESULT status;
  const char *message; /* never empty */
  size_t message_size;
  const char *traceback; /* NULL: none */
  size_t traceback_size;
  const char *action; /* NULL: none */
} cli_failure;

/* From what a callback is told: a message, and a traceback after it perhaps. Borrows all of it. */
cli_failure cli_failure_of(HRESULT status, const void *response, size_t size, const char *action);

/* MESSAGE (NAME 0x...) as one line on stderr, and the traceback below. Any thread. */
void cli_failure_print(const cli_failure *failure);

/* That, and the object on stdout if these are wanted. Returns how the program is to exit. */
int cli_fail(const cli_options *options, const cli_failure *failure);

/* The same for a script that didn't run to its end; `problem` is a line that says where. */
int cli_fail_script(const cli_options *options, const char *problem);

/* A status by name; for one that has none, its number, which goes into `buffer`. */
enum { CLI_NAME_SIZE = 11 };
const char *cli_status_name(HRESULT status, char buffer[CLI_NAME_SIZE]);

#endif
