/* way.c -- by which way an array is summed over ranks: two rounds of messages, or one.
 *
 *     parts   rank j gets part j from all, adds it, sends the sum to all     2 rounds
 *     whole   every rank sends its whole array to all, and all add it all    1 round
 *
 * With N ranks, B bytes, latency L of a message and o what a rank spends on one, i the other ranks
 * of a host that a rank sends to at rate r, F the messages that leave a host, all its ranks
 * together, at rate R, and a the rate of adding, the seconds are
 *
 *     parts   2 (L + (N-1) o) + 2/N B (i/r + F/R) + (N-1)/N B / a
 *     whole      L + (N-1) o  +     B (i/r + F/R) + (N-1)   B / a
 *
 * so whole is shorter below
 *
 *     B = (L + (N-1) o) / ((1 - 2/N) (i/r + F/R) + (N-1)^2/N / a)
 *
 * With N = 2 as many bytes travel either way. Both give the same bits where all processors add
 * alike, which is looked at (gauge.c). A ring would send what `parts` sends in more rounds, and add
 * in another order in each part. */
#include "comm/link.h"

#include <math.h>

double mt_way_limit(const struct mt_links *l, const struct mt_crowd *c)
{
    double n = c->size, inside = c->fullest - 1;
    double round = (c->hosts > 1 ? l->far_latency : l->near_latency) + (n - 1) * l->near_latency;
    double each = inside / l->near_rate + (c->hosts > 1 ? c->leaving / l->far_rate : 0);
    double adding = (n - 1) * (n - 1) / n / l->add_rate;

    return l->known && l->alike && c->size > 1 ? round / ((1 - 2 / n) * each + adding) : 0;
}

const char *mt_way_name(enum mt_way way)
{
    static const char *const names[] = {"auto", "parts", "whole", "beside"};

    return names[way];
}
