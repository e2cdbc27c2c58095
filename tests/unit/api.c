/* api.c -- motley.h as a stranger uses it: wrong arguments are refused by words, options of other
 * versions are understood or refused, own arrays train, parameters can be read and set, weights
 * survive a folder, predictions and lists are what they say. */
#define _POSIX_C_SOURCE 200809L
#include "motley.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const text = "model: [linear: 8, relu, linear: 3]\n"
                                "loss: cross_entropy\n"
                                "optimizer: {type: sgd, lr: 0.1}\n"
                                "train: {batch: 6, steps: 100}\n";

static motley_ctx *ctx;
static motley_config *config;
static motley_run *run;

static int begin(void **state)
{
    motley_run_opt opt = MOTLEY_INIT(motley_run_opt);

    (void)state;
    opt.own_arrays = 1;
    opt.x_rank = 1;
    opt.x_dim[0] = 4;
    opt.classes = 3;
    return motley_ctx_new(NULL, &ctx) < 0 ||
           motley_config_parse(ctx, text, NULL, NULL, 0, &config) < 0 ||
           motley_run_new(ctx, config, &opt, &run) < 0;
}

static int end(void **state)
{
    (void)state;
    motley_run_free(run);
    motley_config_free(config);
    motley_ctx_free(ctx);
    return 0;
}

#define REFUSED(call, code, words)                                                            \
    do {                                                                                      \
        assert_int_equal((call), (code));                                                     \
        if (strstr(motley_error(), (words)) == NULL) {                                        \
            fail_msg("%s says: %s", #call, motley_error());                                   \
        }                                                                                     \
    } while (0)

/* Six samples of three classes, easy to tell apart. */
static const float x[6][4] = {{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0},
                              {1, 0, 0, 1}, {0, 1, 0, 1}, {0, 0, 1, 1}};
static const int32_t y[6] = {0, 1, 2, 0, 1, 2};

static void test_arguments(void **state)
{
    motley_run_opt opt = MOTLEY_INIT(motley_run_opt);
    motley_stats stats = MOTLEY_INIT(motley_stats);
    motley_param param = MOTLEY_INIT(motley_param);
    motley_config *none = NULL;
    motley_run *other = NULL;
    float v[4];
    struct {
        motley_fit_opt opt;
        char more[8];
    } newer = {.opt = {.size = sizeof newer}};

    (void)state;
    REFUSED(motley_ctx_new(NULL, NULL), MOTLEY_EARG, "out is NULL");
    REFUSED(motley_config_load(ctx, NULL, NULL, 0, &none), MOTLEY_EARG, "path is NULL");
    REFUSED(motley_config_load(ctx, "/nowhere/x.yaml", NULL, 0, &none), MOTLEY_EFILE,
            "/nowhere/x.yaml");
    REFUSED(motley_config_parse(ctx, "train: {bach: 3}", "t", NULL, 0, &none), MOTLEY_ECONFIG,
            "t:1:9: unknown key 'bach'");
    REFUSED(motley_run_new(ctx, config, &(motley_run_opt){0}, &other), MOTLEY_EARG,
            "use MOTLEY_INIT");
    REFUSED(motley_run_new(ctx, config, NULL, &other), MOTLEY_ECONFIG, "no `data`");
    opt.own_arrays = 1;
    REFUSED(motley_run_new(ctx, config, &opt, &other), MOTLEY_EARG, "x_rank is 0");
    opt.x_rank = 1;
    opt.x_dim[0] = 4;
    REFUSED(motley_run_new(ctx, config, &opt, &other), MOTLEY_EARG, "either classes or y_size");
    REFUSED(motley_step(run, x[0], y, 7, NULL), MOTLEY_EARG, "must be 0 to 6");
    REFUSED(motley_step(run, NULL, y, 6, NULL), MOTLEY_EARG, "is NULL");
    stats.size = 0;
    REFUSED(motley_step(run, x[0], y, 6, &stats), MOTLEY_EARG, "use MOTLEY_INIT");
    stats.size = sizeof stats;
    REFUSED(motley_eval(run, &stats), MOTLEY_ECONFIG, "nothing is held out");
    REFUSED(motley_fit(run, NULL), MOTLEY_EARG, "use motley_step");
    newer.more[3] = 1;
    REFUSED(motley_fit(run, &newer.opt), MOTLEY_EARG, "does not know");
    REFUSED(motley_param_get(run, "nothing.weight", v, 4), MOTLEY_EARG,
            "no parameter 'nothing.weight'");
    REFUSED(motley_param_get(run, "linear1.bias", v, 4), MOTLEY_EARG, "has 8 numbers, not 4");
    REFUSED(motley_param_info(run, 4, &param), MOTLEY_EARG, "has 4 parameters");
    REFUSED(motley_load(run, "/nowhere", MOTLEY_LOAD_ALL), MOTLEY_EFILE, "/nowhere");
    assert_string_equal(motley_status_text(MOTLEY_EDEV), "device failed");
    assert_int_equal(motley_api_version(), MOTLEY_API_VERSION);
    REFUSED(motley_trace_save(ctx, "trace.json"), MOTLEY_EARG, "motley_run_opt.trace");
    opt.classes = 3;
    opt.trace = 1;
    REFUSED(motley_run_new(ctx, config, &opt, &other), MOTLEY_EUNSUP,
            "before the device is opened");
    motley_run_free(NULL);
    motley_config_free(NULL);
    motley_ctx_free(NULL);
}

static void test_steps(void **state)
{
    motley_stats stats = MOTLEY_INIT(motley_stats);
    motley_run_info info = MOTLEY_INIT(motley_run_info);
    double first = 0;
    float raw[6][3], p[6][3];

    (void)state;
    for (int i = 0; i < 100; i++) {
        /* Fewer samples than planned now and then. */
        assert_int_equal(motley_step(run, x[0], y, i % 7 == 3 ? 5 : 6, &stats), MOTLEY_OK);
        assert_int_equal(stats.step, i + 1);
        assert_int_equal(stats.samples, i % 7 == 3 ? 5 : 6);
        first = i == 0 ? stats.loss : first;
    }
    assert_true(stats.loss < 0.5 * first);
    assert_true(stats.accuracy == 1);
    assert_int_equal(motley_run_get_info(run, &info), MOTLEY_OK);
    assert_int_equal(info.step, 100);
    assert_int_equal(info.weights, 4 * 8 + 8 + 8 * 3 + 3);
    assert_int_equal(info.out_size, 3);
    assert_string_equal(info.loss, "cross_entropy");
    assert_int_equal(motley_predict(run, x[0], 6, MOTLEY_OUT_RAW, raw[0]), MOTLEY_OK);
    assert_int_equal(motley_predict(run, x[0], 6, MOTLEY_OUT_PROBABILITY, p[0]), MOTLEY_OK);
    for (int i = 0; i < 6; i++) {
        double sum = 0;

        for (int k = 0; k < 3; k++) {
            sum += exp((double)raw[i][k]);
        }
        for (int k = 0; k < 3; k++) {
            assert_true(fabs((double)p[i][k] - exp((double)raw[i][k]) / sum) < 1e-6);
            assert_true(p[i][k] <= p[i][y[i]]);
        }
    }
}

static void test_params(void **state)
{
    static const char *const names[] = {"linear1.weight", "linear1.bias", "linear2.weight",
                                        "linear2.bias"};
    motley_param param = MOTLEY_INIT(motley_param);
    float w[32], back[32], before[6][3], after[6][3];
    char folder[512];

    (void)state;
    assert_int_equal(motley_param_count(run), 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(motley_param_info(run, i, &param), MOTLEY_OK);
        assert_string_equal(param.name, names[i]);
        assert_int_equal(param.trained, 1);
    }
    assert_int_equal(motley_param_info(run, 0, &param), MOTLEY_OK);
    assert_int_equal(param.rank, 2);
    assert_int_equal(param.dim[0], 8);
    assert_int_equal(param.dim[1], 4);
    for (int i = 0; i < 32; i++) {
        w[i] = (float)i / 16 - 1;
    }
    assert_int_equal(motley_param_set(run, "linear1.weight", w, 32), MOTLEY_OK);
    assert_int_equal(motley_param_get(run, "linear1.weight", back, 32), MOTLEY_OK);
    assert_memory_equal(w, back, sizeof w);

    /* Through a folder and back. */
    snprintf(folder, sizeof folder, "%s/motley-api-%ld",
             getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp", (long)getpid());
    assert_int_equal(motley_predict(run, x[0], 6, MOTLEY_OUT_RAW, before[0]), MOTLEY_OK);
    assert_int_equal(motley_save(run, folder), MOTLEY_OK);
    assert_int_equal(motley_save(run, folder), MOTLEY_OK);   /* replaces */
    memset(w, 0, sizeof w);
    assert_int_equal(motley_param_set(run, "linear1.weight", w, 32), MOTLEY_OK);
    assert_int_equal(motley_predict(run, x[0], 6, MOTLEY_OUT_RAW, after[0]), MOTLEY_OK);
    assert_memory_not_equal(before, after, sizeof before);
    assert_int_equal(motley_load(run, folder, MOTLEY_LOAD_ALL), MOTLEY_OK);
    assert_string_equal(motley_loaded(run), folder);
    assert_int_equal(motley_predict(run, x[0], 6, MOTLEY_OUT_RAW, after[0]), MOTLEY_OK);
    assert_memory_equal(before, after, sizeof before);
    for (int i = 0; i < 3; i++) {
        static const char *const files[] = {"manifest.json", "model.safetensors",
                                            "optim.safetensors"};
        char path[600];

        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(folder), 0);
}

static void count_line(void *arg, const char *line)
{
    *(int *)arg += strchr(line, '\n') == NULL;
}

static void count_entry(void *arg, const motley_entry *e)
{
    *(int *)arg += e->name != NULL && e->name[0] != '\0' && e->size == sizeof *e;
}

static void test_lists(void **state)
{
    const motley_device *device = NULL;
    const motley_seat *seat = NULL;
    int n = 0, lines = 0;

    (void)state;
    assert_int_equal(motley_devices(ctx, &device, &n), MOTLEY_OK);
    assert_true(n > 0 && device[0].name[0] != '\0' && device[0].memory_bytes > 0);
    assert_int_equal(motley_seats(ctx, &seat, &n), MOTLEY_OK);
    assert_int_equal(n, 1);
    assert_int_equal(seat[0].rank, 0);
    assert_int_equal(motley_plan_print(run, 0, count_line, &lines), MOTLEY_OK);
    assert_in_range(lines, 5, 20);
    lines = 0;
    assert_int_equal(motley_plan_print(run, 1, count_line, &lines), MOTLEY_OK);
    assert_true(lines > 20);
    lines = 0;
    assert_int_equal(motley_config_print(config, count_line, &lines), MOTLEY_OK);
    assert_true(lines > 20);
    for (int what = MOTLEY_LIST_LIBRARIES; what <= MOTLEY_LIST_ENVIRONMENT; what++) {
        int entries = 0;

        assert_int_equal(motley_list(ctx, what, count_entry, &entries), MOTLEY_OK);
        assert_true(entries > 0);
    }
    REFUSED(motley_list(ctx, 99, count_entry, &n), MOTLEY_EARG, "no list 99");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_arguments, begin, end),
        cmocka_unit_test_setup_teardown(test_steps, begin, end),
        cmocka_unit_test_setup_teardown(test_params, begin, end),
        cmocka_unit_test_setup_teardown(test_lists, begin, end)};
    const motley_device *device = NULL;
    int n = 0;

    if (motley_ctx_new(NULL, &ctx) == MOTLEY_OK && motley_devices(ctx, &device, &n) == MOTLEY_OK &&
        n == 0) {
        printf("SKIP opencl: no device\n");
        return 77;
    }
    motley_ctx_free(ctx);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
