#include "failure.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "output.h"

static const char traceback_mark[] = "\nstack traceback:\n";

cli_failure cli_failure_of(HRESULT status, const void *response, size_t size, const char *action) {
  cli_failure failure = {.status = status, .message = response, .message_size = size, .action = action};
  const char *mark = size > 0 ? memmem(response, size, traceback_mark, sizeof traceback_mark - 1) : NULL;
  if (mark) {
    failure.message_size = (size_t)(mark - failure.message);
    failure.traceback = mark + 1;
    failure.traceback_size = size - failure.message_size - 1;
  }
  if (failure.message_size == 0) {
    const rsca_status_entry *entry = rsca_status_find(status);
    failure.message = entry ? entry->meaning : "failed without a message";
    failure.message_size = strlen(failure.message);
  }
  return failure;
}

const char *cli_status_name(HRESULT status, char buffer[CLI_NAME_SIZE]) {
  const rsca_status_entry *entry = rsca_status_find(status);
  if (entry)
    return entry->name;
  (void)snprintf(buffer, CLI_NAME_SIZE, "0x%08X", (unsigned)(uint32_t)status);
  return buffer;
}

static void put_failure(FILE *out, const cli_failure *failure) {
  const rsca_status_entry *entry = rsca_status_find(failure->status);
  (void)fputs("rsca: ", out);
  cli_put_plain(out, failure->message, failure->message_size, false);
  (void)fprintf(out, " (%s%s0x%08X)\n", entry ? entry->name : "", entry ? " " : "",
                (unsigned)(uint32_t)failure->status);
  if (failure->traceback) {
    cli_put_plain(out, failure->traceback, failure->traceback_size, true);
    (void)fputc('\n', out);
  }
}

void cli_failure_print(const cli_failure *failure) {
  char *text = NULL;
  size_t size;
  FILE *out = open_memstream(&text, &size);
  if (out) {
    put_failure(out, failure);
    if (fclose(out) == 0)
      (void)cli_write(STDERR_FILENO, text, size);
  }
  free(text);
}

static void answer_failure(const cli_options *options, const cli_failure *failure) {
  if (!options->json)
    return;
  char *line = cli_json_failure(options, failure);
  int error = line ? cli_answer(line, strlen(line), true) : ENOMEM;
  free(line);
  if (error)
    (void)cli_unwritten(error);
}

int cli_fail(const cli_options *options, const cli_failure *failure) {
  cli_failure_print(failure);
  answer_failure(options, failure);
  return CLI_FAILED;
}

int cli_fail_script(const cli_options *options, const char *problem) {
  const cli_failure failure = cli_failure_of(E_FAIL, problem, strlen(problem), options->name);
  cli_complain("%s", problem);
  answer_failure(options, &failure);
  return CLI_FAILED;
}
