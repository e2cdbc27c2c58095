/* loader.c -- proves: blocks read ahead hold exactly what the set gives, in the order of the
 * epoch, each sample once an epoch whatever the block size; requests beyond the depth, out of
 * range or waited for out of order are refused; a failure of the set reaches the thread that
 * waits, with its text, and the next request is served; releasing with requests open neither
 * hangs nor writes later (thread and address sanitizers); failing allocations leave nothing. */
#define _POSIX_C_SOURCE 200809L
#include "datakit.h"

#include <time.h>

/* Sample i is i, i+1/2 with label i or targets -i, i*i; number `bad` fails; `slow`: 1 ms each. */
struct own {
    int64_t bad;
    int slow;
};

static int fetch(const struct mt_set *s, int64_t i, float *x, void *y)
{
    const struct own *o = s->own;

    MT_CHECK(i != o->bad, MOTLEY_EFILE, "sample %d cannot be read", (int)i);
    if (o->slow) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    x[0] = (float)i;
    x[1] = (float)i + 0.5f;
    if (s->sample.classes > 0) {
        *(int32_t *)y = (int32_t)i;
    } else {
        ((float *)y)[0] = -(float)i;
        ((float *)y)[1] = (float)(i * i);
    }
    return MOTLEY_OK;
}

static struct mt_set make(struct mt_ctx *ctx, struct own *o, int64_t n, int64_t classes)
{
    struct mt_set s = {.ctx = ctx, .n = n, .fetch = fetch, .own = o};

    s.sample.x_rank = 1;
    s.sample.x_dim[0] = s.sample.x_size = 2;
    s.sample.classes = classes;
    s.sample.y_size = classes > 0 ? 0 : 2;
    return s;
}

static struct mt_ctx *new_ctx(void)
{
    struct mt_ctx *ctx = NULL;

    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), 0);
    return ctx;
}

/* One epoch of n in blocks of `block` over a loader of `depth`; labels seen are counted. */
static void epoch(struct mt_ctx *ctx, int64_t n, int64_t block, int depth, int64_t number,
                  int *seen)
{
    struct own o = {.bad = -1};
    struct mt_set s = make(ctx, &o, n, n);
    struct mt_loader *l = NULL;
    float x[8][64][2];
    int32_t y[8][64];
    uint64_t ticket[8];
    int64_t asked = 0, waited = 0, blocks = (n + block - 1) / block;

    assert_true(depth <= 8 && block <= 64);
    assert_int_equal(mt_loader_new(ctx, depth, &l), 0);
    while (waited < blocks) {
        for (; asked < blocks && asked - waited < depth; asked++) {
            int64_t first = asked * block, k = asked % depth;
            struct mt_fetch r = {.set = &s, .seed = 5, .epoch = number, .first = first,
                                .count = first + block < n ? block : n - first, .shuffle = 1,
                                .x = &x[k][0][0], .y = y[k]};

            assert_int_equal(mt_loader_ask(l, &r, &ticket[k]), 0);
        }
        assert_int_equal(mt_loader_wait(l, ticket[waited % depth]), 0);
        for (int64_t p = waited * block; p < n && p < (waited + 1) * block; p++) {
            int64_t i = mt_data_order(5, number, p, n, 1), k = waited % depth, q = p % block;

            assert_int_equal(y[k][q], i);
            assert_true(x[k][q][0] == (float)i && x[k][q][1] == (float)i + 0.5f);
            seen[i]++;
        }
        waited++;
    }
    mt_loader_free(l);
}

static void each_once(void **state)
{
    static const int64_t block[] = {1, 7, 16, 64};
    static const int depth[] = {1, 2, 3, 8};
    struct mt_ctx *ctx = new_ctx();

    (void)state;
    for (int b = 0; b < 4; b++) {
        for (int d = 0; d < 4; d++) {
            int seen[203] = {0};

            epoch(ctx, 203, block[b], depth[d], b + d, seen);
            for (int i = 0; i < 203; i++) {
                assert_int_equal(seen[i], 1);
            }
        }
    }
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void targets(void **state)
{
    struct mt_ctx *ctx = new_ctx();
    struct own o = {.bad = -1};
    struct mt_set s = make(ctx, &o, 9, 0);
    struct mt_loader *l = NULL;
    float x[9][2], y[9][2];
    struct mt_fetch r = {.set = &s, .count = 9, .x = &x[0][0], .y = y};
    uint64_t ticket;

    (void)state;
    assert_int_equal(mt_loader_new(ctx, 1, &l), 0);
    assert_int_equal(mt_loader_ask(l, &r, &ticket), 0);
    assert_int_equal(mt_loader_wait(l, ticket), 0);
    for (int i = 0; i < 9; i++) {
        assert_true(x[i][0] == (float)i && y[i][0] == -(float)i && y[i][1] == (float)(i * i));
    }
    mt_loader_free(l);
    mt_ctx_free(ctx);
}

static void refused(void **state)
{
    struct mt_ctx *ctx = new_ctx();
    struct own o = {.bad = -1};
    struct mt_set s = make(ctx, &o, 10, 10);
    struct mt_loader *l = NULL;
    float x[20];
    int32_t y[10];
    struct mt_fetch r = {.set = &s, .count = 5, .x = x, .y = y}, wrong = r;
    uint64_t ticket[3] = {0};

    (void)state;
    assert_int_equal(mt_loader_new(ctx, 0, &l), MOTLEY_EARG);
    assert_string_equal(mt_err_text(), "reading ahead: depth is 0, must be 1 or more");
    assert_int_equal(mt_loader_new(ctx, 2, &l), 0);
    assert_int_equal(mt_loader_wait(l, 0), MOTLEY_EARG);   /* nothing was asked for */
    wrong.first = 6;
    assert_int_equal(mt_loader_ask(l, &wrong, &ticket[0]), MOTLEY_EARG);
    assert_string_equal(mt_err_text(),
                        "reading ahead: positions 6 to 10 of a set of 10 samples");
    wrong.first = -1;
    assert_int_equal(mt_loader_ask(l, &wrong, &ticket[0]), MOTLEY_EARG);
    wrong.first = 0;
    wrong.count = INT64_MAX;
    assert_int_equal(mt_loader_ask(l, &wrong, &ticket[0]), MOTLEY_EARG);

    assert_int_equal(mt_loader_ask(l, &r, &ticket[0]), 0);
    assert_int_equal(mt_loader_ask(l, &r, &ticket[1]), 0);
    assert_int_equal(mt_loader_ask(l, &r, &ticket[2]), MOTLEY_EARG);
    assert_string_equal(mt_err_text(), "reading ahead: 2 requests are open, no more fit");
    assert_int_equal(mt_loader_wait(l, ticket[1]), MOTLEY_EARG);
    assert_string_equal(mt_err_text(), "reading ahead: ticket 1 is not the next to wait for");
    assert_int_equal(mt_loader_wait(l, ticket[0]), 0);
    assert_int_equal(mt_loader_wait(l, ticket[0]), MOTLEY_EARG);
    assert_int_equal(mt_loader_ask(l, &r, &ticket[2]), 0);
    assert_int_equal(mt_loader_wait(l, ticket[1]), 0);
    assert_int_equal(mt_loader_wait(l, ticket[2]), 0);
    mt_loader_free(l);
    mt_ctx_free(ctx);
}

static void failure_travels(void **state)
{
    struct mt_ctx *ctx = new_ctx();
    struct own o = {.bad = 7};
    struct mt_set s = make(ctx, &o, 30, 30);
    struct mt_loader *l = NULL;
    float x[3][20];
    int32_t y[3][10];
    uint64_t ticket[3];

    (void)state;
    assert_int_equal(mt_loader_new(ctx, 3, &l), 0);
    for (int k = 0; k < 3; k++) {
        struct mt_fetch r = {.set = &s, .first = 10 * ((k + 1) % 3), .count = 10, .x = x[k],
                            .y = y[k]};

        assert_int_equal(mt_loader_ask(l, &r, &ticket[k]), 0);
    }
    assert_int_equal(mt_loader_wait(l, ticket[0]), 0);
    assert_int_equal(mt_loader_wait(l, ticket[1]), 0);
    mt_err_clear();
    assert_int_equal(mt_loader_wait(l, ticket[2]), MOTLEY_EFILE);
    assert_string_equal(mt_err_text(), "sample 7 cannot be read");
    assert_int_equal(y[0][9], 19);
    {
        struct mt_fetch r = {.set = &s, .first = 20, .count = 10, .x = x[0], .y = y[0]};

        assert_int_equal(mt_loader_ask(l, &r, &ticket[0]), 0);
        assert_int_equal(mt_loader_wait(l, ticket[0]), 0);
        assert_int_equal(y[0][9], 29);
    }
    mt_loader_free(l);
    mt_ctx_free(ctx);
}

/* The blocks are released right after the loader: a late write would be seen by the sanitizer.
 * 2000 samples of 1 ms: waiting for them would take longer than the limit. */
static void dropped(void **state)
{
    struct mt_ctx *ctx = new_ctx();
    struct own o = {.bad = -1, .slow = 1};
    struct mt_set s = make(ctx, &o, 1000, 1000);
    struct timespec start, end;

    (void)state;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int round = 0; round < 5; round++) {
        struct mt_loader *l = NULL;
        float *x = malloc(4000 * sizeof *x);
        int32_t *y = malloc(2000 * sizeof *y);
        uint64_t ticket;

        assert_int_equal(mt_loader_new(ctx, 2, &l), 0);
        for (int k = 0; k < 2; k++) {
            struct mt_fetch r = {.set = &s, .count = 1000, .x = x + 2000 * k, .y = y + 1000 * k};

            assert_int_equal(mt_loader_ask(l, &r, &ticket), 0);
        }
        if (round > 0) {
            nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
        }
        mt_loader_free(l);
        free(x);
        free(y);
    }
    mt_loader_free(NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true(end.tv_sec - start.tv_sec < 8);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void starved(void **state)
{
    (void)state;
    for (int64_t at = 1; at <= 3; at++) {
        struct mt_ctx *ctx = new_ctx();
        struct mt_loader *l = NULL;

        ctx->mem.fail_at = at;
        assert_int_equal(mt_loader_new(ctx, 4, &l), at <= 2 ? MOTLEY_EMEM : MOTLEY_OK);
        mt_loader_free(l);
        assert_int_equal(ctx->mem.live, 0);
        mt_ctx_free(ctx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_once), cmocka_unit_test(targets), cmocka_unit_test(refused),
        cmocka_unit_test(failure_travels), cmocka_unit_test(dropped), cmocka_unit_test(starved),
    };

    return cmocka_run_group_tests_name("loader", tests, kit_setup, kit_teardown);
}
