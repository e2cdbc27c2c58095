/* cmd_plan.c -- motley plan: what training would do; nothing is run, except for measuring. */
#include "cli/cli.h"

#include <stdlib.h>

static const char help[] =
    "motley plan CONFIG [key=value ...] [--long] [--profile[=FILE]]\n"
    "            [--save-profile FILE]\n"
    "motley plan CONFIG [key=value ...] --cluster FILE [--save FILE] [--json]\n"
    "\n"
    "Shows who does what of training by CONFIG, why, and the memory that it takes. Data and\n"
    "device are opened, nothing is trained or written.\n"
    "\n"
    "  --long               also layers, parameters and the list of steps, of process 0\n"
    "  --profile[=FILE]     also measure how fast the device of each process does each layer, and\n"
    "                       how fast messages are (about six seconds), or read it from FILE\n"
    "  --save-profile FILE  write that as JSON, for --profile=FILE and parallel.profile=FILE\n"
    "  --cluster FILE       plan for the cluster that FILE describes (docs/cluster.md) instead of\n"
    "                       this job: who does what, the time of a step, memory, and why\n"
    "  --save FILE          with --cluster: write the layout, for parallel.layout=FILE\n"
    "  --json               with --cluster: as JSON\n";

struct words {
    int in_full;
    int profile;
    const char *save;
    const char *cluster, *layout;
    int json;
    char setting[4200];      /* parallel.profile=FILE; "" */
};

static int read_options(struct cli *cli, int argc, char **argv, struct words *w)
{
    static const struct option options[] = {{"long", no_argument, NULL, 'f'},
                                            {"profile", optional_argument, NULL, 'p'},
                                            {"save-profile", required_argument, NULL, 's'},
                                            {"cluster", required_argument, NULL, 'c'},
                                            {"save", required_argument, NULL, 'l'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int c;

    opterr = cli->prints;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (c) {
        case 'f':
            w->in_full = 1;
            break;
        case 'p':
            w->profile = 1;
            if (optarg != NULL) {
                snprintf(w->setting, sizeof w->setting, "parallel.profile=%s", optarg);
            }
            break;
        case 's':
            w->save = optarg;
            break;
        case 'c':
            w->cluster = optarg;
            break;
        case 'l':
            w->layout = optarg;
            break;
        case 'j':
            w->json = 1;
            break;
        case 'h':
            cli_say(cli, "%s", help);
            return -1;
        default:
            return CLI_USAGE;
        }
    }
    if (w->cluster == NULL && (w->layout != NULL || w->json)) {
        return cli_usage(cli, "--%s goes with --cluster", w->json ? "json" : "save");
    }
    if (w->cluster != NULL && w->in_full) {
        return cli_usage(cli, "--long is of this job, --cluster of another: give one");
    }
    if (w->cluster != NULL && (w->profile || w->save != NULL)) {
        return cli_usage(cli, "a profile is of this machine, --cluster of another: give one");
    }
    return CLI_OK;
}

/* One process is enough for it. */
static int plan_cluster(struct cli *cli, const struct words *w, const motley_config *config)
{
    motley_outlook_opt opt = MOTLEY_INIT(motley_outlook_opt);

    if (!cli->prints) {
        return MOTLEY_OK;
    }
    opt.cluster = w->cluster;
    opt.save = w->layout;
    opt.json = w->json;
    return motley_outlook(config, &opt, cli_line, cli);
}

static int run_plan(struct cli *cli, const struct words *w, const char *path,
                    const char *const *over, int n)
{
    motley_run_opt opt = MOTLEY_INIT(motley_run_opt);
    motley_config *config = NULL;
    motley_run *run = NULL;
    int status, code;

    opt.mode = MOTLEY_PLAN;
    status = motley_config_load(cli->ctx, path, over, n, &config);
    if (status == MOTLEY_OK && w->cluster != NULL) {
        status = plan_cluster(cli, w, config);
        goto end;
    }
    status = status == MOTLEY_OK ? motley_run_new(cli->ctx, config, &opt, &run) : status;
    status = status == MOTLEY_OK ? motley_plan_print(run, w->in_full, cli_line, cli) : status;
    if (status == MOTLEY_OK && w->profile) {
        status = motley_profile_print(run, cli_line, cli);
    }
    if (status == MOTLEY_OK && w->save != NULL) {
        status = motley_profile_save(run, w->save);
    }
end:
    code = status < 0 ? cli_fail(cli, status) : CLI_OK;
    motley_run_free(run);
    motley_config_free(config);
    return code;
}

int cli_plan(struct cli *cli, int argc, char **argv)
{
    struct words w = {0};
    const char *path = NULL, *const *over = NULL, **more;
    int n = 0, code = read_options(cli, argc, argv, &w);

    if (code != CLI_OK) {
        return code < 0 ? CLI_OK : code;
    }
    code = cli_config_words(cli, argc, argv, optind, &path, &over, &n);
    if (code != CLI_OK) {
        return code;
    }
    more = malloc((size_t)(n + 1) * sizeof *more);
    if (more == NULL) {
        return cli_usage(cli, "no memory for %d settings", n);
    }
    for (int i = 0; i < n; i++) {
        more[i] = over[i];
    }
    more[n] = w.setting;
    code = run_plan(cli, &w, path, more, n + (w.setting[0] != '\0'));
    free(more);
    return code;
}
