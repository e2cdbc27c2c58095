/* embed.c -- a program of its own that trains a network through motley.h with its own arrays.
 *
 * The task: points of two spirals, wound around each other, told apart by a small network. Nothing
 * is read from files; the samples are made here and handed over step by step. Prints how well it
 * did and exits with 0 if that is well enough. Runs alone or under mpirun: every process then
 * brings its own part of each batch. */
#include <math.h>
#include <motley.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 256
#define STEPS 1500

static const char *const network =
    "model:\n"
    "  - linear: 64\n"
    "  - tanh\n"
    "  - linear: 64\n"
    "  - tanh\n"
    "  - linear: 2\n"
    "loss: cross_entropy\n"
    "optimizer: {type: adam, lr: 5e-3}\n"
    "schedule: cosine\n"
    "train: {batch: 256, steps: 1500}\n";

/* Point number i: its place x[2] and the spiral it lies on. */
static void sample(unsigned i, float x[2], int32_t *spiral)
{
    double t = ((i * 2654435761u) >> 8) / 16777216.0;   /* 0 .. 1, spread by multiplication */

    *spiral = (int32_t)(i & 1);
    x[0] = (float)(t * cos(9 * t + 3.14159265 * *spiral));
    x[1] = (float)(t * sin(9 * t + 3.14159265 * *spiral));
}

static int fail(motley_ctx *ctx, const char *what)
{
    fprintf(stderr, "%s: %s\n", what, motley_error());
    if (ctx != NULL && !motley_error_shared(ctx)) {
        motley_abort(ctx, 1);   /* the other processes would wait for this one */
    }
    return 1;
}

/* Steps on samples that follow each other; process r takes its part of every batch. */
static int train(motley_ctx *ctx, motley_run *run)
{
    motley_stats stats = MOTLEY_INIT(motley_stats);
    static float x[BATCH][2];
    static int32_t y[BATCH];
    int rank = motley_rank(ctx), size = motley_size(ctx);
    int lo = BATCH * rank / size, hi = BATCH * (rank + 1) / size;

    for (int step = 0; step < STEPS; step++) {
        for (int k = lo; k < hi; k++) {
            sample((unsigned)(step * BATCH + k), x[k - lo], &y[k - lo]);
        }
        /* Figures are asked for now and then only: without them no step waits. */
        if (motley_step(run, x[0], y, hi - lo, step % 300 == 299 ? &stats : NULL) < 0) {
            return -1;
        }
        if (step % 300 == 299 && rank == 0) {
            printf("step %d: loss %.4f, accuracy %.1f %%\n", step + 1, stats.loss,
                   100 * stats.accuracy);
        }
    }
    return 0;
}

/* Share of right answers on points that were not trained on. */
static int judge(motley_run *run, double *right)
{
    enum { N = 1000 };
    static float x[N][2], p[N][2];
    int32_t y[N];
    int hits = 0;

    for (int i = 0; i < N; i++) {
        sample(4000000000u + (unsigned)i, x[i], &y[i]);
    }
    if (motley_predict(run, x[0], N, MOTLEY_OUT_PROBABILITY, p[0]) < 0) {
        return -1;
    }
    for (int i = 0; i < N; i++) {
        hits += (p[i][1] > p[i][0]) == y[i];
    }
    *right = (double)hits / N;
    return 0;
}

/* What is in the first layer, as an example of reading parameters. */
static int look(motley_run *run)
{
    motley_param param = MOTLEY_INIT(motley_param);
    float *w;
    double sum = 0;
    int status = -1;

    if (motley_param_info(run, 0, &param) < 0) {
        return -1;
    }
    w = malloc((size_t)param.count * sizeof *w);
    if (w != NULL && motley_param_get(run, param.name, w, param.count) == MOTLEY_OK) {
        for (int64_t i = 0; i < param.count; i++) {
            sum += (double)w[i] * (double)w[i];
        }
        printf("%s: %d dimensions, norm %.3f\n", param.name, param.rank, sqrt(sum));
        status = 0;
    }
    free(w);
    return status;
}

int main(void)
{
    motley_run_opt opt = MOTLEY_INIT(motley_run_opt);
    motley_ctx *ctx = NULL;
    motley_config *config = NULL;
    motley_run *run = NULL;
    double right = 0;
    int code = 1;

    if (motley_ctx_new(NULL, &ctx) < 0) {
        return fail(NULL, "context");
    }
    opt.own_arrays = 1;   /* samples come from here, not from a data section */
    opt.x_rank = 1;
    opt.x_dim[0] = 2;
    opt.classes = 2;
    if (motley_config_parse(ctx, network, "spirals", NULL, 0, &config) < 0) {
        code = fail(ctx, "configuration");
    } else if (motley_run_new(ctx, config, &opt, &run) < 0) {
        code = fail(ctx, "run");
    } else if (train(ctx, run) < 0 || judge(run, &right) < 0) {
        code = fail(ctx, "training");
    } else if (motley_rank(ctx) == 0 && look(run) < 0) {
        code = fail(ctx, "parameters");
    } else {
        code = right > 0.95 ? 0 : 1;
        if (motley_rank(ctx) == 0) {
            printf("motley %s: %.1f %% of unseen points are told apart\n", motley_version(),
                   100 * right);
        }
    }
    motley_run_free(run);
    motley_config_free(config);
    motley_ctx_free(ctx);
    return code;
}
