#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "call.h"
#include "commands.h"
#include "json.h"
#include "output.h"

/* The bytes as they are; on a terminal the next prompt begins in a line of its own. */
static int write_response(const char *response, size_t size) {
  bool open_line = size > 0 && response[size - 1] != '\n';
  return cli_answer(response, size, open_line && isatty(STDOUT_FILENO));
}

static int answer(const cli_options *options, HRESULT status, const void *response, size_t size, bool final) {
  if (!options->json)
    return write_response(response, size);
  char *line = cli_json_response(options, status, response, size, final);
  int error = line ? cli_answer(line, strlen(line), true) : ENOMEM;
  free(line);
  return error;
}

int cli_run(const cli_options *options) {
  return cli_call_action(options, rsca_manager_run, answer);
}
