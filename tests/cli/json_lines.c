/*
 * Reads objects in JSON, one in each line of stdin, and prints their members, one in each line of stdout: NAME: VALUE,
 * the value in JSON with nothing but ASCII. Exits with 1 if a line is something else, or has no end.
 */
#define _GNU_SOURCE

#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

static void print_member(const char *name, const json_t *value) {
  char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
  printf("%s: %s\n", name, text ? text : "?");
  free(text);
}

static int print_line(const char *line, size_t size) {
  json_error_t error;
  json_t *object = json_loadb(line, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
  if (!json_is_object(object) || size == 0 || line[size - 1] != '\n') {
    fprintf(stderr, "this is no object in a line: %.*s\n", (int)size, line);
    json_decref(object);
    return EXIT_FAILURE;
  }
  for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at))
    print_member(json_object_iter_key(at), json_object_iter_value(at));
  json_decref(object);
  return EXIT_SUCCESS;
}

int main(void) {
  char *line = NULL;
  size_t capacity = 0;
  ssize_t size;
  int status = EXIT_SUCCESS;
  while (status == EXIT_SUCCESS && (size = getline(&line, &capacity, stdin)) >= 0)
    status = print_line(line, (size_t)size);
  free(line);
  return status;
}
