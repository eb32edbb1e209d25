#include "json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base64.h"

/* Text for people, where a byte that is no text does less harm than none of it. */
static json_t *lossy_text(const char *text, size_t size) {
  json_t *value = json_stringn(text, size);
  char *copy = value ? NULL : malloc(size + 1);
  if (!copy)
    return value;
  for (size_t i = 0; i < size; i++)
    copy[i] = (char)((unsigned char)text[i] < 128 ? text[i] : '?');
  value = json_stringn(copy, size);
  free(copy);
  return value;
}

/* All of these take over `value`, which may be NULL: then, as when they fail, `*fine` is false afterwards. */
static void set(json_t *object, const char *key, json_t *value, bool *fine) {
  if (json_object_set_new(object, key, value) != 0)
    *fine = false;
}

static void set_status(json_t *object, HRESULT status, bool *fine) {
  char buffer[CLI_NAME_SIZE];
  set(object, "status", json_integer((json_int_t)(uint32_t)status), fine);
  set(object, "name", json_string(cli_status_name(status, buffer)), fine);
}

static void set_bytes(json_t *object, const char *key, const void *bytes, size_t size, bool *fine) {
  json_t *value = json_stringn(size > 0 ? bytes : "", size);
  if (value) {
    set(object, key, value, fine);
    return;
  }
  char *encoded = cli_base64(bytes, size);
  set(object, key, encoded ? json_string(encoded) : NULL, fine);
  set(object, "encoding", json_string("base64"), fine);
  free(encoded);
}

static char *finish(json_t *object, bool fine) {
  char *text = fine ? json_dumps(object, JSON_COMPACT) : NULL;
  json_decref(object);
  return text;
}

char *cli_json_response(const cli_options *options, HRESULT status, const void *response, size_t size, bool final) {
  json_t *object = json_object();
  bool fine = object != NULL;
  set_status(object, status, &fine);
  set_bytes(object, "response", response, size, &fine);
  if (options->command == CLI_WATCH)
    set(object, "final", json_boolean(final), &fine);
  return finish(object, fine);
}

char *cli_json_failure(const cli_options *options, const cli_failure *failure) {
  json_t *object = json_object();
  bool fine = object != NULL;
  set_status(object, failure->status, &fine);
  set(object, "message", lossy_text(failure->message, failure->message_size), &fine);
  if (failure->action)
    set(object, "action", lossy_text(failure->action, strlen(failure->action)), &fine);
  if (failure->traceback)
    set(object, "traceback", lossy_text(failure->traceback, failure->traceback_size), &fine);
  if (options->command == CLI_WATCH)
    set(object, "final", json_true(), &fine);
  return finish(object, fine);
}

char *cli_json_action(const rsca_action_info *action) {
  json_t *object = json_object();
  bool fine = object != NULL;
  set(object, "name", json_string(action->name), &fine);
  set(object, "help", json_string(action->help), &fine);
  set(object, "place", lossy_text(action->place, strlen(action->place)), &fine);
  return finish(object, fine);
}
