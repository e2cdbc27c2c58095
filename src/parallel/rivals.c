/* rivals.c -- see rivals.h. */
#include "parallel/rivals.h"

#include "base/ctx.h"

#include <string.h>

static int inside(const struct mt_rival *a, const struct mt_rival *b)
{
    uint64_t any = 0, outside = 0;

    for (int i = 0; i < MT_RIVAL_WORDS; i++) {
        any |= a->processor[i];
        outside |= a->processor[i] & ~b->processor[i];
    }
    return any != 0 && outside == 0;
}

static int beats(const struct mt_rival *a, const struct mt_rival *b)
{
    return a->cpu && b->cpu && a->host == b->host && strcmp(a->platform, b->platform) != 0 &&
           inside(b, a);
}

void mt_rivals(int n, const struct mt_rival *rank, const double *seconds, int *by)
{
    for (int r = 0; r < n; r++) {
        by[r] = -2;   /* not decided */
    }
    for (int turn = 0; turn < n; turn++) {
        int fastest = -1;

        for (int r = 0; r < n; r++) {
            if (by[r] == -2 && (fastest < 0 || seconds[r] < seconds[fastest])) {
                fastest = r;
            }
        }
        if (fastest < 0) {
            break;
        }
        by[fastest] = -1;
        for (int r = 0; r < n; r++) {
            if (by[r] == -2 && beats(&rank[fastest], &rank[r])) {
                by[r] = fastest;
            }
        }
    }
}

int mt_rivals_without(const struct mt_cluster *c, const int *by, int *rank,
                      struct mt_cluster **out)
{
    struct mt_cluster *sub = NULL;
    int st;

    MT_TRY(MT_NEW(c->ctx, &sub));
    *sub = *c;
    sub->kind = sub->host = NULL;
    sub->nrank = 0;
    MT_TRY_OR(fail, MT_NEW_N(c->ctx, c->nrank, &sub->kind));
    MT_TRY_OR(fail, MT_NEW_N(c->ctx, c->nrank, &sub->host));
    for (int r = 0; r < c->nrank; r++) {
        if (by[r] < 0) {
            rank[sub->nrank] = r;
            sub->kind[sub->nrank] = c->kind[r];
            sub->host[sub->nrank++] = c->host[r];
        }
    }
    *out = sub;
    return MOTLEY_OK;
fail:
    mt_rivals_free(sub);
    return st;
}

void mt_rivals_free(struct mt_cluster *sub)
{
    if (sub != NULL) {
        mt_free(sub->ctx, sub->kind);
        mt_free(sub->ctx, sub->host);
        mt_free(sub->ctx, sub);
    }
}
