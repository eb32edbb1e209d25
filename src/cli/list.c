#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "failure.h"
#include "host.h"
#include "json.h"
#include "output.h"

typedef struct listing {
  FILE *out;
  int width; /* of the longest name */
  bool failed;
} listing;

/* In characters, as UTF-8 has them. */
static int width_of(const char *text) {
  int width = 0;
  for (; *text; text++)
    width += ((unsigned char)*text & 0xC0) != 0x80;
  return width;
}

static void measure(void *user, const rsca_action_info *action) {
  listing *list = user;
  int width = width_of(action->name);
  if (width > list->width)
    list->width = width;
}

static void put_line(void *user, const rsca_action_info *action) {
  listing *list = user;
  cli_put_plain(list->out, action->name, strlen(action->name), false);
  if (*action->help) {
    (void)fprintf(list->out, "%*s", list->width - width_of(action->name) + 2, "");
    cli_put_plain(list->out, action->help, strlen(action->help), false);
  }
  (void)fputc('\n', list->out);
}

static void put_object(void *user, const rsca_action_info *action) {
  listing *list = user;
  char *line = cli_json_action(action);
  list->failed = list->failed || !line;
  (void)fprintf(list->out, "%s\n", line ? line : "");
  free(line);
}

static bool put_actions(listing *list, rsca_manager *manager, bool json) {
  HRESULT status = rsca_manager_list(manager, measure, list);
  if (SUCCEEDED(status))
    status = rsca_manager_list(manager, json ? put_object : put_line, list);
  return SUCCEEDED(status) && !list->failed && !ferror(list->out);
}

/* All in one, so that nothing is written if something fails. */
static int write_actions(rsca_manager *manager, bool json) {
  char *text = NULL;
  size_t size = 0;
  listing list = {.out = open_memstream(&text, &size)};
  bool complete = list.out && put_actions(&list, manager, json);
  if (list.out && fclose(list.out) != 0)
    complete = false;
  int error = complete ? cli_answer(text, size, false) : ENOMEM;
  free(text);
  return error ? cli_unwritten(error) : CLI_DONE;
}

int cli_list(const cli_options *options) {
  cli_host host;
  const char *problem = cli_host_open(&host, options->script);
  int status = problem ? cli_fail_script(options, problem) : write_actions(host.manager, options->json);
  cli_host_close(&host);
  return status;
}
