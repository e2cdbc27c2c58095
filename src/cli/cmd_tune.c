/* cmd_tune.c -- motley tune: measures which provider and form of matrix products is the fastest on
 * a device, and writes it down for all later runs.
 *
 * All that can do a product takes turns; what motley takes without a measurement keeps its place
 * unless another is faster by MARGIN in the median of the rounds, each compared within its round:
 * noise should not change results. CLBlast has one set of parameters per device and cannot go back
 * to its own, so its forms come last, over all products, and only where CLBlast matters. */
#include "cli/cli.h"
#include "cli/turns.h"

#include "base/ctx.h"
#include "base/env.h"
#include "device/dev.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "motley tune [options]\n"
    "motley tune [options] CONFIG [key=value ...]\n"
    "\n"
    "Measures every provider of matrix products, and the sizes of tiles and blocks that it can\n"
    "take, for the products of a configuration at its batch, or for common ones (those of\n"
    "`motley bench gemm`). The fastest that passed its check is written to a file of the cache\n"
    "folder, one per device and driver, and taken by every later run for products of about\n"
    "these sizes. Nothing else writes that file: another choice gives other last bits, so do not\n"
    "tune between a run and its --resume if they matter. Takes minutes the first\n"
    "time, while kernels are compiled.\n"
    "\n"
    "  --device WISH     platform:device, gpu, cpu or part of a name\n"
    "  --provider NAME   try the forms of this one only\n"
    "  --rounds N        turns of each, of which the median is taken (5)\n"
    "  --ms T            length of a turn in milliseconds, at least one product (10)\n"
    "  --forget          drop what was measured before\n";

#define MARGIN   0.97    /* of the time of the first choice */
#define HOPELESS 3.0     /* times the best: is not measured further */

enum { MAX_PRODUCTS = 128 };

struct product {
    char what[64];
    struct mt_gemm g;
    struct mt_gemm_choice best;
    double first_median;             /* of what is taken without a measurement */
    double clblast;                  /* with its own parameters; 0: cannot */
};

struct tune {
    struct cli *cli;
    struct cli_turns turns;
    const char *only;
    int forget, n;
    struct product *p;
};

static int keep_product(void *arg, const char *what, const struct mt_gemm *g)
{
    struct tune *t = arg;

    MT_CHECK(t->n < MAX_PRODUCTS, MOTLEY_EUNSUP, "more than %d products", MAX_PRODUCTS);
    snprintf(t->p[t->n].what, sizeof t->p[t->n].what, "%s", what);
    t->p[t->n++].g = *g;
    return MOTLEY_OK;
}

/* Median of the ratios of two runners within the rounds. */
static double ratio(const struct tune *t, const struct cli_runner *a, const struct cli_runner *b)
{
    double r[CLI_MAX_ROUNDS];

    for (int i = 0; i < t->turns.rounds; i++) {
        double x = a->took[i] / b->took[i];
        int at = i;

        for (; at > 0 && r[at - 1] > x; at--) {
            r[at] = r[at - 1];
        }
        r[at] = x;
    }
    return r[t->turns.rounds / 2];
}

/* Runners for a product: what is taken without a measurement first, then everything else but the
 * forms of clblast. */
static int list_runners(struct tune *t, const struct product *p, struct cli_runner *r, int *n)
{
    struct mt_gemm_plan *first = NULL;

    MT_TRY(mt_gemm_plan_new(t->turns.dev, &p->g, &first));
    *n = 0;
    snprintf(r[(*n)++].provider, sizeof r->provider, "%s", mt_gemm_plan_provider(first));
    mt_gemm_plan_free(first);
    for (const char *const *name = mt_gemm_providers(); *name != NULL; name++) {
        const char *form;

        for (int f = 0; (form = mt_gemm_form(t->turns.dev, *name, f)) != NULL; f++) {
            int is_first = f == 0 && strcmp(*name, r[0].provider) == 0;
            int other = f > 0 && t->only != NULL && strcmp(*name, t->only) != 0;
            int late = f > 0 && strcmp(*name, "clblast") == 0;

            if (!is_first && !other && !late && *n < CLI_MAX_RUNNERS) {
                snprintf(r[*n].provider, sizeof r->provider, "%s", *name);
                snprintf(r[*n].form, sizeof r->form, "%s", form);
                (*n)++;
            }
        }
    }
    return MOTLEY_OK;
}

static int measure_product(struct tune *t, struct product *p)
{
    struct cli_runner *r = NULL;
    int n = 0, best = 0, st;

    MT_TRY(MT_NEW_N(mt_dev_ctx(t->turns.dev), CLI_MAX_RUNNERS, &r));
    MT_TRY_OR(end, list_runners(t, p, r, &n));
    MT_TRY_OR(end, cli_turns_run(&t->turns, &p->g, r, n));
    for (int i = 1; i < n; i++) {
        if (r[i].runs && (best == 0 ? ratio(t, &r[i], &r[0]) < MARGIN
                                    : ratio(t, &r[i], &r[best]) < 1.0)) {
            best = i;
        }
    }
    for (int i = 0; i < n; i++) {
        if (strcmp(r[i].provider, "clblast") == 0) {
            p->clblast = r[i].median;
        }
    }
    snprintf(p->best.provider, sizeof p->best.provider, "%s", r[best].provider);
    snprintf(p->best.form, sizeof p->best.form, "%s", r[best].form);
    p->best.seconds = r[best].median;
    p->first_median = r[0].median;
    cli_say(t->cli, "%-24s %5" PRId64 " %5" PRId64 " %5" PRId64
                    " %c%c %11.1f us  %-8s %11.1f us %s\n",
            p->what, p->g.m, p->g.n, p->g.k, p->g.trans_a ? 'T' : 'N', p->g.trans_b ? 'T' : 'N',
            r[0].median * 1e6, p->best.provider, p->best.seconds * 1e6, p->best.form);
    fflush(stdout);
end:
    mt_free(mt_dev_ctx(t->turns.dev), r);
    return st;
}

/* Whether CLBlast is what some product takes, or is asked for. */
static int clblast_matters(const struct tune *t)
{
    int taken = t->only != NULL && strcmp(t->only, "clblast") == 0;

    for (int i = 0; i < t->n; i++) {
        taken |= strcmp(t->p[i].best.provider, "clblast") == 0;
    }
    return taken;
}

/* One set of parameters for all products: the one with the least geometric mean of times over its
 * own; the choices of products follow. */
static int measure_clblast(struct tune *t)
{
    double best = MARGIN, *took = NULL;
    const char *form, *chosen = "";
    int st = MOTLEY_OK;

    MT_TRY(MT_NEW_N(mt_dev_ctx(t->turns.dev), MAX_PRODUCTS, &took));
    for (int f = 1; (form = mt_gemm_form(t->turns.dev, "clblast", f)) != NULL; f++) {
        double sum = 0, now[MAX_PRODUCTS] = {0};
        int n = 0, fails = 0;

        for (int i = 0; i < t->n && !fails; i++) {
            struct cli_runner r = {.provider = "clblast"};

            snprintf(r.form, sizeof r.form, "%s", form);
            MT_TRY_OR(end, cli_turns_run(&t->turns, &t->p[i].g, &r, 1));
            fails = !r.runs;
            if (r.runs && t->p[i].clblast > 0) {
                sum += log(r.median / t->p[i].clblast);
                n++;
            }
            now[i] = r.median;
        }
        if (fails) {
            cli_say(t->cli, "clblast  refused: %s\n", form);
            continue;
        }
        cli_say(t->cli, "clblast  %.2f of the time with its own parameters: %s\n",
                n > 0 ? exp(sum / n) : 1.0, form);
        fflush(stdout);
        if (n > 0 && exp(sum / n) < best) {
            best = exp(sum / n);
            chosen = form;
            memcpy(took, now, sizeof now);
        }
    }
    MT_TRY_OR(end, mt_gemm_tune_form(t->turns.dev, "clblast", chosen));
    for (int i = 0; i < t->n && *chosen != '\0'; i++) {
        struct mt_gemm_choice *c = &t->p[i].best;

        if (strcmp(c->provider, "clblast") == 0 || took[i] < MARGIN * c->seconds) {
            *c = (struct mt_gemm_choice){.provider = "clblast", .seconds = took[i]};
        }
    }
end:
    mt_free(mt_dev_ctx(t->turns.dev), took);
    return st;
}

static int measure(struct tune *t, const struct mt_net *net)
{
    double sum = 0;
    char path[4096];

    if (net != NULL) {
        MT_TRY(mt_net_products(net, t->turns.dev, keep_product, t));
    } else {
        MT_TRY(cli_turns_common(keep_product, t));
    }
    cli_say(t->cli, "%s, %s\n%-24s %5s %5s %5s %2s %14s  %-8s %14s\n",
            mt_dev_info(t->turns.dev)->name, mt_dev_info(t->turns.dev)->platform_name, "product",
            "M", "N", "K", "", "untuned", "tuned", "");
    for (int i = 0; i < t->n; i++) {
        MT_TRY(measure_product(t, &t->p[i]));
    }
    if (clblast_matters(t)) {
        MT_TRY(measure_clblast(t));
    }
    for (int i = 0; i < t->n; i++) {
        sum += log(t->p[i].first_median / t->p[i].best.seconds);
        MT_TRY(mt_gemm_tune_set(t->turns.dev, &t->p[i].g, &t->p[i].best));
    }
    MT_TRY(mt_gemm_tune_save(t->turns.dev, path, sizeof path));
    cli_say(t->cli, "%d products, geometric mean %.2f times as fast; %s%s\n", t->n,
            t->n > 0 ? exp(sum / t->n) : 1.0,
            *path != '\0' ? "written to " : "not kept: there is no cache folder", path);
    return MOTLEY_OK;
}

static int open_and_measure(struct tune *t, struct mt_ctx *ctx, const char *device,
                            const struct mt_net *net)
{
    int st;

    MT_TRY(MT_NEW_N(ctx, MAX_PRODUCTS, &t->p));
    MT_TRY_OR(end, mt_runner_open(ctx, device, &t->turns.dev, NULL));
    /* What was chosen before must not decide what is compared with. */
    MT_TRY_OR(end, mt_gemm_tune_hide(t->turns.dev, t->forget));
    MT_TRY_OR(end, measure(t, net));
end:
    mt_dev_close(t->turns.dev);
    mt_free(ctx, t->p);
    return st;
}

static int run(struct tune *t, struct mt_ctx *ctx, const char *device, int argc, char **argv)
{
    struct mt_net *net = NULL;
    int code = CLI_OK;

    if (ctx->env.value[MT_ENV_GEMM] != NULL) {
        return cli_usage(t->cli, "MOTLEY_GEMM=%s pins a provider: there is nothing to choose; "
                                 "unset it", ctx->env.value[MT_ENV_GEMM]);
    }
    if (optind < argc) {
        code = cli_net(t->cli, ctx, argc, argv, optind, &net, &device);
        if (code != CLI_OK) {
            return code;
        }
    }
    if (open_and_measure(t, ctx, device, net) < 0) {
        fprintf(stderr, "motley: %s\n", mt_err_text());
        code = CLI_FAILED;
    }
    mt_net_close(net);
    return code;
}

static int known(const char *provider)
{
    for (const char *const *p = mt_gemm_providers(); *p != NULL; p++) {
        if (strcmp(*p, provider) == 0) {
            return 1;
        }
    }
    return 0;
}

static void warn(void *arg, int level, const char *category, const char *text)
{
    (void)arg;
    if (level == MT_LOG_WARN) {
        fprintf(stderr, "motley: warning: %s: %s\n", category, text);
    }
}

int cli_tune(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"device", required_argument, NULL, 'd'},
                                            {"provider", required_argument, NULL, 'p'},
                                            {"rounds", required_argument, NULL, 'r'},
                                            {"ms", required_argument, NULL, 'm'},
                                            {"forget", no_argument, NULL, 'f'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct tune t = {.cli = cli,
                     .turns = {.rounds = 5, .seconds = 0.01, .hopeless = HOPELESS}};
    const char *device = NULL;
    struct mt_ctx *ctx = NULL;
    int c, code;

    opterr = cli->prints;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'd') {
            device = optarg;
        } else if (c == 'p') {
            t.only = optarg;
        } else if (c == 'r') {
            t.turns.rounds = atoi(optarg);
        } else if (c == 'm') {
            t.turns.seconds = strtod(optarg, NULL) / 1e3;
        } else if (c == 'f') {
            t.forget = 1;
        } else if (c == 'h') {
            cli_say(cli, "%s", help);
            return CLI_OK;
        } else {
            return CLI_USAGE;
        }
    }
    if (!cli_turns_valid(&t.turns)) {
        return cli_usage(cli, "--rounds must be 1 to %d, --ms above 0 and at most 60000",
                         CLI_MAX_ROUNDS);
    }
    if (t.only != NULL && !known(t.only)) {
        return cli_usage(cli, "there is no provider '%s'; `motley info --gemm` lists them", t.only);
    }
    if (t.only != NULL && strcmp(t.only, "clblast") == 0) {
        t.turns.hopeless = 0;   /* its forms are compared with its own parameters */
    }
    if (!cli->prints) {   /* one process measures, the others are done */
        return CLI_OK;
    }
    if (mt_ctx_new(warn, NULL, &ctx) < 0) {
        fprintf(stderr, "motley: %s\n", mt_err_text());
        return CLI_FAILED;
    }
    code = run(&t, ctx, device, argc, argv);
    mt_ctx_free(ctx);
    return code;
}
