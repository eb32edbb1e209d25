#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "options.h"

/* Where somebody else has made the file non-blocking. */
static void wait_until_writable(int fd) {
  struct pollfd watched = {.fd = fd, .events = POLLOUT};
  (void)poll(&watched, 1, -1);
}

int cli_write(int fd, const void *bytes, size_t size) {
  const char *at = bytes;
  while (size > 0) {
    ssize_t written = write(fd, at, size);
    if (written >= 0) {
      at += written;
      size -= (size_t)written;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      wait_until_writable(fd);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

/* Writes both, or how much of them is at once possible. */
static size_t write_together(const void *bytes, size_t size) {
  char newline = '\n';
  struct iovec parts[] = {{.iov_len = size}, {.iov_base = &newline, .iov_len = 1}};
  memcpy(&parts[0].iov_base, &bytes, sizeof bytes); /* it is only read */
  ssize_t written = writev(STDOUT_FILENO, parts, 2);
  return written > 0 ? (size_t)written : 0;
}

int cli_answer(const void *bytes, size_t size, bool newline) {
  if (fflush(stdout) != 0) {
    int error = errno;
    clearerr(stdout);
    return error;
  }
  if (!newline)
    return cli_write(STDOUT_FILENO, bytes, size);
  size_t written = write_together(bytes, size);
  if (written < size) {
    int error = cli_write(STDOUT_FILENO, (const char *)bytes + written, size - written);
    if (error)
      return error;
    written = size;
  }
  return written == size ? cli_write(STDOUT_FILENO, "\n", 1) : 0;
}

int cli_unwritten(int error) {
  if (error == EPIPE)
    return CLI_DONE;
  cli_complain("can't write to standard output: %s", strerror(error));
  return CLI_FAILED;
}

void cli_put_plain(FILE *out, const char *text, size_t size, bool lines) {
  for (size_t i = 0; i < size; i++) {
    unsigned char byte = (unsigned char)text[i];
    bool control = byte < ' ' || byte == 127;
    (void)fputc(control && !(lines && (byte == '\n' || byte == '\t')) ? ' ' : byte, out);
  }
}

void cli_complain(const char *format, ...) {
  char *text;
  va_list values;
  va_start(values, format);
  int length = vasprintf(&text, format, values);
  va_end(values);
  char *line = NULL;
  size_t size;
  FILE *out = length < 0 ? NULL : open_memstream(&line, &size);
  if (out) {
    (void)fputs("rsca: ", out);
    cli_put_plain(out, text, (size_t)length, false);
    (void)fputc('\n', out);
    if (fclose(out) == 0)
      (void)cli_write(STDERR_FILENO, line, size);
  }
  free(line);
  if (length >= 0)
    free(text);
}

/* Where one of the three has been closed: something that fails, so that no other file gets its number. */
static void fill_standard_files(void) {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
      (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

static void on_broken_pipe(int signal_number) {
  (void)signal_number;
}

void cli_output_open(void) {
  fill_standard_files();
  /* What the program starts would inherit that a signal is ignored, but not that it is caught. */
  struct sigaction action = {.sa_handler = on_broken_pipe, .sa_flags = SA_RESTART};
  (void)sigaction(SIGPIPE, &action, NULL);
}
