/*
 * The one call of `run` and `watch`: loads the script, starts the call, steps until it has ended.
 *
 * Provides: cli_call_action
 * Uses:     failure.h, guard.h, host.h, options.h, output.h
 */
#ifndef CLI_CALL_H
#define CLI_CALL_H

#include <stdbool.h>
#include <stddef.h>

#include <rsca/manager.h>

#include "options.h"

/* rsca_manager_run or rsca_manager_subscribe */
typedef HRESULT (*cli_start_fn)(rsca_manager *manager, const char *name, const char *args, rsca_result_fn fn,
                                void *user, uint64_t *id);

/* Writes a success. 0, or the number of the error. */
typedef int (*cli_answer_fn)(const cli_options *options, HRESULT status, const void *response, size_t size, bool final);

/* Returns how the program is to exit. */
int cli_call_action(const cli_options *options, cli_start_fn start, cli_answer_fn answer);

#endif
