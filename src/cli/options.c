#include "options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "usage.h"

enum { OPTION_JSON = 256, OPTION_LIMIT, OPTION_VERSION, OPTION_HELP = 'h' };
static const struct option long_options[] = {{"json", no_argument, NULL, OPTION_JSON},
                                             {"time-limit", required_argument, NULL, OPTION_LIMIT},
                                             {"help", no_argument, NULL, OPTION_HELP},
                                             {"version", no_argument, NULL, OPTION_VERSION},
                                             {NULL, 0, NULL, 0}};

typedef enum wanted { WANT_COMMAND, WANT_HELP, WANT_VERSION } wanted;

/* ---- Options ---- */

/* Digits, with a point among them perhaps, and not all of them 0. */
static bool parse_seconds(const char *text, uint64_t *ns) {
  const double most = 1e9;
  size_t whole = strspn(text, "0123456789");
  const char *rest = text + whole;
  size_t part = 0;
  if (*rest == '.') {
    part = strspn(rest + 1, "0123456789");
    rest += 1 + part;
  }
  if (*rest || whole + part == 0)
    return false;
  double seconds = strtod(text, NULL);
  if (!(seconds > 0 && seconds <= most))
    return false;
  *ns = (uint64_t)(seconds * 1e9) + 1;
  return true;
}

static bool take_limit(cli_options *options, const char *text) {
  options->limit = text;
  if (parse_seconds(text, &options->limit_ns))
    return true;
  cli_complain("--time-limit takes a positive number of seconds, not '%s'", text);
  return false;
}

static bool is_long_option(int value) {
  for (const struct option *option = long_options; option->name; option++)
    if (option->val == value)
      return true;
  return false;
}

/* What getopt_long refused; `at` is the argument it was in, if it was a long one. */
static void complain_of_option(int problem, const char *at) {
  if (problem == ':')
    cli_complain("%s needs a value (rsca --help tells more)", at);
  else if (optopt == 0)
    cli_complain("no such option: %s (rsca --help tells which there are)", at);
  else if (is_long_option(optopt))
    cli_complain("this option takes no value: %s (rsca --help tells more)", at);
  else
    cli_complain("no such option: -%c (rsca --help tells which there are)", optopt);
}

static bool take_options(cli_options *options, int argc, char **argv, wanted *want) {
  opterr = 0;
  int option;
  while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
    switch (option) {
    case OPTION_JSON:
      options->json = true;
      break;
    case OPTION_LIMIT:
      if (!take_limit(options, optarg))
        return false;
      break;
    case OPTION_HELP:
      *want = WANT_HELP;
      break;
    case OPTION_VERSION:
      *want = *want == WANT_COMMAND ? WANT_VERSION : *want;
      break;
    default:
      complain_of_option(option, argv[optind - 1]);
      return false;
    }
  }
  return true;
}

/* ---- Operands ---- */

static char *join(char **words, int count) {
  size_t size = 1;
  for (int i = 0; i < count; i++)
    size += strlen(words[i]) + 1;
  char *text = malloc(size);
  if (!text)
    return NULL;
  char *at = text;
  for (int i = 0; i < count; i++) {
    if (i > 0)
      *at++ = ' ';
    at = stpcpy(at, words[i]);
  }
  *at = '\0';
  return text;
}

static bool check_operands(const cli_options *options, int count, char **operands) {
  const char *usage = cli_usage(options->command);
  bool is_list = options->command == CLI_LIST, is_repl = options->command == CLI_REPL;
  if (is_repl && (options->json || options->limit))
    cli_complain("repl takes no --json and no time limit; usage: %s", usage);
  else if (is_repl)
    return true;
  else if (count < 1)
    cli_complain("SCRIPT is missing; usage: %s", usage);
  else if (!is_list && count < 2)
    cli_complain("NAME is missing; usage: %s", usage);
  else if (!is_list && *operands[1] == '\0')
    cli_complain("NAME is empty; usage: %s", usage);
  else if (is_list && count > 1)
    cli_complain("too many operands: %s; usage: %s", operands[1], usage);
  else if (is_list && options->limit)
    cli_complain("list takes no time limit; usage: %s", usage);
  else
    return true;
  return false;
}

static bool take_operands(cli_options *options, int count, char **operands, int *exit_status) {
  *exit_status = CLI_MISUSE;
  if (!check_operands(options, count, operands))
    return false;
  if (options->command == CLI_REPL) {
    options->scripts = operands;
    return true;
  }
  options->script = operands[0];
  if (options->command == CLI_LIST)
    return true;
  options->name = operands[1];
  options->args = join(operands + 2, count - 2);
  if (options->args)
    return true;
  cli_complain("not enough memory");
  *exit_status = CLI_FAILED;
  return false;
}

/* ---- All of it ---- */

static int help_or_misuse(wanted want) {
  if (want == WANT_HELP)
    return cli_help();
  cli_complain("which command? There are run, watch, list and repl (rsca --help tells more)");
  return CLI_MISUSE;
}

bool cli_options_parse(cli_options *options, int argc, char **argv, int *exit_status) {
  *options = (cli_options){0};
  *exit_status = CLI_MISUSE;
  wanted want = WANT_COMMAND;
  if (!take_options(options, argc, argv, &want))
    return false;
  char **words = argv + optind;
  int count = argc - optind;
  if (want == WANT_VERSION) {
    *exit_status = cli_version();
    return false;
  }
  if (count < 1) {
    *exit_status = help_or_misuse(want);
    return false;
  }
  if (!cli_find_command(words[0], &options->command)) {
    cli_complain("no such command: %s (there are run, watch, list and repl)", words[0]);
    return false;
  }
  if (want == WANT_HELP) {
    *exit_status = cli_help_for(options->command);
    return false;
  }
  return take_operands(options, count - 1, words + 1, exit_status);
}

void cli_options_free(cli_options *options) {
  free(options->args);
  options->args = NULL;
}
