/* cmd_eval.c -- motley eval: loss and accuracy of a run on its held-out data. */
#define _POSIX_C_SOURCE 200809L
#include "cli/cli.h"

#include <inttypes.h>

static const char help[] =
    "motley eval RUN|CONFIG [key=value ...]\n"
    "\n"
    "Loss and accuracy on the held-out data, with the newest good checkpoint of the run folder.\n"
    "\n"
    "  --checkpoint DIR   this checkpoint, run or safetensors file instead\n"
    "  --json             one JSON object\n";

static void print(struct cli *cli, const motley_run *run, const motley_stats *s, int json)
{
    if (!cli->prints) {
        return;
    }
    if (json) {
        printf("{\"checkpoint\":");
        cli_json_text(stdout, motley_loaded(run));
        printf(",\"step\":%" PRId64 ",\"samples\":%" PRId64 ",\"loss\":%.9g", s->step, s->samples,
               s->loss);
        if (s->accuracy >= 0) {
            printf(",\"accuracy\":%.9g", s->accuracy);
        }
        printf("}\n");
        return;
    }
    printf("%s: held-out samples %" PRId64 "  loss %.6f", motley_loaded(run), s->samples, s->loss);
    if (s->accuracy >= 0) {
        printf("  accuracy %.2f %%", 100 * s->accuracy);
    }
    printf("\n");
}

static int evaluate(struct cli *cli, motley_config *config, const char *from, int json)
{
    motley_run_opt opt = MOTLEY_INIT(motley_run_opt);
    motley_stats stats = MOTLEY_INIT(motley_stats);
    motley_run *run = NULL;
    int status, code = CLI_OK;

    opt.mode = MOTLEY_EVAL;
    status = motley_run_new(cli->ctx, config, &opt, &run);
    if (status < 0) {
        return cli_fail(cli, status);
    }
    status = motley_load(run, from, MOTLEY_LOAD_WEIGHTS);
    status = status == MOTLEY_OK ? motley_eval(run, &stats) : status;
    if (status < 0) {
        code = cli_fail(cli, status);
    } else {
        print(cli, run, &stats, json);
    }
    motley_run_free(run);
    return code;
}

int cli_eval(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"checkpoint", required_argument, NULL, 'c'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *path = NULL, *from = NULL, *const *over = NULL;
    motley_config *config = NULL;
    int c, n = 0, code, status, json = 0;

    opterr = cli->prints;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'c') {
            from = optarg;
        } else if (c == 'j') {
            json = 1;
        } else if (c == 'h') {
            cli_say(cli, "%s", help);
            return CLI_OK;
        } else {
            return CLI_USAGE;
        }
    }
    code = cli_config_words(cli, argc, argv, optind, &path, &over, &n);
    if (code != CLI_OK) {
        return code;
    }
    status = motley_config_load(cli->ctx, path, over, n, &config);
    if (status < 0) {
        return cli_fail(cli, status);
    }
    if (from == NULL) {
        from = cli_run_folder(path, config);
    }
    code = evaluate(cli, config, from, json);
    motley_config_free(config);
    return code;
}
