/* way.c -- proves: below mt_way_limit, and only there, the seconds of sending whole arrays are less
 * than those of sending parts, by the sums of all messages of the busiest host; the limit is none
 * where nothing was measured or ranks add to different bits; between two ranks only adding speaks
 * against whole arrays. */
#include "comm/link.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* Seconds of `rounds` rounds in which each rank sends `bytes` to each other one, by counting the
 * messages that each rank has and that leave each host; ranks of one host are added up. */
static double seconds(const struct mt_links *l, int hosts, int each, int rounds, double bytes,
                      double added)
{
    double worst = 0, latency = hosts > 1 ? l->far_latency : l->near_latency;
    int n = hosts * each;

    for (int host = 0; host < hosts; host++) {
        double leaving = 0, inside = 0;

        for (int r = host * each; r < (host + 1) * each; r++) {
            inside = 0;
            for (int to = 0; to < n; to++) {
                inside += to != r && to / each == host ? bytes : 0;
                leaving += to / each != host ? bytes : 0;
            }
        }
        worst = fmax(worst, inside / l->near_rate + (hosts > 1 ? leaving / l->far_rate : 0));
    }
    return rounds * (latency + (n - 1) * l->near_latency + worst) + added / l->add_rate;
}

static void limit(void **state)
{
    static const struct mt_links some[] = {
        {1, 1e-6, 4e9, 0, INFINITY, 1e10, 1},
        {1, 1e-6, 4e9, 50e-6, 1.2e8, 1e10, 1},
        {1, 2e-6, 2e9, 1e-3, 1.2e8, 5e9, 1},
        {1, 1e-6, 4e9, 5e-3, 1.2e9, 1e10, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        for (int hosts = 1; hosts <= (some[i].far_latency > 0 ? 8 : 1); hosts++) {
            for (int each = 1; each <= 4; each++) {
                int n = hosts * each;
                struct mt_crowd c = {n, hosts, each, (double)each * (n - each)};
                double most = mt_way_limit(&some[i], &c);

                if (n == 1) {
                    assert_true(most == 0);
                    continue;
                }
                for (double b = 0.9 * most; b < 1.2 * most; b += 0.2 * most) {
                    double whole = seconds(&some[i], hosts, each, 1, b, (n - 1) * b);
                    double parts = seconds(&some[i], hosts, each, 2, b / n, (n - 1) * b / n);

                    assert_int_equal(whole < parts, b < most);
                }
            }
        }
    }
}

static void none(void **state)
{
    struct mt_links l = {1, 1e-6, 4e9, 1e-3, 1e8, 1e10, 1};
    struct mt_crowd pair = {2, 2, 1, 1}, four = {4, 4, 1, 3};

    (void)state;
    assert_true(mt_way_limit(&l, &four) > 1e4 && mt_way_limit(&l, &four) < 1e5);
    assert_true(mt_way_limit(&l, &pair) > 1e7);
    l.alike = 0;
    assert_true(mt_way_limit(&l, &pair) == 0);
    l.alike = 1;
    l.known = 0;
    assert_true(mt_way_limit(&l, &pair) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(limit), cmocka_unit_test(none)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
