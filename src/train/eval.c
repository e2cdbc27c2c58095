/* eval.c -- judging held-out data, predicting, and single steps on the caller's samples.
 *
 * Sums of loss, terms and hits come from every process in double and are added in rank order, so
 * all processes get the same figures. */
#include "train/train.h"

#include "device/buf.h"
#include "device/cast.h"

#include <math.h>
#include <string.h>

#define CALLS_PER_READ 64   /* sums stay below 2^24 terms of a float on the device */

struct mt_result mt_session_result(const struct mt_session *s, double loss, double terms,
                                   double hits)
{
    struct mt_result r = {.terms = terms, .loss = terms > 0 ? loss / terms : 0, .accuracy = -1};

    /* Only losses on class numbers count hits. */
    if (s->sample.classes > 0) {
        r.accuracy = terms > 0 ? hits / terms : 0;
    }
    return r;
}

/* Adds what the device has summed up and starts it anew. */
static int drain(struct mt_exec *x, double sum[MT_STATS])
{
    float got[MT_STATS];

    MT_TRY(mt_buf_read(x->stats.buf, 4 * x->stats.off, sizeof got, got));
    for (int i = 0; i < MT_STATS; i++) {
        sum[i] += (double)got[i];
    }
    return mt_exec_clear(x);
}

static int ask(struct mt_session *s, int64_t batch_number)
{
    int64_t n = s->data->held->n, first = batch_number * s->eval_batch, lo, hi;
    int64_t rows = n - first < s->eval_batch ? n - first : s->eval_batch;
    struct mt_feed_ask a = {.seed = s->config->seed};

    mt_session_share(s, rows, &lo, &hi);
    a.first = first + lo;
    a.rows = hi - lo;
    return mt_feed_ask(s->eval.feed, &a);
}

static int run_all(struct mt_session *s, double sum[MT_STATS])
{
    struct mt_task *t = &s->eval;
    int64_t n = (s->data->held->n + s->eval_batch - 1) / s->eval_batch, asked = 0;

    MT_TRY(mt_exec_clear(t->exec));
    for (int64_t i = 0; i < n; i++) {
        struct mt_batch b = {.step = s->pos.step};

        while (asked < n && mt_feed_room(t->feed)) {
            MT_TRY(ask(s, asked++));
        }
        MT_TRY(mt_feed_take(t->feed, &b.x, &b.y));
        b.rows = b.x.spec.dim[0];
        MT_TRY(mt_exec_run(t->exec, &b));
        mt_feed_done(t->feed);
        if (i % CALLS_PER_READ == CALLS_PER_READ - 1) {
            MT_TRY(drain(t->exec, sum));
        }
    }
    return drain(t->exec, sum);
}

int mt_session_eval(struct mt_session *s, struct mt_result *out)
{
    double sum[MT_STATS] = {0};

    MT_CHECK(s->eval.exec != NULL, MOTLEY_ECONFIG,
             "nothing is held out: set data.validation, or give the data a held-out set");
    MT_TRY(run_all(s, sum));
    if (s->seat.part != 0) {
        memset(sum, 0, sizeof sum);   /* all parts of a stage come to the same figures */
    }
    MT_TRY(mt_comm_sum(s->job->comm, sum, MT_STATS));
    *out = mt_session_result(s, sum[MT_STAT_LOSS], sum[MT_STAT_COUNT], sum[MT_STAT_HITS]);
    out->samples = s->data->held->n;
    return MOTLEY_OK;
}

/* ---- prediction ---------------------------------------------------------------------- */

/* What the loss implies: softmax over the outputs, or a sigmoid of each. */
static void to_probability(const char *loss, float *row, int64_t n)
{
    double top = row[0], sum = 0;

    if (strcmp(loss, "bce") == 0) {
        for (int64_t i = 0; i < n; i++) {
            row[i] = (float)(1 / (1 + exp(-(double)row[i])));
        }
    } else if (strcmp(loss, "cross_entropy") == 0) {
        for (int64_t i = 1; i < n; i++) {
            top = row[i] > top ? row[i] : top;
        }
        for (int64_t i = 0; i < n; i++) {
            sum += exp((double)row[i] - top);
        }
        for (int64_t i = 0; i < n; i++) {
            row[i] = (float)(exp((double)row[i] - top) / sum);
        }
    }
}

const char *mt_session_loss(const struct mt_session *s)
{
    const struct mt_tree *t = s->config->loss;

    if (t == NULL || (t->kind != MT_TREE_MAP && t->kind != MT_TREE_SCALAR)) {
        return "";
    }
    return t->kind == MT_TREE_SCALAR ? t->text : t->n > 0 ? t->key[0] : "";
}

int mt_session_predict(struct mt_session *s, const float *x, int64_t n, int probability,
                       float *out)
{
    struct mt_task *t = &s->predict;
    int64_t size;

    MT_TRY(mt_session_need_predict(s));
    size = mt_spec_inner(&t->graph->value[t->graph->output].spec);
    for (int64_t first = 0; first < n; first += t->rows) {
        struct mt_batch b = {.step = s->pos.step};
        struct mt_tensor y;

        b.rows = n - first < t->rows ? n - first : t->rows;
        MT_TRY(mt_feed_put(t->feed, x + first * s->sample.x_size, NULL, b.rows, &b.x, &b.y));
        MT_TRY(mt_exec_run(t->exec, &b));
        y = mt_exec_output(t->exec);
        MT_TRY(mt_cast_read(s->ctx, &y, out + first * size));
    }
    for (int64_t i = 0; i < n && probability; i++) {
        to_probability(mt_session_loss(s), out + i * size, size);
    }
    return MOTLEY_OK;
}

/* ---- the caller's own steps ---------------------------------------------------------- */

/* Position of this process's first sample in the global batch, and the size of that. The
 * processes of one replica have the same samples: one of them counts. */
static int place_rows(struct mt_session *s, int64_t n, int64_t *first, int64_t *total)
{
    int size = s->job->info->size, st = MOTLEY_OK;
    int64_t *all = NULL;

    *first = 0;
    *total = n;
    if (size == 1) {
        return MOTLEY_OK;
    }
    MT_TRY(MT_NEW_N(s->ctx, size, &all));
    MT_TRY_OR(done, mt_comm_allgather(s->job->comm, &n, sizeof n, all));
    *total = 0;
    for (int r = 0; r < size; r++) {
        struct mt_seat_in seat;

        mt_layout_where(s->layout, r, &seat);
        MT_CHECK_OR(done, seat.replica != s->seat.replica || all[r] == n, MOTLEY_EARG,
                    "rank %d has %lld samples and rank %d has %lld: the processes of one replica "
                    "are given the same samples", r, (long long)all[r], s->job->info->rank,
                    (long long)n);
        if (mt_session_speaks(s, r)) {
            *first += seat.replica < s->seat.replica ? all[r] : 0;
            *total += all[r];
        }
    }
done:
    mt_free(s->ctx, all);
    return st;
}

int mt_session_step(struct mt_session *s, const float *x, const void *y, int64_t n, double lr,
                    struct mt_result *out)
{
    struct mt_batch b = {.rows = n, .step = s->pos.step, .lr = lr};
    float scalar[MT_SCALARS];
    int64_t total;

    MT_TRY(place_rows(s, n, &b.first, &total));
    MT_CHECK(total > 0, MOTLEY_EARG, "a step needs at least one sample in some process");
    MT_TRY(mt_feed_put(s->train.feed, x, y, n, &b.x, &b.y));
    MT_TRY(mt_exec_run(s->train.exec, &b));
    s->pos.step++;
    if (out != NULL) {
        if (!mt_late_apart(s, scalar)) {
            MT_TRY(mt_buf_read(s->store->scalar, 0, sizeof scalar, scalar));
        }
        *out = mt_session_result(s, (double)scalar[MT_SCALAR_LOSS],
                                 (double)scalar[MT_SCALAR_COUNT], (double)scalar[MT_SCALAR_HITS]);
        out->samples = total;
        out->grad_norm = (double)scalar[MT_SCALAR_NORM];
    }
    return MOTLEY_OK;
}
