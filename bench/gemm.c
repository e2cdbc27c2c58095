/* gemm.c -- matrix products through device/gemm.h beside a host BLAS, in turns.
 *
 *     make bench/gemm && bench/gemm [--cpu] [--half bf16|fp16] [--reps N] [--ms T] [--device WISH]
 *                                   [SET | M N K TA TB]
 *
 * SET: mlp (784-512-512-10 at batch 16, 128, 1024: forward, data and weight gradient), block (a
 * transformer block of width 384 and 768, 2048 tokens: likewise), square, all (default). The host
 * BLAS is libopenblas.so.0, looked up when it is there; OPENBLAS_CORETYPE chooses its kernels,
 * which matters on processors that are younger than it.
 *
 * With --half the operands are of that type, and so is the result but for weight gradients (TN),
 * which are f32; beside it stands the same product by motley in f32 in place of the host BLAS.
 *
 * A turn is T ms of calls of ours, then of theirs; printed are medians over the turns and the
 * median of the ratios theirs / ours. --cpu: processor time instead of the clock's, meaningful
 * with one thread each (POCL_MAX_PTHREAD_COUNT=1 OPENBLAS_NUM_THREADS=1) on a machine that is
 * shared with others. */
#define _POSIX_C_SOURCE 200809L
#include "base/ctx.h"
#include "base/half.h"
#include "device/buf.h"
#include "device/dev.h"
#include "device/gemm.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112, MAX_REPS = 99, MAX_SHAPES = 64 };

typedef void sgemm_fn(int, int, int, int, int, int, float, const float *, int, const float *, int,
                      float, float *, int);

struct shape {
    int m, n, k, ta, tb;
};

static int cpu_time;

static double now(void)
{
    struct timespec t;

    clock_gettime(cpu_time ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, ascending);
    return x[n / 2];
}

/* Forward, data gradient, weight gradient of a linear layer; weights lie (out, in). */
static int layer(struct shape *s, int n, int rows, int in, int out, int first)
{
    s[n++] = (struct shape){rows, out, in, 0, 1};
    if (!first) {
        s[n++] = (struct shape){rows, in, out, 0, 0};
    }
    s[n++] = (struct shape){out, in, rows, 1, 0};
    return n;
}

static int choose(const char *set, struct shape *s)
{
    static const int width[] = {784, 512, 512, 10}, batch[] = {16, 128, 1024};
    int n = 0, all = strcmp(set, "all") == 0;

    for (int b = 0; b < 3 && (all || strcmp(set, "mlp") == 0); b++) {
        for (int l = 0; l < 3; l++) {
            n = layer(s, n, batch[b], width[l], width[l + 1], l == 0);
        }
    }
    for (int w = 384; w <= 768 && (all || strcmp(set, "block") == 0); w += 384) {
        n = layer(s, n, 2048, w, 3 * w, 0);
        n = layer(s, n, 2048, w, w, 0);
        n = layer(s, n, 2048, w, 4 * w, 0);
        n = layer(s, n, 2048, 4 * w, w, 0);
    }
    if (all || strcmp(set, "square") == 0) {
        s[n++] = (struct shape){64, 512, 784, 0, 0};
        s[n++] = (struct shape){1024, 1024, 1024, 0, 0};
        s[n++] = (struct shape){2048, 2048, 2048, 0, 0};
    }
    return n;
}

/* A product on the device. */
struct ours {
    struct mt_gemm_plan *plan;
    struct mt_buf *buf[4];           /* A, B, C, scratch */
};

struct pair {
    struct mt_dev *dev;
    enum mt_dtype type;
    struct ours ours, f32;           /* f32: what stands beside narrower types */
    sgemm_fn *sgemm;
    struct shape s;
    float *host[3];
};

static int ours(struct pair *p, const struct ours *o, int calls)
{
    struct mt_tensor a = {.buf = o->buf[0]}, b = {.buf = o->buf[1]}, c = {.buf = o->buf[2]};
    struct mt_tensor scratch = {.buf = o->buf[3]};

    for (int i = 0; i < calls; i++) {
        MT_TRY(mt_gemm_run(o->plan, 0, &a, &b, 0.0f, &c, NULL, &scratch));
    }
    return mt_dev_finish(p->dev);
}

static int theirs(struct pair *p, int calls)
{
    const struct shape *s = &p->s;

    if (p->f32.plan != NULL) {
        return ours(p, &p->f32, calls);
    }
    for (int i = 0; i < calls && p->sgemm != NULL; i++) {
        p->sgemm(ROW_MAJOR, s->ta ? TRANSPOSED : PLAIN, s->tb ? TRANSPOSED : PLAIN, s->m, s->n,
                 s->k, 1.0f, p->host[0], s->ta ? s->m : s->k, p->host[1], s->tb ? s->k : s->n,
                 0.0f, p->host[2], s->n);
    }
    return MOTLEY_OK;
}

static int write_as(struct mt_ctx *ctx, struct mt_buf *buf, enum mt_dtype type, const float *x,
                    int64_t n)
{
    uint16_t *half = NULL;
    int st;

    if (!mt_dtype_is_half(type)) {
        return mt_buf_write(buf, 0, (uint64_t)n * 4, x);
    }
    MT_TRY(MT_NEW_N(ctx, n, &half));
    for (int64_t i = 0; i < n; i++) {
        half[i] = type == MT_FP16 ? mt_half_to_fp16(x[i]) : mt_half_to_bf16(x[i]);
    }
    st = mt_buf_write(buf, 0, (uint64_t)n * 2, half);
    mt_free(ctx, half);
    return st;
}

static int make_ours(struct pair *p, struct mt_ctx *ctx, enum mt_dtype type, struct ours *o)
{
    const struct shape *s = &p->s;
    int64_t n[3] = {(int64_t)s->m * s->k, (int64_t)s->k * s->n, (int64_t)s->m * s->n};
    struct mt_gemm g = {.trans_a = s->ta, .trans_b = s->tb, .m = s->m, .n = s->n, .k = s->k,
                        .alpha = 1.0f, .in = type, .out = s->ta && !s->tb ? MT_F32 : type};

    MT_TRY(mt_gemm_plan_new(p->dev, &g, &o->plan));
    for (int i = 0; i < 3; i++) {
        MT_TRY(mt_buf_new(p->dev, (uint64_t)n[i] * 4, "bench", &o->buf[i]));
        MT_TRY(write_as(ctx, o->buf[i], type, p->host[i], n[i]));
    }
    if (mt_gemm_plan_scratch(o->plan) > 0) {
        MT_TRY(mt_buf_new(p->dev, mt_gemm_plan_scratch(o->plan), "bench", &o->buf[3]));
    }
    return MOTLEY_OK;
}

static void free_ours(struct ours *o)
{
    mt_gemm_plan_free(o->plan);
    for (int i = 0; i < 4; i++) {
        mt_buf_free(o->buf[i]);
    }
}

static int make_pair(struct pair *p, struct mt_ctx *ctx)
{
    const struct shape *s = &p->s;
    int64_t n[3] = {(int64_t)s->m * s->k, (int64_t)s->k * s->n, (int64_t)s->m * s->n};

    for (int i = 0; i < 3; i++) {
        MT_TRY(MT_NEW_N(ctx, n[i], &p->host[i]));
        for (int64_t j = 0; j < n[i]; j++) {
            p->host[i][j] = (float)(j * 7 % 19) - 9.0f;
        }
    }
    MT_TRY(make_ours(p, ctx, p->type, &p->ours));
    if (p->type != MT_F32) {
        MT_TRY(make_ours(p, ctx, MT_F32, &p->f32));
    }
    return MOTLEY_OK;
}

static int measure(struct pair *p, struct mt_ctx *ctx, int reps, double seconds, double *ratio)
{
    double a[MAX_REPS], b[MAX_REPS], r[MAX_REPS], flop, once, t;
    int calls, st;

    t = now();
    MT_TRY_OR(end, make_pair(p, ctx));
    t = now() - t;
    flop = mt_gemm_flop(&(struct mt_gemm){.m = p->s.m, .n = p->s.n, .k = p->s.k});
    MT_TRY_OR(end, ours(p, &p->ours, 2));
    MT_TRY_OR(end, theirs(p, 2));
    once = now();
    MT_TRY_OR(end, ours(p, &p->ours, 3));
    once = (now() - once) / 3.0;
    calls = (int)(seconds / once);
    calls = calls < 2 ? 2 : calls > 5000 ? 5000 : calls;
    for (int i = 0; i < reps; i++) {
        double t0 = now(), t1, t2;

        MT_TRY_OR(end, ours(p, &p->ours, calls));
        t1 = now();
        MT_TRY_OR(end, theirs(p, calls));
        t2 = now();
        a[i] = (t1 - t0) / calls;
        b[i] = (t2 - t1) / calls;
        r[i] = b[i] / a[i];
    }
    *ratio = median(r, reps);
    printf("%5d %5d %5d %c%c  %-8s %9.1f us %6.1f GFLOP/s   %-4s %9.1f us %6.1f GFLOP/s   "
           "ratio %.2f   (plan %.0f ms)\n",
           p->s.m, p->s.n, p->s.k, p->s.ta ? 'T' : 'N', p->s.tb ? 'T' : 'N',
           mt_gemm_plan_provider(p->ours.plan), median(a, reps) * 1e6,
           flop / median(a, reps) * 1e-9, p->f32.plan != NULL ? "f32" : "blas",
           median(b, reps) * 1e6, flop / median(b, reps) * 1e-9, *ratio, t * 1e3);
    fflush(stdout);
end:
    free_ours(&p->ours);
    free_ours(&p->f32);
    for (int i = 0; i < 3; i++) {
        mt_free(ctx, p->host[i]);
    }
    return st;
}

static int open_device(struct mt_ctx *ctx, const char *want, struct mt_dev **dev)
{
    struct mt_dev_info *list = NULL;
    int n = 0, got, sharers, st;

    MT_TRY(mt_dev_prepare(ctx));
    MT_TRY(mt_dev_list(ctx, &list, &n));
    MT_TRY_OR(end, mt_dev_assign(list, n, &want, 1, 0, &got, &sharers));
    MT_TRY_OR(end, mt_dev_open(ctx, &list[got], 1, dev));
    printf("%s, %u units\n", list[got].name, list[got].units);
end:
    mt_free(ctx, list);
    return st;
}

static void *symbol(void *library, const char *name, void *fn, size_t bytes)
{
    void *found = library != NULL ? dlsym(library, name) : NULL;

    memcpy(fn, &found, bytes);   /* ISO C has no cast from object to function pointer */
    return found;
}

int main(int argc, char **argv)
{
    struct shape shapes[MAX_SHAPES];
    const char *want = "auto";
    double seconds = 0.02, sum = 0.0, least = INFINITY;
    void *library = dlopen("libopenblas.so.0", RTLD_NOW);
    struct mt_ctx *ctx = NULL;
    struct mt_dev *dev = NULL;
    char *(*core)(void) = NULL;
    sgemm_fn *sgemm = NULL;
    enum mt_dtype type = MT_F32;
    int reps = 7, n, i, st;

    for (i = 1; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--cpu") == 0) {
            cpu_time = 1;
        } else if (i + 1 < argc && strcmp(argv[i], "--half") == 0) {
            type = strcmp(argv[++i], "fp16") == 0 ? MT_FP16 : MT_BF16;
        } else if (i + 1 < argc && strcmp(argv[i], "--reps") == 0) {
            reps = atoi(argv[++i]);
        } else if (i + 1 < argc && strcmp(argv[i], "--ms") == 0) {
            seconds = atof(argv[++i]) / 1e3;
        } else if (i + 1 < argc && strcmp(argv[i], "--device") == 0) {
            want = argv[++i];
        }
    }
    reps = reps < 1 ? 1 : reps > MAX_REPS ? MAX_REPS : reps;
    if (argc - i == 5) {
        shapes[0] = (struct shape){atoi(argv[i]), atoi(argv[i + 1]), atoi(argv[i + 2]),
                                   atoi(argv[i + 3]), atoi(argv[i + 4])};
        n = 1;
    } else {
        n = choose(i < argc ? argv[i] : "all", shapes);
    }
    MT_TRY_OR(end, mt_ctx_new(NULL, NULL, &ctx));
    MT_TRY_OR(end, open_device(ctx, want, &dev));
    symbol(library, "cblas_sgemm", &sgemm, sizeof sgemm);
    if (symbol(library, "openblas_get_corename", &core, sizeof core) != NULL) {
        printf("OpenBLAS with kernels for %s\n", core());
    }
    for (int s = 0; s < n; s++) {
        struct pair p = {.dev = dev, .type = type, .sgemm = sgemm, .s = shapes[s]};
        double ratio = NAN;

        MT_TRY_OR(end, measure(&p, ctx, reps, seconds, &ratio));
        sum += log(ratio);
        least = ratio < least ? ratio : least;
    }
    printf("%d shapes, ratio: geometric mean %.3f, least %.2f\n", n, exp(sum / n), least);
end:
    if (st < 0) {
        fprintf(stderr, "%s\n", mt_err_text());
    }
    mt_dev_close(dev);
    mt_ctx_free(ctx);
    return st < 0;
}
