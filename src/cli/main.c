/*
 * rsca: runs, watches and lists the actions of a script from the command line, or opens a prompt. See rsca.1.
 */
#include "commands.h"
#include "options.h"
#include "output.h"

static int carry_out(const cli_options *options) {
  switch (options->command) {
  case CLI_RUN:
    return cli_run(options);
  case CLI_WATCH:
    return cli_watch(options);
  case CLI_REPL:
    return cli_repl(options);
  default:
    return cli_list(options);
  }
}

int main(int argc, char **argv) {
  cli_output_open();
  cli_options options;
  int status;
  if (cli_options_parse(&options, argc, argv, &status))
    status = carry_out(&options);
  cli_options_free(&options);
  return status;
}
