/*
 * A server that nothing in its script can hang, starve or exhaust: it takes requests on a Unix socket, a line each,
 * runs them in a pool whose limits are below, and answers with a line each, in the order in which they end:
 *
 *   primes 100                                      1 S_OK 25
 *   spin                                            2 ERROR_TIMEOUT the time limit is over
 *
 * SIGTERM or SIGINT ends it: it takes no more, what is in flight has a while to end, and the rest is cut and listed.
 * 16_server.sh starts it and talks to it.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <rsca/lua.h>
#include <rsca/manager.h>
#include <rsca/status.h>

static const rsca_config limits = {
    .workers = 2,
    .time_limit_ms = 1000,     /* from a request to its answer */
    .memory_limit = 16 << 20,  /* for each worker's Lua state */
    .queue_limit = 4,          /* requests in flight; a real one would take more */
    .response_limit = 1 << 16, /* bytes */
    .drain_ms = 1000,          /* what is in flight has that long to end when the server does */
};

enum { MOST_CONNECTIONS = 16, MOST_LINE = 1024 };

/* ---- Connections: shared by the loop and the requests that are in flight ---- */

typedef struct connection {
  int fd;
  atomic_uint refs;
  unsigned requests; /* so far: their numbers */
  size_t used;       /* of line */
  char line[MOST_LINE];
} connection;

typedef struct request {
  connection *from; /* held */
  unsigned number;
} request;

static void connection_release(connection *self) {
  if (atomic_fetch_sub(&self->refs, 1) > 1)
    return;
  (void)close(self->fd);
  free(self);
}

/* The first line of the response will do. Any thread. */
static void answer(const connection *to, unsigned number, HRESULT status, const char *response, size_t size) {
  const rsca_status_entry *entry = rsca_status_find(status);
  const char *end = size > 0 ? memchr(response, '\n', size) : NULL;
  char line[MOST_LINE];
  int length = snprintf(line, sizeof line, "%u %s %.*s\n", number, entry ? entry->name : "?",
                        end ? (int)(end - response) : (int)size, size > 0 ? response : "");
  if ((size_t)length >= sizeof line) {
    length = sizeof line - 1;
    line[length - 1] = '\n';
  }
  /* Whoever does not read its answers is left: a worker does not wait for it. */
  if (send(to->fd, line, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT) != length)
    (void)shutdown(to->fd, SHUT_RDWR);
}

/* On a thread of the pool, once for each request that was accepted. */
static void on_result(void *user, HRESULT status, const void *response, size_t size, bool final) {
  request *of = user;
  (void) final; /* always, for a run */
  answer(of->from, of->number, status, response, size);
  connection_release(of->from);
  free(of);
}

/* ---- What the script says, on the threads of the workers ---- */

static void on_log(void *user, const char *level, const char *message, size_t size) {
  (void)user;
  printf("%s: %.*s\n", level, (int)size, message);
}

static void on_error(void *user, HRESULT status, const char *action, const char *message, size_t size) {
  (void)user;
  printf("error in %s: 0x%08X %.*s\n", action ? action : "the script", (unsigned)status, (int)size, message);
}

/* Called in each new state, before the script: here a host opens modules of its own. */
static int open_state(lua_State *L, void *user) {
  (void)user;
  (void)rsca_lua_set_hooks(L, &(rsca_lua_hooks){.on_log = on_log, .on_error = on_error});
  return 0;
}

/* ---- The loop ---- */

typedef struct server {
  rsca_manager *pool;
  int signals, listener;
  connection *connections[MOST_CONNECTIONS];
  nfds_t count;
} server;

static void submit(const server *self, connection *from, char *line) {
  unsigned number = ++from->requests;
  char *args = strchr(line, ' ');
  if (args)
    *args++ = '\0';
  HRESULT status = E_OUTOFMEMORY;
  request *made = malloc(sizeof *made);
  if (made) {
    *made = (request){from, number};
    (void)atomic_fetch_add(&from->refs, 1);
    status = rsca_manager_run(self->pool, line, args, on_result, made, NULL);
  }
  if (status == S_OK)
    return;
  /* Refused, at once: on_result will not be called. */
  answer(from, number, status, NULL, 0);
  if (made)
    connection_release(from);
  free(made);
}

/* False: it has ended. */
static bool receive(const server *self, connection *from) {
  ssize_t got = recv(from->fd, from->line + from->used, sizeof from->line - from->used, MSG_DONTWAIT);
  if (got <= 0)
    return got < 0 && (errno == EAGAIN || errno == EINTR);
  from->used += (size_t)got;
  char *begin = from->line, *end;
  while ((end = memchr(begin, '\n', from->used - (size_t)(begin - from->line))) != NULL) {
    *end = '\0';
    submit(self, from, begin);
    begin = end + 1;
  }
  from->used -= (size_t)(begin - from->line);
  memmove(from->line, begin, from->used);
  return from->used < sizeof from->line; /* no line is as long as that */
}

static void accept_one(server *self) {
  int fd = accept4(self->listener, NULL, NULL, SOCK_CLOEXEC);
  connection *made = fd < 0 ? NULL : calloc(1, sizeof *made);
  if (!made) {
    if (fd >= 0)
      (void)close(fd);
    return;
  }
  made->fd = fd;
  atomic_init(&made->refs, 1);
  self->connections[self->count++] = made;
}

/* Until a signal says that it is enough. */
static void serve(server *self) {
  for (;;) {
    struct pollfd watched[2 + MOST_CONNECTIONS] = {
        {.fd = self->signals, .events = POLLIN},
        {.fd = self->count < MOST_CONNECTIONS ? self->listener : -1, .events = POLLIN},
    };
    for (nfds_t i = 0; i < self->count; i++)
      watched[2 + i] = (struct pollfd){.fd = self->connections[i]->fd, .events = POLLIN};
    if (poll(watched, 2 + self->count, -1) < 0 && errno != EINTR)
      return;
    if (watched[0].revents)
      return;
    nfds_t left = 0;
    for (nfds_t i = 0; i < self->count; i++) {
      if (!watched[2 + i].revents || receive(self, self->connections[i]))
        self->connections[left++] = self->connections[i];
      else
        connection_release(self->connections[i]);
    }
    self->count = left;
    if (watched[1].revents)
      accept_one(self);
  }
}

/* ---- The start and the end ---- */

static int listen_at(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path)
    return -1;
  memcpy(address.sun_path, path, strlen(path));
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 16) < 0)) {
    (void)close(fd);
    return -1;
  }
  return fd;
}

static void print_cut(void *user, const rsca_call_info *call) {
  (void)user;
  printf("cut: %s %s, %s\n", call->action, call->args, call->state);
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: %s SOCKET SCRIPT\n", argv[0]);
    return 2;
  }
  /* Signals come through a descriptor. Blocked before there is any other thread. */
  sigset_t ending;
  (void)sigemptyset(&ending);
  (void)sigaddset(&ending, SIGTERM);
  (void)sigaddset(&ending, SIGINT);
  (void)pthread_sigmask(SIG_BLOCK, &ending, NULL);
  (void)setvbuf(stdout, NULL, _IOLBF, 0);

  server self = {.signals = signalfd(-1, &ending, SFD_CLOEXEC), .listener = listen_at(argv[1])};
  if (self.signals < 0 || self.listener < 0) {
    perror(argv[1]);
    return EXIT_FAILURE;
  }
  const rsca_lua_script script = {.path = argv[2], .open_state = open_state};
  char message[1024] = "out of memory";
  if (FAILED(rsca_manager_create(&limits, &self.pool)) ||
      FAILED(rsca_lua_load_script(self.pool, &script, message, sizeof message))) {
    fprintf(stderr, "%s\n", message);
    return EXIT_FAILURE;
  }
  printf("listening\n");
  serve(&self);

  printf("ending\n");
  (void)close(self.listener);
  (void)unlink(argv[1]);
  (void)rsca_manager_shutdown(self.pool, false); /* returns when all have been answered */
  (void)rsca_manager_cut_calls(self.pool, print_cut, NULL);
  rsca_manager_stats stats;
  rsca_manager_get_stats(self.pool, &stats);
  printf("accepted: %llu, ended: %llu\n", (unsigned long long)stats.accepted, (unsigned long long)stats.ended);
  (void)rsca_manager_release(self.pool);
  while (self.count > 0)
    connection_release(self.connections[--self.count]);
  (void)close(self.signals);
  return EXIT_SUCCESS;
}
