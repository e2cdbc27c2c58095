/* loop.c -- the loop of training from inside: a step allocates nothing on host or device; a linear
 * model reaches the closed-form solution; a stop request, a target and a limit of time end it; a
 * lack of memory while saving and loading leaves nothing behind. */
#define _POSIX_C_SOURCE 200809L
#include "train/train.h"

#include "base/file.h"
#include "device/buf.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct mt_job *job;
static struct mt_config *config;
static struct mt_session *session;

static void open_session(const char *text)
{
    const struct mt_session_opt opt = {.mode = MT_SESSION_TRAIN};
    struct mt_dev_info *list = NULL;
    int n = 0;

    assert_int_equal(mt_job_new(NULL, NULL, NULL, NULL, &job), 0);
    assert_int_equal(mt_job_devices(job, &list, &n), 0);
    mt_free(job->ctx, list);
    if (n == 0) {
        printf("SKIP opencl: no device\n");
        exit(77);
    }
    assert_int_equal(mt_config_parse(job->ctx, text, "test", NULL, 0, &config), 0);
    if (mt_session_new(job, config, &opt, &session) != 0) {
        fail_msg("%s", mt_err_text());
    }
}

static void close_session(void)
{
    int64_t live;

    mt_session_free(session);
    mt_config_free(config);
    mt_free(job->ctx, job->device);
    mt_dev_close(job->dev);
    job->dev = NULL;
    job->device = NULL;
    live = job->ctx->mem.live;
    assert_in_range(live, 1, 64);   /* the job and its link alone */
    mt_job_free(job);
}

/* ---- allocation ----------------------------------------------------------------------------- */

struct counts {
    int64_t host;
    uint64_t device;
    int calls, grew;
};

static int count(void *arg, const motley_progress *p)
{
    struct counts *c = arg;
    int64_t host = mt_mem_requests(job->ctx);
    uint64_t device = mt_dev_allocations(job->dev);

    /* The first steps fill the pipeline; from the second report on nothing may be asked for. */
    if (p->event == MOTLEY_AT_STEP && c->calls++ > 0 && (host != c->host || device != c->device)) {
        c->grew++;
    }
    c->host = host;
    c->device = device;
    return 0;
}

static void test_no_allocation(void **state)
{
    struct counts c = {0};
    struct mt_train_opt opt = {.progress = count, .arg = &c};

    (void)state;
    open_session("data: {format: digits, n: 130, held: 30, size: 8}\n"
                 "model: [flatten, linear: 16, relu, dropout: 0.2, linear: 10]\n"
                 "loss: cross_entropy\n"
                 "optimizer: adamw\n"
                 "train: {batch: 20, micro_batches: 2, clip_norm: 1, steps: 40, log_every: 1,\n"
                 "        eval_every: 1000}\n");
    assert_int_equal(mt_train(session, &opt), 0);
    assert_int_equal(c.calls, 40);
    assert_int_equal(c.grew, 0);
    close_session();
}

/* ---- closed form ----------------------------------------------------------------------------- */

#define INPUTS 10
#define N (INPUTS + 1)   /* with the constant one for the bias */

/* Solves A w = b by elimination with pivots; A and b are destroyed. */
static void solve(double a[N][N], double b[N], double w[N])
{
    for (int k = 0; k < N; k++) {
        int top = k;

        for (int i = k + 1; i < N; i++) {
            top = fabs(a[i][k]) > fabs(a[top][k]) ? i : top;
        }
        for (int j = 0; j < N; j++) {
            double t = a[k][j];

            a[k][j] = a[top][j];
            a[top][j] = t;
        }
        w[0] = b[k];
        b[k] = b[top];
        b[top] = w[0];
        for (int i = k + 1; i < N; i++) {
            double f = a[i][k] / a[k][k];

            for (int j = k; j < N; j++) {
                a[i][j] -= f * a[k][j];
            }
            b[i] -= f * b[k];
        }
    }
    for (int k = N - 1; k >= 0; k--) {
        w[k] = b[k];
        for (int j = k + 1; j < N; j++) {
            w[k] -= a[k][j] * w[j];
        }
        w[k] /= a[k][k];
    }
}

/* The normal equations over the training set, in double. */
static void closed_form(const struct mt_set *set, double w[N])
{
    double a[N][N] = {{0}}, b[N] = {0};

    for (int64_t i = 0; i < set->n; i++) {
        float x[INPUTS], y;
        double v[N];

        assert_int_equal(set->fetch(set, i, x, &y), 0);
        for (int j = 0; j < INPUTS; j++) {
            v[j] = (double)x[j];
        }
        v[INPUTS] = 1;
        for (int j = 0; j < N; j++) {
            for (int k = 0; k < N; k++) {
                a[j][k] += v[j] * v[k];
            }
            b[j] += v[j] * (double)y;
        }
    }
    solve(a, b, w);
}

static void test_closed_form(void **state)
{
    struct mt_train_opt opt = {0};
    struct mt_buf *buf = NULL;
    struct mt_range r;
    double want[N];
    float got[N];

    (void)state;
    open_session("data: {format: linear, n: 10000, inputs: 10}\n"
                 "model: [linear: 1]\n"
                 "loss: mse\n"
                 "optimizer: {type: sgd, lr: 0.2}\n"
                 "train: {batch: 10000, steps: 200, eval_every: 1000}\n");
    assert_int_equal(session->data->train->sample.x_size, INPUTS);
    assert_int_equal(mt_train(session, &opt), 0);
    closed_form(session->data->train, want);
    assert_int_equal(mt_session_param(session, "linear1.weight", &buf, &r), 0);
    assert_int_equal(r.hi - r.lo, INPUTS);
    assert_int_equal(mt_buf_read(buf, 4 * r.lo, 4 * INPUTS, got), 0);
    assert_int_equal(mt_session_param(session, "linear1.bias", &buf, &r), 0);
    assert_int_equal(mt_buf_read(buf, 4 * r.lo, 4, got + INPUTS), 0);
    for (int j = 0; j < N; j++) {
        if (!(fabs((double)got[j] - want[j]) <= 1e-4)) {
            fail_msg("weight %d is %.7f, the closed form says %.7f", j, (double)got[j], want[j]);
        }
    }
    close_session();
}

/* ---- ends ------------------------------------------------------------------------------------ */

#define SMALL(train)                                                                          \
    "data: {format: digits, n: 400, held: 100, size: 8}\n"                                    \
    "model: [flatten, linear: 32, relu, linear: 10]\n"                                        \
    "loss: cross_entropy\n"                                                                   \
    "optimizer: {type: adam, lr: 3e-3}\n"                                                     \
    "train: {batch: 40, log_every: 1, " train "}\n"

struct end {
    char reason[32];
    int64_t step, stop_at;
    double accuracy;
};

static int watch(void *arg, const motley_progress *p)
{
    struct end *e = arg;

    if (p->event == MOTLEY_AT_END) {
        snprintf(e->reason, sizeof e->reason, "%s", p->reason);
        e->step = p->step;
    }
    if (p->event == MOTLEY_AT_EVAL) {
        e->accuracy = p->accuracy;
    }
    return p->event == MOTLEY_AT_STEP && p->step == e->stop_at;
}

static void run_to_end(const char *text, struct end *e, int want)
{
    struct mt_train_opt opt = {.progress = watch, .arg = e};

    open_session(text);
    assert_int_equal(mt_train(session, &opt), want);
    close_session();
}

static void test_ends(void **state)
{
    struct end e = {.stop_at = -1};

    (void)state;
    run_to_end(SMALL("steps: 7"), &e, MOTLEY_OK);
    assert_string_equal(e.reason, "steps");
    assert_int_equal(e.step, 7);
    run_to_end(SMALL("epochs: 2"), &e, MOTLEY_OK);
    assert_string_equal(e.reason, "epochs");
    assert_int_equal(e.step, 20);
    run_to_end(SMALL("target_accuracy: 0.5, eval_every: 5"), &e, MOTLEY_OK);
    assert_string_equal(e.reason, "target");
    assert_int_equal(e.step % 5, 0);
    assert_true(e.accuracy >= 0.5);
    run_to_end(SMALL("seconds: 0.3"), &e, MOTLEY_OK);
    assert_string_equal(e.reason, "time");
    e.stop_at = 3;
    run_to_end(SMALL("epochs: 100"), &e, MOTLEY_ESTOP);
    assert_string_equal(e.reason, "stop");
    assert_in_range(e.step, 3, 8);
}

static void test_not_a_number(void **state)
{
    struct mt_train_opt opt = {0};

    (void)state;
    open_session("data: {format: linear, n: 100}\nmodel: [linear: 1]\nloss: mse\n"
                 "optimizer: {type: sgd, lr: 1e6}\ntrain: {batch: 10, epochs: 30}\n");
    assert_int_equal(mt_train(session, &opt), MOTLEY_ENUM);
    assert_non_null(strstr(mt_err_text(), "is not a number any more"));
    close_session();
}

/* Calls with request 1, 2, ... of memory refused, until one succeeds. */
static void refuse_memory(int (*call)(const char *path), const char *path)
{
    const int64_t live = job->ctx->mem.live;
    int code = MOTLEY_EMEM, k;

    for (k = 1; code == MOTLEY_EMEM && k < 1000; k++) {
        job->ctx->mem.fail_at = mt_mem_requests(job->ctx) + k;
        code = call(path);
        job->ctx->mem.fail_at = 0;
        assert_int_equal(job->ctx->mem.live, live + (code == MOTLEY_OK && session->loaded != NULL));
    }
    assert_int_equal(code, MOTLEY_OK);
    assert_true(k > 5);
}

static int save(const char *path)
{
    return mt_session_save(session, path);
}

static int load(const char *path)
{
    return mt_session_load_path(session, path, 0);
}

static void test_memory(void **state)
{
    const char *tmp = getenv("TMPDIR");
    char path[4096];

    (void)state;
    snprintf(path, sizeof path, "%s/loop-memory", tmp != NULL ? tmp : "/tmp");
    open_session("data: {format: linear, n: 100}\nmodel: [linear: 3, relu, linear: 1]\nloss: mse\n"
                 "optimizer: adam\ntrain: {batch: 10, steps: 2}\n");
    refuse_memory(save, path);
    refuse_memory(load, path);
    assert_int_equal(mt_dir_remove(job->ctx, path), 0);
    close_session();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_allocation), cmocka_unit_test(test_closed_form),
        cmocka_unit_test(test_ends), cmocka_unit_test(test_not_a_number),
        cmocka_unit_test(test_memory)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
