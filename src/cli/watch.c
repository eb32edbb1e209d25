#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"
#include "commands.h"
#include "json.h"
#include "output.h"

/* Each in a line, or lines, of its own. The end has no bytes of its own. */
static int write_response(const char *response, size_t size, bool final) {
  if (final)
    return 0;
  return cli_answer(response, size, size == 0 || response[size - 1] != '\n');
}

static int answer(const cli_options *options, HRESULT status, const void *response, size_t size, bool final) {
  if (!options->json)
    return write_response(response, size, final);
  char *line = cli_json_response(options, status, response, size, final);
  int error = line ? cli_answer(line, strlen(line), true) : ENOMEM;
  free(line);
  return error;
}

int cli_watch(const cli_options *options) {
  return cli_call_action(options, rsca_manager_subscribe, answer);
}
