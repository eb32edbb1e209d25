/*
 * Talks to 16_server.c: sends each of its arguments as a line, and prints an answer for each.
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (argc < 3 || strlen(argv[1]) >= sizeof address.sun_path) {
    fprintf(stderr, "usage: %s SOCKET REQUEST...\n", argv[0]);
    return 2;
  }
  memcpy(address.sun_path, argv[1], strlen(argv[1]));
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  FILE *stream = NULL;
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0 || !(stream = fdopen(fd, "r+"))) {
    perror(argv[1]);
    return EXIT_FAILURE;
  }
  for (int i = 2; i < argc; i++)
    fprintf(stream, "%s\n", argv[i]);
  (void)fflush(stream);

  char line[1024];
  int answers = 0;
  while (answers < argc - 2 && fgets(line, sizeof line, stream)) {
    fputs(line, stdout);
    (void)fflush(stdout);
    answers++;
  }
  (void)fclose(stream);
  return answers == argc - 2 ? EXIT_SUCCESS : EXIT_FAILURE;
}
