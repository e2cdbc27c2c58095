/* bench_gemm.c -- motley bench gemm: every provider of matrix products beside the limit of the
 * device, for the products of a configuration or for a list of common ones.
 *
 * Providers take turns: a disturbance of the machine meets all of them, and the medians of the
 * rounds can be compared. */
#define _POSIX_C_SOURCE 200809L
#include "cli/cli.h"

#include "base/ctx.h"
#include "device/buf.h"
#include "device/dev.h"
#include "device/gemm.h"
#include "device/limits.h"
#include "tests/runner.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char help[] =
    "motley bench gemm [options]\n"
    "motley bench gemm [options] CONFIG [key=value ...]\n"
    "\n"
    "GFLOP/s of every provider of matrix products, and its share of the device's limit\n"
    "(`motley bench limits`); * marks the one that motley takes. For the products of a\n"
    "configuration at its batch, or for common ones: three linear layers at batch 16, 128 and\n"
    "1024, transformer blocks of width 384 and 768 with 2048 tokens; forward, data gradient\n"
    "and weight gradient of each.\n"
    "\n"
    "  --device WISH     platform:device, gpu, cpu or part of a name\n"
    "  --provider NAME   only this one\n"
    "  --rounds N        turns of each provider, of which the median is taken (5)\n"
    "  --ms T            length of a turn in milliseconds, at least one product (10)\n"
    "  --json            one JSON object a line\n";

enum { MAX_ROUNDS = 99, MAX_PROVIDERS = 16, MAX_SHAPES = 128 };

struct bench {
    struct cli *cli;
    struct mt_dev *dev;
    struct mt_limits limits;
    const char *only;
    int rounds, json, names;         /* names: of providers, shown as columns */
    const char *name[MAX_PROVIDERS];
    double seconds;                  /* of a turn */
};

/* One provider at one product. */
struct entry {
    struct mt_gemm_plan *plan;       /* NULL: cannot do it */
    struct mt_buf *scratch;
    int calls;
    double took[MAX_ROUNDS], median;
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Elements that a matrix of the product takes: its largest index, plus one. */
static uint64_t elements(int64_t rows, int64_t cols, int64_t ld, int64_t stride, int64_t batch)
{
    int64_t one = rows * (ld > 0 ? ld : cols);

    return (uint64_t)((batch > 1 ? batch - 1 : 0) * (stride > 0 ? stride : one) + one);
}

/* a, b, c, bias; filled with numbers for which no arithmetic is slow. */
static int make_buffers(struct bench *b, const struct mt_gemm *g, struct mt_buf *buf[4])
{
    uint64_t n[4] = {
        elements(g->trans_a ? g->k : g->m, g->trans_a ? g->m : g->k, g->lda, g->stride_a, g->batch),
        elements(g->trans_b ? g->n : g->k, g->trans_b ? g->k : g->n, g->ldb, g->stride_b, g->batch),
        elements(g->m, g->n, g->ldc, g->stride_c, g->batch), (uint64_t)g->n};

    for (int i = 0; i < 4; i++) {
        MT_TRY(mt_buf_new(b->dev, n[i] * 4, "bench", &buf[i]));
        MT_TRY(mt_buf_fill(buf[i], 0, n[i] * 4, 0x3e800000u));   /* 0.25 */
    }
    return mt_dev_finish(b->dev);
}

static int turn(struct bench *b, const struct entry *e, struct mt_buf *const buf[4], int64_t size,
                int calls, double *took)
{
    struct mt_tensor a = {.buf = buf[0]}, w = {.buf = buf[1]}, c = {.buf = buf[2]};
    struct mt_tensor bias = {.buf = buf[3]}, scratch = {.buf = e->scratch};
    double start = now();

    for (int i = 0; i < calls; i++) {
        MT_TRY(mt_gemm_run(e->plan, size, &a, &w, 0.0f, &c, &bias, &scratch));
    }
    MT_TRY(mt_dev_finish(b->dev));
    *took = (now() - start) / calls;
    return MOTLEY_OK;
}

/* The plan and its scratch, and how many calls make a turn. */
static int prepare(struct bench *b, const struct mt_gemm *g, struct entry *e,
                   struct mt_buf *const buf[4], const char *provider, int64_t size)
{
    double took;
    int st = mt_gemm_plan_with(b->dev, g, provider, 0, &e->plan);

    if (st < 0) {
        return st == MOTLEY_EUNSUP ? MOTLEY_OK : st;
    }
    if (mt_gemm_plan_scratch(e->plan) > 0) {
        MT_TRY(mt_buf_new(b->dev, mt_gemm_plan_scratch(e->plan), "bench", &e->scratch));
    }
    MT_TRY(turn(b, e, buf, size, 1, &took));
    MT_TRY(turn(b, e, buf, size, 1, &took));
    e->calls = took > b->seconds ? 1 : took * 10000 < b->seconds ? 10000 : (int)(b->seconds / took);
    return MOTLEY_OK;
}

static int rounds(struct bench *b, struct entry *e, struct mt_buf *const buf[4], int64_t size)
{
    for (int r = 0; r < b->rounds; r++) {
        for (int i = 0; i < b->names; i++) {
            if (e[i].plan != NULL) {
                MT_TRY(turn(b, &e[i], buf, size, e[i].calls, &e[i].took[r]));
            }
        }
    }
    for (int i = 0; i < b->names; i++) {
        qsort(e[i].took, (size_t)b->rounds, sizeof *e[i].took, rising);
        e[i].median = e[i].took[b->rounds / 2];
    }
    return MOTLEY_OK;
}

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
                      const struct entry *e, const char *taken)
{
    double flop = mt_gemm_flop(g), limit = b->limits.value[MT_LIMIT_FMA];

    if (!b->json) {
        cli_say(b->cli, "%-24s %5" PRId64 " %5" PRId64 " %5" PRId64 " %c%c", what, g->m, g->n, g->k,
                g->trans_a ? 'T' : 'N', g->trans_b ? 'T' : 'N');
    }
    for (int i = 0; i < b->names; i++) {
        int mark = strcmp(b->name[i], taken) == 0;
        double rate = e[i].plan != NULL ? flop / e[i].median : 0.0;

        if (b->json && e[i].plan != NULL) {
            cli_say(b->cli, "{\"product\":\"%s\",\"m\":%" PRId64 ",\"n\":%" PRId64 ",\"k\":%" PRId64
                            ",\"trans_a\":%d,\"trans_b\":%d,\"batch\":%" PRId64
                            ",\"provider\":\"%s\",\"taken\":%s,\"seconds\":%.6g,\"gflops\":%.6g,"
                            "\"share\":%.4g}\n",
                    what, g->m, g->n, g->k, g->trans_a, g->trans_b, g->batch > 0 ? g->batch : 1,
                    b->name[i], mark ? "true" : "false", e[i].median, rate / 1e9, rate / limit);
        } else if (!b->json && e[i].plan != NULL) {
            cli_say(b->cli, " %9.1f %4.0f %%%c", rate / 1e9, 100 * rate / limit, mark ? '*' : ' ');
        } else if (!b->json) {
            cli_say(b->cli, " %9s %4s   ", "-", "");
        }
    }
    if (!b->json) {
        cli_say(b->cli, "\n");
    }
    fflush(stdout);
}

/* ---- products ---------------------------------------------------------------------------- */

static int one_product(void *arg, const char *what, const struct mt_gemm *g)
{
    struct bench *b = arg;
    struct entry *e = NULL;
    struct mt_buf *buf[4] = {NULL};
    struct mt_gemm_plan *chosen = NULL;
    struct mt_ctx *ctx = mt_dev_ctx(b->dev);
    int64_t size = g->varies == 'n' ? g->n : g->varies == 'k' ? g->k : g->m;
    int st;

    MT_TRY(MT_NEW_N(ctx, b->names, &e));
    MT_TRY_OR(end, make_buffers(b, g, buf));
    MT_TRY_OR(end, mt_gemm_plan_new(b->dev, g, &chosen));
    for (int i = 0; i < b->names; i++) {
        MT_TRY_OR(end, prepare(b, g, &e[i], buf, b->name[i], size));
    }
    MT_TRY_OR(end, rounds(b, e, buf, size));
    print_row(b, what, g, e, mt_gemm_plan_provider(chosen));
end:
    mt_gemm_plan_free(chosen);
    for (int i = 0; i < b->names; i++) {
        mt_gemm_plan_free(e[i].plan);
        mt_buf_free(e[i].scratch);
    }
    for (int i = 0; i < 4; i++) {
        mt_buf_free(buf[i]);
    }
    mt_free(ctx, e);
    return st;
}

/* The three products of a linear layer; weights lie (out, in). */
static int layer(struct bench *b, const char *what, int64_t rows, int64_t in, int64_t out,
                 int first)
{
    struct mt_gemm fwd = {.trans_b = 1, .m = rows, .n = out, .k = in, .alpha = 1, .has_bias = 1,
                          .varies = 'm'};
    struct mt_gemm data = {.m = rows, .n = in, .k = out, .alpha = 1, .varies = 'm'};
    struct mt_gemm weight = {.trans_a = 1, .m = out, .n = in, .k = rows, .alpha = 1, .varies = 'k'};
    char name[64];

    snprintf(name, sizeof name, "%s forward", what);
    MT_TRY(one_product(b, name, &fwd));
    if (!first) {
        snprintf(name, sizeof name, "%s data", what);
        MT_TRY(one_product(b, name, &data));
    }
    snprintf(name, sizeof name, "%s weight", what);
    return one_product(b, name, &weight);
}

static int common_products(struct bench *b)
{
    static const int width[] = {784, 512, 512, 10}, batch[] = {16, 128, 1024};
    char name[32];

    for (int i = 0; i < 3; i++) {
        for (int l = 0; l < 3; l++) {
            snprintf(name, sizeof name, "mlp %d-%d", width[l], width[l + 1]);
            MT_TRY(layer(b, name, batch[i], width[l], width[l + 1], l == 0));
        }
    }
    for (int w = 384; w <= 768; w += 384) {
        MT_TRY(layer(b, "block qkv", 2048, w, 3 * w, 0));
        MT_TRY(layer(b, "block out", 2048, w, w, 0));
        MT_TRY(layer(b, "block up", 2048, w, 4 * w, 0));
        MT_TRY(layer(b, "block down", 2048, 4 * w, w, 0));
    }
    for (int n = 1024; n <= 2048; n *= 2) {
        MT_TRY(one_product(b, "square", &(struct mt_gemm){.m = n, .n = n, .k = n, .alpha = 1}));
    }
    return MOTLEY_OK;
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
    MT_TRY(mt_runner_open(ctx, device, &b->dev, NULL));
    MT_TRY_OR(end, mt_limits_get(b->dev, &b->limits));
    if (!b->json) {
        cli_say(b->cli, "%s, %s; limit %.1f GFLOP/s; GFLOP/s and share of the limit\n",
                mt_dev_info(b->dev)->name, mt_dev_info(b->dev)->platform_name,
                b->limits.value[MT_LIMIT_FMA] / 1e9);
        print_head(b);
    }
    st = net != NULL ? mt_net_products(net, b->dev, one_product, b) : common_products(b);
end:
    mt_dev_close(b->dev);
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
    struct bench b = {.cli = cli, .rounds = 5, .seconds = 0.01};
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
            b.rounds = atoi(optarg);
        } else if (c == 'm') {
            b.seconds = strtod(optarg, NULL) / 1e3;
        } else if (c == 'j') {
            b.json = 1;
        } else if (c == 'h') {
            cli_say(cli, "%s", help);
            return CLI_OK;
        } else {
            return CLI_USAGE;
        }
    }
    if (b.rounds < 1 || b.rounds > MAX_ROUNDS || !(b.seconds > 0 && b.seconds <= 60)) {
        return cli_usage(cli, "--rounds must be 1 to %d, --ms above 0 and at most 60000",
                         MAX_ROUNDS);
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
