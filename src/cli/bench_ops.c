/* bench_ops.c -- motley bench ops: time of operations, as arithmetic and memory traffic per
 * second.
 *
 * The work is what the operation itself says (struct mt_cost), so the figures are comparable
 * between devices and between ways of computing the same. */
#include "cli/cli.h"

#include "device/limits.h"
#include "tests/runner.h"

#include <stdlib.h>

static const char help[] =
    "motley bench ops [options] [OPERATION ...]\n"
    "motley bench ops [options] CONFIG [key=value ...]\n"
    "\n"
    "Time, GFLOP/s and GB/s of operations on a device: at sizes as in real networks, or at\n"
    "the sizes that a configuration uses. The share is of what `motley bench limits` allows:\n"
    "least time for so much arithmetic or memory traffic, whichever takes longer; above 100 %\n"
    "where a cache holds the tensors.\n"
    "\n"
    "  --device WISH   platform:device, gpu, cpu or part of a name\n"
    "  --seconds S     spent on each direction of each operation (0.5)\n"
    "  --json          one JSON object a line\n";

struct printer {
    struct cli *cli;
    int json;
    struct mt_limits limits;
};

static void print_one(struct printer *p, const struct mt_timing *t, const char *direction,
                      double seconds, double flop, double bytes)
{
    double share;

    if (seconds <= 0) {
        return;
    }
    share = mt_limits_bound(&p->limits, flop, bytes) / seconds;
    if (p->json) {
        cli_say(p->cli, "{\"op\":\"%s\",\"case\":\"%s\",\"direction\":\"%s\",\"seconds\":%.6g,"
                        "\"gflops\":%.6g,\"gbs\":%.6g,\"share\":%.4g}\n",
                t->op, t->name, direction, seconds, flop / seconds / 1e9,
                bytes / seconds / 1e9, share);
    } else {
        cli_say(p->cli, "%-14s %-28s %-9s %12.3f us %9.2f GFLOP/s %8.2f GB/s %5.0f %%\n",
                t->op, t->name, direction, seconds * 1e6, flop / seconds / 1e9,
                bytes / seconds / 1e9, 100 * share);
    }
}

static void on_timing(void *arg, const struct mt_timing *t)
{
    const struct mt_cost *c = &t->cost;

    print_one(arg, t, "forward", t->fwd_seconds, c->fwd_flop, c->fwd_bytes);
    print_one(arg, t, "backward", t->bwd_seconds, c->data_flop + c->param_flop,
              c->data_bytes + c->param_bytes);
}

/* words: suites, or a configuration with its settings. */
static int measure(struct cli *cli, struct mt_ctx *ctx, const char *device, double seconds,
                   int json, int argc, char **argv)
{
    struct printer p = {.cli = cli, .json = json};
    struct mt_net *net = NULL;
    struct mt_dev *dev = NULL;
    int st, code = CLI_OK;

    if (optind < argc && mt_suite_find(argv[optind]) == NULL) {
        code = cli_no_suite(cli, argv[optind]);
        code = code == CLI_OK ? cli_net(cli, ctx, argc, argv, optind, &net, &device) : code;
    }
    for (int i = optind; i < argc && net == NULL && code == CLI_OK; i++) {
        if (mt_suite_find(argv[i]) == NULL) {
            code = cli_usage(cli, "there is no operation '%s'", argv[i]);
        }
    }
    if (code != CLI_OK) {
        return code;
    }
    st = mt_runner_open(ctx, device, &dev, NULL);
    st = st < 0 ? st : mt_limits_get(dev, &p.limits);
    if (st == MOTLEY_OK && !json) {
        cli_say(cli, "%s, %s\n", mt_dev_info(dev)->name, mt_dev_info(dev)->platform_name);
    }
    st = st < 0 ? st : mt_runner_bench(dev, net, argv + optind, argc - optind, seconds,
                                       on_timing, &p);
    if (st < 0) {
        fprintf(stderr, "motley: %s\n", mt_err_text());
        code = CLI_FAILED;
    }
    mt_net_close(net);
    mt_dev_close(dev);
    return code;
}

int cli_bench_ops(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"device", required_argument, NULL, 'd'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *device = NULL;
    double seconds = 0.5;
    struct mt_ctx *ctx = NULL;
    int c, json = 0, code;

    opterr = cli->prints;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'd') {
            device = optarg;
        } else if (c == 's') {
            seconds = strtod(optarg, NULL);
        } else if (c == 'j') {
            json = 1;
        } else if (c == 'h') {
            cli_say(cli, "%s", help);
            return CLI_OK;
        } else {
            return CLI_USAGE;
        }
    }
    if (!(seconds > 0 && seconds <= 600)) {
        return cli_usage(cli, "--seconds must be above 0 and at most 600");
    }
    if (!cli->prints) {   /* one process measures, the others are done */
        return CLI_OK;
    }
    if (mt_ctx_new(NULL, NULL, &ctx) < 0) {
        fprintf(stderr, "motley: %s\n", mt_err_text());
        return CLI_FAILED;
    }
    code = measure(cli, ctx, device, seconds, json, argc, argv);
    mt_ctx_free(ctx);
    return code;
}
