/* rivals.c -- proves on cases counted by hand: of two implementations on the same processors the
 * slower one is beaten; not one of the same platform, on another host, with a processor of its
 * own, on a device that is no processor, or beaten only by who is beaten himself; and the cluster
 * that is left has the kinds and hosts of the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/ctx.h"
#include "parallel/rivals.h"

static struct mt_rival card(int host, const char *platform, uint64_t first, uint64_t last_word)
{
    struct mt_rival r = {.host = host, .cpu = 1};

    snprintf(r.platform, sizeof r.platform, "%s", platform);
    r.processor[0] = first;
    r.processor[MT_RIVAL_WORDS - 1] = last_word;
    return r;
}

static void two(struct mt_rival a, struct mt_rival b, double ta, double tb, int by_a, int by_b)
{
    struct mt_rival all[2] = {a, b};
    double seconds[2] = {ta, tb};
    int by[2] = {7, 7};

    mt_rivals(2, all, seconds, by);
    assert_int_equal(by[0], by_a);
    assert_int_equal(by[1], by_b);
}

static void pairs(void **state)
{
    struct mt_rival gpu = card(0, "B", 3, 0);

    (void)state;
    two(card(0, "A", 3, 0), card(0, "B", 3, 0), 1, 9, -1, 0);
    two(card(0, "A", 3, 0), card(0, "B", 3, 0), 9, 1, 1, -1);
    two(card(0, "A", 3, 0), card(0, "B", 3, 0), 1, 1, -1, 0);
    two(card(0, "A", 3, 0), card(0, "B", 2, 0), 1, 9, -1, 0);     /* a part of his */
    two(card(0, "A", 1, 0), card(0, "B", 3, 0), 1, 9, -1, -1);    /* one of its own */
    two(card(0, "A", 1, 0), card(0, "B", 2, 0), 1, 9, -1, -1);
    two(card(0, "A", 1, 0), card(0, "B", 1, 8), 1, 9, -1, -1);    /* ... far up */
    two(card(0, "A", 1, 8), card(0, "B", 1, 8), 1, 9, -1, 0);
    two(card(0, "A", 3, 0), card(0, "A", 3, 0), 1, 9, -1, -1);
    two(card(0, "A", 3, 0), card(1, "B", 3, 0), 1, 9, -1, -1);
    two(card(0, "A", 0, 0), card(0, "B", 0, 0), 1, 9, -1, -1);    /* unknown */
    gpu.cpu = 0;
    two(card(0, "A", 3, 0), gpu, 1, 9, -1, -1);
    two(card(0, "A", 3, 0), gpu, 9, 1, -1, -1);
}

/* Rank 1 beats 0; 2, which only 0 would beat, stays; 4 is beaten on the other host. */
static void several(void **state)
{
    struct mt_rival all[5] = {card(0, "B", 3, 0), card(0, "A", 7, 0), card(0, "A", 1, 0),
                              card(1, "C", 3, 0), card(1, "B", 3, 0)};
    double seconds[5] = {2, 1, 3, 5, 6};
    const int want[5] = {1, -1, -1, -1, 3};
    int by[5], kind[5] = {0, 1, 1, 2, 0}, host[5] = {0, 0, 0, 1, 1}, rank[5];
    struct mt_cluster *sub = NULL;
    struct mt_ctx *ctx = NULL;
    struct mt_cluster all_of_them;

    (void)state;
    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), MOTLEY_OK);
    mt_rivals(5, all, seconds, by);
    for (int r = 0; r < 5; r++) {
        assert_int_equal(by[r], want[r]);
    }
    all_of_them = (struct mt_cluster){.ctx = ctx, .nrank = 5, .nkind = 3, .nhost = 2,
                                      .kind = kind, .host = host, .local = {1, 2}};
    assert_int_equal(mt_rivals_without(&all_of_them, by, rank, &sub), MOTLEY_OK);
    assert_int_equal(sub->nrank, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rank[i], i + 1);
        assert_int_equal(sub->kind[i], kind[i + 1]);
        assert_int_equal(sub->host[i], host[i + 1]);
    }
    assert_true(sub->local.bandwidth == 2 && sub->nhost == 2 && sub->nkind == 3);
    mt_rivals_free(sub);
    mt_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pairs), cmocka_unit_test(several)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
