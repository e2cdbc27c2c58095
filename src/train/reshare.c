/* reshare.c -- new shares for a session that trains.
 *
 * Graph, plan and memory of a task are made for the most rows that a rank takes of a batch, so the
 * tasks are made anew if that has become much more or less, on the same parameters and optimizer
 * state; kernels and chosen algorithms are in caches by then. Nothing of the mathematics changes:
 * gradients are sums over the samples of a batch, whoever takes which, and a batch is a range of
 * positions in an epoch. */
#include "train/session.h"

#include <string.h>

static int prepare(struct mt_session *s, const double *weight, double **mine)
{
    int n = s->layout->nreplica;
    double sum = 0;

    MT_CHECK(s->train.exec != NULL, MOTLEY_EARG, "only training has shares that can move");
    for (int r = 0; r < n; r++) {
        MT_CHECK(weight[r] >= 0, MOTLEY_EARG, "the share of replica %d is %g", r, weight[r]);
        sum += weight[r];
    }
    MT_CHECK(sum > 0, MOTLEY_EARG, "all shares are 0");
    MT_TRY(MT_NEW_N(s->ctx, n, mine));
    memcpy(*mine, weight, (size_t)n * sizeof **mine);
    return MOTLEY_OK;
}

int mt_session_reshare(struct mt_session *s, const double *weight, int *taken)
{
    double *before = s->shares, *mine = NULL;
    int st;

    MT_TRY_OR(fail, mt_job_agree(s->job, prepare(s, weight, &mine)));
    s->shares = mine;
    s->moves++;
    st = mt_job_agree(s->job, mt_session_rebuild(s));
    if (st >= 0) {
        for (int r = 0; r < s->layout->nreplica; r++) {
            s->layout->replica[r].share = mine[r];
        }
        mt_free(s->ctx, before);
        *taken = 1;
        return MOTLEY_OK;
    }
    s->shares = before;
    if (st == MOTLEY_ECOMM) {
        goto fail;
    }
    if (s->job->info->rank == 0) {
        mt_log(s->ctx, MT_LOG_WARN, "train", "shares stay as they are: %s", mt_err_text());
    }
    MT_TRY_OR(fail, mt_job_agree(s->job, mt_session_rebuild(s)));
    *taken = 0;
fail:
    mt_free(s->ctx, mine);
    return st;
}

int mt_session_most_rows(struct mt_session *s, int64_t *rows)
{
    int64_t fits = 0, most = s->batch;
    int yes = 0;

    MT_TRY(mt_session_carries(s, most, &yes));
    if (yes) {
        *rows = most;
        return MOTLEY_OK;
    }
    while (most - fits > 1) {
        int64_t mid = fits + (most - fits) / 2;

        MT_TRY(mt_session_carries(s, mid, &yes));
        *(yes ? &fits : &most) = mid;
    }
    *rows = fits;
    return MOTLEY_OK;
}
