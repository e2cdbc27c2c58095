/* apart.c -- proves: a rank that is left out is told the figures of every step, the same as the
 * others and as one process has them; its device launches nothing for that, unless gradients are
 * clipped. Whoever is left out: the first rank or the last.
 * Ranks: 2 3 */
#include "train.h"

#include "base/rng.h"
#include "device/buf.h"
#include "train/session.h"

#include <math.h>

enum { B = 12, IN = 6, OUT = 3, STEPS = 6 };

static const char *const TEXT =
    "model: [{linear: 8}, tanh, {linear: 3}]\n"
    "loss: cross_entropy\noptimizer: {type: sgd, lr: 0.1}\ntrain: {batch: 12}\nseed: 3\n";

/* left -1: nobody. loss: of each step. */
static void run_trial(struct job *j, struct mt_job *job, int left, int clip, double *loss)
{
    struct mt_session_opt opt = {.mode = MT_SESSION_TRAIN, .own_arrays = 1,
                                 .sample = {.x_rank = 1, .x_dim = {IN}, .x_size = IN,
                                            .y_size = 1, .classes = OUT}};
    char words[2][512];
    const char *over[2] = {words[0], words[1]};
    struct mt_config *config = NULL;
    struct mt_session *s = NULL;

    snprintf(words[0], sizeof words[0], "train.clip_norm=%g", clip ? 0.5 : 0.0);
    snprintf(words[1], sizeof words[1], "parallel.layout=[");
    for (int r = 0, n = 0; r < j->size; r++) {
        if (r != left) {
            snprintf(words[1] + strlen(words[1]), sizeof words[1] - strlen(words[1]),
                     "%s{share: %d, stages: [{ranks: [%d]}]}", n++ > 0 ? ", " : "", 1 + r, r);
        }
    }
    snprintf(words[1] + strlen(words[1]), sizeof words[1] - strlen(words[1]), "]");
    JOB_DO(j, mt_config_parse(j->ctx, TEXT, "test", over, 2, &config));
    JOB_DO(j, mt_session_new(job, config, &opt, &s));
    JOB_CHECK(j, (s->seat.replica < 0) == (j->rank == left), "%s: rank %d", words[1], j->rank);
    for (int64_t step = 0; step < STEPS; step++) {
        struct mt_rng_key key = mt_rng_key(3, MT_RNG_TEST, (uint64_t)step);
        uint64_t before = mt_dev_launches(job->dev), after;
        struct mt_result r;
        float x[B * IN];
        int32_t y[B];
        int64_t lo, hi;
        double all[8];

        for (uint64_t i = 0; i < B * IN; i++) {
            x[i] = (float)mt_rng_normal(key, i);
        }
        for (uint64_t i = 0; i < B; i++) {
            y[i] = (int32_t)(mt_rng_u32(key, 9000 + i) % OUT);
        }
        mt_session_share(s, B, &lo, &hi);
        JOB_DO(j, mt_session_step(s, x + lo * IN, y + lo, hi - lo, 0.1, &r));
        after = mt_dev_launches(job->dev);
        JOB_CHECK(j, j->rank != left ? after > before : clip || after == before,
                  "%s: %d launches in step %d", words[1], (int)(after - before), (int)step);
        JOB_DO(j, mt_comm_allgather(j->comm, &r.loss, sizeof r.loss, all));
        for (int k = 0; k < j->size; k++) {
            JOB_CHECK(j, all[k] == r.loss && r.samples == B, "%s: step %d: loss %.9g, on rank %d "
                      "%.9g", words[1], (int)step, r.loss, k, all[k]);
        }
        loss[step] = r.loss;
    }
    mt_session_free(s);
    mt_config_free(config);
}

static void run_all(struct job *j, struct mt_job *job)
{
    double want[STEPS], got[STEPS];

    for (int clip = 0; clip < 2; clip++) {
        run_trial(j, job, -1, clip, want);   /* nobody is left out */
        for (int left = 0; left < j->size; left += j->size - 1) {
            run_trial(j, job, left, clip, got);
            for (int i = 0; i < STEPS; i++) {
                /* Sums of 12 rows in another order. */
                JOB_CHECK(j, fabs(got[i] - want[i]) <= 2e-6 * fabs(want[i]),
                          "rank %d left out, step %d: loss %.9g, not %.9g", left, i, got[i],
                          want[i]);
            }
        }
    }
}

int main(void)
{
    return job_train(NULL, run_all);
}
