#include "call.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "failure.h"
#include "guard.h"
#include "host.h"
#include "output.h"

typedef struct call {
  const cli_options *options;
  cli_answer_fn answer;
  cli_host host;
  uint64_t id;
  bool ended;
  bool unheard;     /* stdout takes no more */
  pthread_t thread; /* that steps */
  int reason;       /* why it was ended before its time */
  int exit_status;
} call;

static void stop_listening(call *the_call, int error) {
  the_call->unheard = true;
  the_call->exit_status = cli_unwritten(error);
  if (!the_call->ended)
    cli_guard_end(the_call->exit_status);
}

static int fail(const call *the_call, HRESULT status, const void *response, size_t size) {
  cli_failure failure = cli_failure_of(status, response, size, the_call->options->name);
  char *message = NULL;
  if (the_call->reason == CLI_TIME_OVER && status == RSCA_E_CANCELLED) {
    message = cli_time_over_message(the_call->options);
    failure = cli_failure_of(RSCA_E_TIMEOUT, message, message ? strlen(message) : 0, the_call->options->name);
  }
  int exit_status = cli_fail(the_call->options, &failure);
  free(message);
  return exit_status;
}

static int exit_status_of(const call *the_call) {
  bool by_signal = the_call->reason != CLI_NO_REASON && the_call->reason < CLI_TIME_OVER;
  return by_signal ? cli_exit_status(the_call->reason) : the_call->exit_status;
}

static void on_result(void *user, HRESULT status, const void *response, size_t size, bool final) {
  call *the_call = user;
  if (final) {
    the_call->ended = true;
    the_call->reason = cli_guard_claim();
  }
  if (FAILED(status)) {
    the_call->exit_status = fail(the_call, status, response, size);
  } else if (!the_call->unheard) {
    int error = the_call->answer(the_call->options, status, response, size, final);
    if (error)
      stop_listening(the_call, error);
  }
  /* Told on another thread, because this one is stuck in the action: it won't come back. */
  if (final && !pthread_equal(pthread_self(), the_call->thread)) {
    (void)fflush(NULL);
    _exit(exit_status_of(the_call));
  }
}

static int refuse(const cli_options *options, HRESULT status) {
  (void)cli_guard_claim();
  if (status == RSCA_E_NO_UNICODE_TRANSLATION) {
    cli_complain("NAME and ARGs have to be UTF-8");
    return CLI_MISUSE;
  }
  char *message = NULL;
  size_t size = 0;
  if (status == RSCA_E_NOT_FOUND) {
    int length = asprintf(&message, "no action is registered under the name '%s'", options->name);
    size = length < 0 ? 0 : (size_t)length;
  }
  const cli_failure failure = cli_failure_of(status, message, size, options->name);
  int exit_status = cli_fail(options, &failure);
  free(size > 0 ? message : NULL);
  return exit_status;
}

/* True: there is a result to come. */
static bool begin(call *the_call, cli_start_fn start) {
  const cli_options *options = the_call->options;
  const char *problem = cli_host_open(&the_call->host, options->script);
  if (problem) {
    the_call->reason = cli_guard_claim();
    the_call->exit_status = cli_fail_script(options, problem);
    return false;
  }
  rsca_manager *manager = the_call->host.manager;
  HRESULT status = start(manager, options->name, options->args, on_result, the_call, &the_call->id);
  if (FAILED(status)) {
    the_call->exit_status = refuse(options, status);
    return false;
  }
  cli_guard_attach(manager, the_call->id);
  return true;
}

/* A reader of `watch` who goes is noticed before there is something to write for him. */
static void step_until_ended(call *the_call) {
  rsca_manager *manager = the_call->host.manager;
  struct pollfd watched[] = {{.fd = rsca_manager_fd(manager), .events = POLLIN},
                             {.fd = the_call->options->command == CLI_WATCH ? STDOUT_FILENO : -1}};
  while (!the_call->ended) {
    int ready = poll(watched, 2, rsca_manager_timeout_ms(manager));
    if (ready > 0 && watched[1].revents) {
      watched[1].fd = -1;
      stop_listening(the_call, EPIPE);
    }
    (void)rsca_manager_step(manager, 0);
  }
}

int cli_call_action(const cli_options *options, cli_start_fn start, cli_answer_fn answer) {
  call the_call = {.options = options, .answer = answer, .thread = pthread_self()};
  if (!cli_guard_start(options)) {
    cli_complain("the system has no thread or no file descriptor left");
    return CLI_FAILED;
  }
  if (begin(&the_call, start))
    step_until_ended(&the_call);
  cli_host_close(&the_call.host);
  cli_guard_stop();
  return exit_status_of(&the_call);
}
