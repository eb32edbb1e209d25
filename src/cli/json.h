/*
 * Results as JSON: one object in one line each.
 *
 * Provides: cli_json_response, cli_json_failure, cli_json_action
 * Uses:     jansson; base64.h
 * Memory:   texts are to be freed, and have no newline; NULL: not enough memory
 */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include <rsca/manager.h>

#include "failure.h"
#include "options.h"

/* status, name, response; encoding where these are no text; for CLI_WATCH also final. */
char *cli_json_response(const cli_options *options, HRESULT status, const void *response, size_t size, bool final);

/* status, name, message, action, traceback; for CLI_WATCH also final. */
char *cli_json_failure(const cli_options *options, const cli_failure *failure);

/* name, help, place */
char *cli_json_action(const rsca_action_info *action);

#endif
