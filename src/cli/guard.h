/*
 * Sees to it that the program ends: a thread that ends the call when its time is over or a signal asks for it. If the
 * call goes on for a second all the same, it is stopped; and where that can't be, a second later the program ends.
 *
 * The first SIGINT, SIGTERM or SIGHUP ends the call; the same once more ends the program at once.
 *
 * Provides: cli_guard_start, cli_guard_attach, cli_guard_end, cli_guard_claim, cli_guard_stop
 * Uses:     failure.h, json.h, options.h, output.h
 * Threads:  all on the main thread
 */
#ifndef CLI_GUARD_H
#define CLI_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include <rsca/manager.h>

#include "options.h"

/* Why a call is ended before its time; a signal stands for itself. */
enum { CLI_NO_REASON = 0, CLI_TIME_OVER = 254, CLI_NO_READER = 255 };

/* The time of the limit begins here. `options` are borrowed until cli_guard_stop. False: there is no thread to be had.
 */
bool cli_guard_start(const cli_options *options);

/* This is the call; if there has been a reason already, it is ended at once. `manager` is borrowed until
 * cli_guard_claim. */
void cli_guard_attach(rsca_manager *manager, uint64_t id);

/* Nobody hears the call any more: it is ended; `exit_status` counts if it doesn't end. */
void cli_guard_end(int exit_status);

/* The call has ended, and from here on the caller reports it: no limit counts any more. Returns the reason, if one has
 * ended it. */
int cli_guard_claim(void);

void cli_guard_stop(void);

/* How the program ends for a reason. */
int cli_exit_status(int reason);

/* What a call that ran out of time is told to have failed with. To be freed; NULL: not enough memory. */
char *cli_time_over_message(const cli_options *options);

#endif
