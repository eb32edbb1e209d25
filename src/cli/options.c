#include "options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include <rsca/version.h>

#include "output.h"

static const struct {
  const char *name;
  const char *usage;
  const char *text;
  int least, most; /* operands after the command; most -1: any number */
} commands[] = {
    [CLI_RUN] = {"run", "rsca run [OPTION]... SCRIPT NAME [ARG]...",
                 "Runs the action NAME of SCRIPT and writes its response.", 2, -1},
    [CLI_WATCH] = {"watch", "rsca watch [OPTION]... SCRIPT NAME [ARG]...",
                   "Writes every response of the action NAME of SCRIPT, until it ends or is interrupted.", 2, -1},
    [CLI_LIST] = {"list", "rsca list [OPTION]... SCRIPT", "Lists the actions that SCRIPT registers.", 1, 1},
};
enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

static const char script_help[] =
    "\nSCRIPT is a file in Lua that registers actions; '-' is standard input. ARGs are joined by single spaces.\n";
static const char json_help[] = "\n      --json                one JSON object in a line for each result\n";
static const char limit_help[] = "      --time-limit SECONDS  cancels the action when this time is over\n";
static const char other_help[] = "  -h, --help                this help\n"
                                 "      --version             the version\n"
                                 "\nAfter '--' nothing is an option. The page rsca(1) of the manual tells all.\n";

enum { OPTION_JSON = 256, OPTION_LIMIT, OPTION_VERSION, OPTION_HELP = 'h' };
static const struct option long_options[] = {{"json", no_argument, NULL, OPTION_JSON},
                                             {"time-limit", required_argument, NULL, OPTION_LIMIT},
                                             {"help", no_argument, NULL, OPTION_HELP},
                                             {"version", no_argument, NULL, OPTION_VERSION},
                                             {NULL, 0, NULL, 0}};

static int say(const char *text) {
  int error = cli_answer(text, strlen(text), false);
  return error ? cli_unwritten(error) : CLI_DONE;
}

/* ---- Help ---- */

static int help_for_all(void) {
  int status = say("usage: ");
  for (int i = 0; i < COMMAND_COUNT && status == CLI_DONE; i++) {
    status = say(i ? "       " : "");
    status = status == CLI_DONE ? say(commands[i].usage) : status;
    status = status == CLI_DONE ? say("\n") : status;
  }
  const char *const parts[] = {"\n"
                               "  run    runs an action and writes its response\n"
                               "  watch  writes every response of an action, until it ends or is interrupted\n"
                               "  list   lists the actions\n",
                               script_help, json_help, limit_help, other_help};
  for (size_t i = 0; i < sizeof parts / sizeof *parts && status == CLI_DONE; i++)
    status = say(parts[i]);
  return status;
}

static int help_for(cli_command command) {
  const char *const parts[] = {"usage: ", commands[command].usage,
                               "\n",      commands[command].text,
                               "\n",      script_help,
                               json_help, command == CLI_LIST ? "" : limit_help,
                               other_help};
  int status = CLI_DONE;
  for (size_t i = 0; i < sizeof parts / sizeof *parts && status == CLI_DONE; i++)
    status = say(parts[i]);
  return status;
}

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

typedef enum wanted { WANT_COMMAND, WANT_HELP, WANT_VERSION } wanted;

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

static bool find_command(const char *name, cli_command *command) {
  for (int i = 0; i < COMMAND_COUNT; i++) {
    if (strcmp(name, commands[i].name) == 0) {
      *command = (cli_command)i;
      return true;
    }
  }
  cli_complain("no such command: %s (there are run, watch and list)", name);
  return false;
}

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
  const int least = commands[options->command].least, most = commands[options->command].most;
  const char *usage = commands[options->command].usage;
  if (count < least)
    cli_complain("%s is missing; usage: %s", count == 0 ? "SCRIPT" : "NAME", usage);
  else if (most >= 0 && count > most)
    cli_complain("too many operands: %s; usage: %s", operands[most], usage);
  else if (options->command == CLI_LIST && options->limit)
    cli_complain("list takes no time limit; usage: %s", usage);
  else if (least > 1 && *operands[1] == '\0')
    cli_complain("NAME is empty; usage: %s", usage);
  else
    return true;
  return false;
}

static bool take_operands(cli_options *options, int count, char **operands, int *exit_status) {
  *exit_status = CLI_MISUSE;
  if (!check_operands(options, count, operands))
    return false;
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

bool cli_options_parse(cli_options *options, int argc, char **argv, int *exit_status) {
  *options = (cli_options){0};
  *exit_status = CLI_MISUSE;
  wanted want = WANT_COMMAND;
  if (!take_options(options, argc, argv, &want))
    return false;
  const bool has_command = optind < argc;
  if (want == WANT_VERSION) {
    *exit_status = say("rsca " RSCA_VERSION "\n");
    return false;
  }
  if (!has_command) {
    if (want == WANT_HELP)
      *exit_status = help_for_all();
    else
      cli_complain("which command? There are run, watch and list (rsca --help tells more)");
    return false;
  }
  if (!find_command(argv[optind], &options->command))
    return false;
  if (want == WANT_HELP) {
    *exit_status = help_for(options->command);
    return false;
  }
  return take_operands(options, argc - optind - 1, argv + optind + 1, exit_status);
}

void cli_options_free(cli_options *options) {
  free(options->args);
  options->args = NULL;
}
