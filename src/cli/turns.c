/* turns.c -- turns.h: plans and buffers of everything first, then rounds of turns. */
#define _POSIX_C_SOURCE 200809L
#include "cli/turns.h"

#include "base/ctx.h"
#include "base/num.h"
#include "device/buf.h"
#include "device/dev.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* a, b, c, bias. */
struct matrices {
    struct mt_buf *buf[4];
    int64_t size;                    /* of the dimension that varies */
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Elements that a matrix of the product takes: its largest index, plus one. */
static uint64_t elements(int64_t rows, int64_t cols, int64_t ld, int64_t stride, int64_t batch)
{
    int64_t one = rows * (ld > 0 ? ld : cols);

    return (uint64_t)((batch > 1 ? batch - 1 : 0) * (stride > 0 ? stride : one) + one);
}

/* Filled with numbers for which no arithmetic is slow. */
static int make_buffers(struct mt_dev *dev, const struct mt_gemm *g, struct matrices *m)
{
    uint64_t n[4] = {
        elements(g->trans_a ? g->k : g->m, g->trans_a ? g->m : g->k, g->lda, g->stride_a, g->batch),
        elements(g->trans_b ? g->n : g->k, g->trans_b ? g->k : g->n, g->ldb, g->stride_b, g->batch),
        elements(g->m, g->n, g->ldc, g->stride_c, g->batch), (uint64_t)g->n};

    m->size = g->varies == 'n' ? g->n : g->varies == 'k' ? g->k : g->m;
    for (int i = 0; i < 4; i++) {
        MT_TRY(mt_buf_new(dev, n[i] * 4, "bench", &m->buf[i]));
        MT_TRY(mt_buf_fill(m->buf[i], 0, n[i] * 4, 0x3e800000u));   /* 0.25 */
    }
    return mt_dev_finish(dev);
}

static int turn(struct mt_dev *dev, const struct cli_runner *r, const struct matrices *m, int calls,
                double *took)
{
    struct mt_tensor a = {.buf = m->buf[0]}, w = {.buf = m->buf[1]}, c = {.buf = m->buf[2]};
    struct mt_tensor bias = {.buf = m->buf[3]}, scratch = {.buf = r->scratch};
    double start = now();

    for (int i = 0; i < calls; i++) {
        MT_TRY(mt_gemm_run(r->plan, m->size, &a, &w, 0.0f, &c, &bias, &scratch));
    }
    MT_TRY(mt_dev_finish(dev));
    *took = (now() - start) / calls;
    return MOTLEY_OK;
}

/* The plan and its scratch, and how many calls make a turn. best: of those before. */
static int prepare(const struct cli_turns *t, const struct mt_gemm *g, struct cli_runner *r,
                   const struct matrices *m, double *best)
{
    double took;
    int st = mt_gemm_plan_with(t->dev, g, r->provider, r->form, 0, &r->plan);

    if (st < 0) {
        return st == MOTLEY_EUNSUP ? MOTLEY_OK : st;
    }
    if (mt_gemm_plan_scratch(r->plan) > 0) {
        MT_TRY(mt_buf_new(t->dev, mt_gemm_plan_scratch(r->plan), "bench", &r->scratch));
    }
    MT_TRY(turn(t->dev, r, m, 1, &took));
    MT_TRY(turn(t->dev, r, m, 1, &took));
    *best = *best == 0 || took < *best ? took : *best;
    r->runs = t->hopeless == 0 || took <= *best * t->hopeless;
    r->calls = took > t->seconds           ? 1
               : took * 10000 < t->seconds ? 10000
                                           : (int)(t->seconds / took);
    return MOTLEY_OK;
}

static double median(const double *took, int rounds)
{
    double sorted[CLI_MAX_ROUNDS];

    memcpy(sorted, took, (size_t)rounds * sizeof *took);
    return mt_num_median(sorted, rounds);
}

int cli_turns_run(const struct cli_turns *t, const struct mt_gemm *g, struct cli_runner *r, int n)
{
    struct matrices m = {.size = 0};
    double best = 0;
    int st;

    MT_TRY_OR(end, make_buffers(t->dev, g, &m));
    for (int i = 0; i < n; i++) {
        MT_TRY_OR(end, prepare(t, g, &r[i], &m, &best));
    }
    for (int k = 0; k < t->rounds; k++) {
        for (int i = 0; i < n; i++) {
            if (r[i].runs) {
                MT_TRY_OR(end, turn(t->dev, &r[i], &m, r[i].calls, &r[i].took[k]));
            }
        }
    }
    for (int i = 0; i < n; i++) {
        r[i].median = r[i].runs ? median(r[i].took, t->rounds) : 0;
    }
end:
    for (int i = 0; i < n; i++) {
        mt_gemm_plan_free(r[i].plan);
        mt_buf_free(r[i].scratch);
        r[i].plan = NULL;
        r[i].scratch = NULL;
    }
    for (int i = 0; i < 4; i++) {
        mt_buf_free(m.buf[i]);
    }
    return st;
}

int cli_turns_valid(const struct cli_turns *t)
{
    return t->rounds >= 1 && t->rounds <= CLI_MAX_ROUNDS && t->seconds > 0 && t->seconds <= 60;
}

/* ---- common products --------------------------------------------------------------------- */

/* The three products of a linear layer; weights lie (out, in). */
static int layer(mt_product_fn *fn, void *arg, const char *what, int64_t rows, int64_t in,
                 int64_t out, int first)
{
    struct mt_gemm fwd = {.trans_b = 1, .m = rows, .n = out, .k = in, .alpha = 1, .has_bias = 1,
                          .varies = 'm'};
    struct mt_gemm data = {.m = rows, .n = in, .k = out, .alpha = 1, .varies = 'm'};
    struct mt_gemm weight = {.trans_a = 1, .m = out, .n = in, .k = rows, .alpha = 1, .varies = 'k'};
    char name[64];

    snprintf(name, sizeof name, "%s forward", what);
    MT_TRY(fn(arg, name, &fwd));
    if (!first) {
        snprintf(name, sizeof name, "%s data", what);
        MT_TRY(fn(arg, name, &data));
    }
    snprintf(name, sizeof name, "%s weight", what);
    return fn(arg, name, &weight);
}

int cli_turns_common(mt_product_fn *fn, void *arg)
{
    static const int width[] = {784, 512, 512, 10}, batch[] = {16, 128, 1024};
    char name[32];

    for (int i = 0; i < 3; i++) {
        for (int l = 0; l < 3; l++) {
            snprintf(name, sizeof name, "mlp %d-%d", width[l], width[l + 1]);
            MT_TRY(layer(fn, arg, name, batch[i], width[l], width[l + 1], l == 0));
        }
    }
    for (int w = 384; w <= 768; w += 384) {
        MT_TRY(layer(fn, arg, "block qkv", 2048, w, 3 * w, 0));
        MT_TRY(layer(fn, arg, "block out", 2048, w, w, 0));
        MT_TRY(layer(fn, arg, "block up", 2048, w, 4 * w, 0));
        MT_TRY(layer(fn, arg, "block down", 2048, 4 * w, w, 0));
    }
    for (int n = 1024; n <= 2048; n *= 2) {
        MT_TRY(fn(arg, "square", &(struct mt_gemm){.m = n, .n = n, .k = n, .alpha = 1}));
    }
    return MOTLEY_OK;
}
