/*
 * Writing: responses to stdout, and lines about what is wrong to stderr.
 *
 * Provides: cli_write, cli_answer, cli_unwritten, cli_complain, cli_put_plain, cli_output_open
 * Uses:     nothing
 * Threads:  cli_answer and cli_unwritten on the main thread; the others on any
 */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* All of it, whatever that takes: 0, or the number of the error. */
int cli_write(int fd, const void *bytes, size_t size);

/* Writes to stdout, after what the script has written there itself; a newline, if wanted, in the same go. 0, or the
 * number of the error. */
int cli_answer(const void *bytes, size_t size, bool newline);

/* Tells of an error of cli_answer, and how the program is to exit: when the reader has gone, quietly. */
int cli_unwritten(int error);

/* One line on stderr, whatever the arguments have in them. */
__attribute__((format(printf, 1, 2))) void cli_complain(const char *format, ...);

/* Text from elsewhere, without what would control a terminal; `lines`: newlines and tabs are kept. */
void cli_put_plain(FILE *out, const char *text, size_t size, bool lines);

/* Before anything else: a reader who has gone is an error of cli_answer from here on, not the end of the program. */
void cli_output_open(void);

#endif
