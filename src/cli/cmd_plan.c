/* cmd_plan.c -- motley plan: what training would do; nothing is run. */
#include "cli/cli.h"

static const char help[] =
    "motley plan CONFIG [key=value ...]\n"
    "\n"
    "Shows layers, parameters, the shares of the processes, the list of steps and the memory that\n"
    "training by CONFIG takes. Data and device are opened, nothing is trained or written.\n";

int cli_plan(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    motley_run_opt opt = MOTLEY_INIT(motley_run_opt);
    const char *path = NULL, *const *over = NULL;
    motley_config *config = NULL;
    motley_run *run = NULL;
    int c, n = 0, status, code;

    opterr = cli->prints;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c != 'h') {
            return CLI_USAGE;
        }
        cli_say(cli, "%s", help);
        return CLI_OK;
    }
    code = cli_config_words(cli, argc, argv, optind, &path, &over, &n);
    if (code != CLI_OK) {
        return code;
    }
    opt.mode = MOTLEY_PLAN;
    status = motley_config_load(cli->ctx, path, over, n, &config);
    status = status == MOTLEY_OK ? motley_run_new(cli->ctx, config, &opt, &run) : status;
    status = status == MOTLEY_OK ? motley_plan_print(run, cli_line, cli) : status;
    code = status < 0 ? cli_fail(cli, status) : CLI_OK;
    motley_run_free(run);
    motley_config_free(config);
    return code;
}
