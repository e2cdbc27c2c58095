/* bench_gemm.c -- motley bench gemm: every provider of matrix products beside the limit of the
 * device, for the products of a configuration or for a list of common ones. */
#include "cli/cli.h"
#include "cli/turns.h"

#include "base/ctx.h"
#include "device/dev.h"
#include "device/limits.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "motley bench gemm [options]\n"
    "motley bench gemm [options] CONFIG [key=value ...]\n"
    "\n"
    "GFLOP/s of every provider of matrix products, and its share of the device's limit\n"
    "(`motley bench limits`); * marks the one that motley takes, its form (`motley tune`)\n"
    "stands at the end of the line. For the products of a configuration at its batch, or for\n"
    "common ones: three linear layers at batch 16, 128 and 1024, transformer blocks of width\n"
    "384 and 768 with 2048 tokens; forward, data gradient and weight gradient of each.\n"
    "\n"
    "  --device WISH     platform:device, gpu, cpu or part of a name\n"
    "  --provider NAME   only this one\n"
    "  --rounds N        turns of each provider, of which the median is taken (5)\n"
    "  --ms T            length of a turn in milliseconds, at least one product (10)\n"
    "  --json            one JSON object a line\n";

enum { MAX_PROVIDERS = 16 };

struct bench {
    struct cli *cli;
    struct cli_turns turns;
    struct mt_limits limits;
    const char *only;
    int json, names;                 /* names: of providers, shown as columns */
    const char *name[MAX_PROVIDERS];
};

/* ---- printing ---------------------------------------------------------------------------- */

static void print_head(const struct bench *b)
{
    cli_say(b->cli, "%-24s %5s %5s %5s %2s", "product", "M", "N", "K", "");
    for (int i = 0; i < b->names; i++) {
        cli_say(b->cli, " %17s", b->name[i]);
    }
    cli_say(b->cli, "\n");
}

static void print_row(const struct bench *b, const char *what, const struct mt_gemm *g,
                      const struct cli_runner *e, const struct mt_gemm_plan *taken)
{
    double flop = mt_gemm_flop(g), limit = b->limits.value[MT_LIMIT_FMA];

    if (!b->json) {
        cli_say(b->cli, "%-24s %5" PRId64 " %5" PRId64 " %5" PRId64 " %c%c", what, g->m, g->n, g->k,
                g->trans_a ? 'T' : 'N', g->trans_b ? 'T' : 'N');
    }
    for (int i = 0; i < b->names; i++) {
        int mark = strcmp(b->name[i], mt_gemm_plan_provider(taken)) == 0;
        double rate = e[i].runs ? flop / e[i].median : 0.0;

        if (b->json && e[i].runs) {
            cli_say(b->cli, "{\"product\":\"%s\",\"m\":%" PRId64 ",\"n\":%" PRId64 ",\"k\":%" PRId64
                            ",\"trans_a\":%d,\"trans_b\":%d,\"batch\":%" PRId64
                            ",\"provider\":\"%s\",\"form\":\"%s\",\"taken\":%s,"
                            "\"seconds\":%.6g,\"gflops\":%.6g,\"share\":%.4g}\n",
                    what, g->m, g->n, g->k, g->trans_a, g->trans_b, g->batch > 0 ? g->batch : 1,
                    b->name[i], e[i].form, mark ? "true" : "false", e[i].median, rate / 1e9,
                    rate / limit);
        } else if (!b->json && e[i].runs) {
            cli_say(b->cli, " %9.1f %4.0f %%%c", rate / 1e9, 100 * rate / limit, mark ? '*' : ' ');
        } else if (!b->json) {
            cli_say(b->cli, " %9s %4s   ", "-", "");
        }
    }
    if (!b->json) {
        cli_say(b->cli, " %s\n", mt_gemm_plan_form(taken));
    }
    fflush(stdout);
}

/* ---- products ---------------------------------------------------------------------------- */

static int one_product(void *arg, const char *what, const struct mt_gemm *g)
{
    struct bench *b = arg;
    struct cli_runner e[MAX_PROVIDERS] = {{.runs = 0}};
    struct mt_gemm_plan *taken = NULL;
    int st;

    MT_TRY(mt_gemm_plan_new(b->turns.dev, g, &taken));
    for (int i = 0; i < b->names; i++) {
        int chosen = strcmp(b->name[i], mt_gemm_plan_provider(taken)) == 0;

        snprintf(e[i].provider, sizeof e[i].provider, "%s", b->name[i]);
        snprintf(e[i].form, sizeof e[i].form, "%s", chosen ? mt_gemm_plan_form(taken) : "");
    }
    MT_TRY_OR(end, cli_turns_run(&b->turns, g, e, b->names));
    print_row(b, what, g, e, taken);
end:
    mt_gemm_plan_free(taken);
    return st;
}

static int choose_names(struct bench *b)
{
    for (const char *const *p = mt_gemm_providers(); *p != NULL && b->names < MAX_PROVIDERS; p++) {
        if (b->only == NULL || strcmp(b->only, *p) == 0) {
            b->name[b->names++] = *p;
        }
    }
    MT_CHECK(b->names > 0, MOTLEY_EARG,
             "there is no provider '%s'; `motley info --gemm` lists them", b->only);
    return MOTLEY_OK;
}

static int measure(struct bench *b, struct mt_ctx *ctx, const char *device,
                   const struct mt_net *net)
{
    int st;

    MT_TRY(choose_names(b));
    MT_TRY(mt_runner_open(ctx, device, &b->turns.dev, NULL));
    MT_TRY_OR(end, mt_limits_get(b->turns.dev, &b->limits));
    if (!b->json) {
        cli_say(b->cli, "%s, %s; limit %.1f GFLOP/s; GFLOP/s and share of the limit\n",
                mt_dev_info(b->turns.dev)->name, mt_dev_info(b->turns.dev)->platform_name,
                b->limits.value[MT_LIMIT_FMA] / 1e9);
        print_head(b);
    }
    st = net != NULL ? mt_net_products(net, b->turns.dev, one_product, b)
                     : cli_turns_common(one_product, b);
end:
    mt_dev_close(b->turns.dev);
    return st;
}

/* Words after the options: a configuration and its settings, or none. */
static int run(struct bench *b, struct mt_ctx *ctx, const char *device, int argc, char **argv)
{
    struct mt_net *net = NULL;
    int code = CLI_OK;

    if (optind < argc) {
        code = cli_net(b->cli, ctx, argc, argv, optind, &net, &device);
        if (code != CLI_OK) {
            return code;
        }
    }
    if (measure(b, ctx, device, net) < 0) {
        fprintf(stderr, "motley: %s\n", mt_err_text());
        code = CLI_FAILED;
    }
    mt_net_close(net);
    return code;
}

int cli_bench_gemm(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"device", required_argument, NULL, 'd'},
                                            {"provider", required_argument, NULL, 'p'},
                                            {"rounds", required_argument, NULL, 'r'},
                                            {"ms", required_argument, NULL, 'm'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct bench b = {.cli = cli, .turns = {.rounds = 5, .seconds = 0.01}};
    const char *device = NULL;
    struct mt_ctx *ctx = NULL;
    int c, code;

    opterr = cli->prints;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'd') {
            device = optarg;
        } else if (c == 'p') {
            b.only = optarg;
        } else if (c == 'r') {
            b.turns.rounds = atoi(optarg);
        } else if (c == 'm') {
            b.turns.seconds = strtod(optarg, NULL) / 1e3;
        } else if (c == 'j') {
            b.json = 1;
        } else if (c == 'h') {
            cli_say(cli, "%s", help);
            return CLI_OK;
        } else {
            return CLI_USAGE;
        }
    }
    if (!cli_turns_valid(&b.turns)) {
        return cli_usage(cli, "--rounds must be 1 to %d, --ms above 0 and at most 60000",
                         CLI_MAX_ROUNDS);
    }
    if (!cli->prints) {   /* one process measures, the others are done */
        return CLI_OK;
    }
    if (mt_ctx_new(NULL, NULL, &ctx) < 0) {
        fprintf(stderr, "motley: %s\n", mt_err_text());
        return CLI_FAILED;
    }
    code = run(&b, ctx, device, argc, argv);
    mt_ctx_free(ctx);
    return code;
}
