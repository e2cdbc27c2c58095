/* pipe.c -- proves, without a device: what the list of a stage is, word by word; that the lists of
 * all ranks come to their end even if no message leaves before its receiver asks for it, for every
 * schedule, number of stages, of stages a rank and of micro-batches, kept or computed again,
 * training and evaluation; that every message sent is received, once; and that the memory of 1F1B
 * does not grow with the number of micro-batches, and is less if activations are computed again. */
#include "base/ctx.h"
#include "config/config.h"
#include "graph/plan.h"
#include "parallel/par.h"
#include "parallel/pipe.h"
#include "parallel/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 5, MAXSTAGE = 15, ROWS = 4 };

static struct mt_ctx *ctx;

struct job {
    int ranks, chunks, micros, recompute;
    enum mt_schedule schedule;
    enum mt_mode mode;
    struct mt_layout *layout;
    struct mt_graph *graph[MOST];
    struct mt_steps steps[MOST];
};

#define LONG "model: [linear: 4, {residual: [{repeat: 6, layers: [linear: 4, relu]}, " \
             "dropout: 0.1]}, {repeat: 6, layers: [linear: 4, relu]}, linear: 3]\n" \
             "loss: cross_entropy\noptimizer: sgd\n"
#define SHORT "model: [linear: 4, relu, linear: 3]\nloss: cross_entropy\noptimizer: sgd\n"

static void ok(int code)
{
    if (code < 0) {
        fail_msg("%s\n%s", mt_err_text(), mt_err_trace_text());
    }
}

static void begin(struct job *j, const char *text, const int *cut)
{
    struct mt_spec x = mt_spec_new(MT_F32, 1, 2, (int64_t[]){ROWS, 4});
    struct mt_spec y = mt_spec_new(MT_I32, 1, 1, (int64_t[]){ROWS});
    struct mt_mesh mesh = {.data = 1, .stages = j->ranks, .tensor = 1, .chunks = j->chunks,
                           .micros = j->micros, .schedule = j->schedule, .cut = cut,
                           .recompute = j->recompute};
    struct mt_order_opt opt = {.mode = j->mode, .micros = j->micros};
    struct mt_config *config = NULL;
    struct mt_graph *whole = NULL;

    ok(mt_config_parse(ctx, text, "test", NULL, 0, &config));
    for (int r = 0; r < j->ranks; r++) {
        ok(mt_graph_build(ctx, config->model, config->loss, &x, &y, &whole));
        if (r == 0) {
            ok(mt_layout_grid(whole, j->ranks, &mesh, &j->layout));
        }
        ok(mt_par_graph(whole, j->layout, r, &j->graph[r]));
        ok(mt_par_order(j->graph[r], j->layout, r, &opt, &j->steps[r]));
    }
    mt_config_free(config);
}

static void end(struct job *j)
{
    for (int r = 0; r < j->ranks; r++) {
        mt_steps_fini(&j->steps[r]);
        mt_graph_free(j->graph[r]);
    }
    mt_layout_free(j->layout);
}

/* ---- the list ------------------------------------------------------------------------------ */

static void expect(const struct job *j, int rank, const char *const *want)
{
    char line[256];
    int i;

    for (i = 0; i < j->steps[rank].n && want[i] != NULL; i++) {
        mt_step_print(j->graph[rank], &j->steps[rank].step[i], line, (int)sizeof line);
        assert_string_equal(line, want[i]);
    }
    assert_int_equal(i, j->steps[rank].n);
    assert_null(want[i]);
}

static void test_list(void **state)
{
    static const char *const first[] = {
        "fwd     linear1 + act        micro 0",
        "send    relu1                micro 0 to rank 1 ticket 0",
        "drecv   relu1                micro 0 from rank 1 ticket 1",
        "fwd     linear1 + act        micro 1",
        "send    relu1                micro 1 to rank 1 ticket 2",
        "darrive relu1                micro 0 from rank 1 ticket 1",
        "bwd     relu1                micro 0  data",
        "bwd     linear1              micro 0  param",
        "sent    relu1                micro 0 to rank 1 ticket 0",
        "drecv   relu1                micro 1 from rank 1 ticket 0",
        "fwd     linear1 + act        micro 2",
        "send    relu1                micro 2 to rank 1 ticket 1",
        "sent    relu1                micro 1 to rank 1 ticket 2",
        "drecv   relu1                micro 2 from rank 1 ticket 2",
        "darrive relu1                micro 1 from rank 1 ticket 0",
        "bwd     relu1                micro 1  data",
        "bwd     linear1              micro 1  param (add)",
        "darrive relu1                micro 2 from rank 1 ticket 2",
        "bwd     relu1                micro 2  data",
        "bwd     linear1              micro 2  param (add)",
        "sent    relu1                micro 2 to rank 1 ticket 1",
        "scale   [0, 128)", "update  [0, 128)", NULL};
    static const char *const again[] = {
        "recv    relu1                micro 0 from rank 0 ticket 0",
        "arrive  relu1                micro 0 from rank 0 ticket 0",
        "fwd     linear2              micro 0",
        "fwd     cross_entropy1       micro 0",
        "stats   cross_entropy1       micro 0",
        "fwd     linear2              micro 0 again",
        "fwd     cross_entropy1       micro 0 again",
        "bwd     cross_entropy1       micro 0  data",
        "bwd     linear2              micro 0  data+param",
        "dsend   relu1                micro 0 to rank 0 ticket 0",
        "dsent   relu1                micro 0 to rank 0 ticket 0",
        "scale   [0, 128)", "update  [0, 128)", NULL};
    int cut[] = {2};
    struct job j = {.ranks = 2, .chunks = 1, .micros = 3, .schedule = MT_SCHEDULE_1F1B};

    (void)state;
    begin(&j, SHORT, cut);
    expect(&j, 0, first);
    end(&j);
    j = (struct job){.ranks = 2, .chunks = 1, .micros = 1, .recompute = 1,
                     .schedule = MT_SCHEDULE_GPIPE};
    begin(&j, SHORT, cut);
    expect(&j, 1, again);
    end(&j);
}

/* ---- nobody waits for ever ------------------------------------------------------------------- */

struct world {
    int at[MOST];                                  /* next step of each rank */
    char asked[MOST][MOST][MT_PIPE_TAGS];          /* receiver, sender, tag */
    char given[MOST][MOST][MT_PIPE_TAGS];
};

/* Whether step s of a rank can be done; a message moves only when both have come to it. */
static int may_run(struct world *w, int rank, const struct mt_step *s)
{
    int grad = s->kind >= mt_move_kind[1] && s->kind < mt_move_kind[1] + MT_MOVES;

    if (s->kind->way == NULL) {
        return 1;
    }
    switch ((int)(s->kind - mt_move_kind[grad])) {
    case MT_RECV:
        assert_int_equal(w->asked[rank][s->peer][s->tag]++, 0);
        return 1;
    case MT_SEND:
        assert_int_equal(w->given[s->peer][rank][s->tag]++, 0);
        return 1;
    case MT_ARRIVE:
        return w->given[rank][s->peer][s->tag];
    default:
        return w->asked[s->peer][rank][s->tag];
    }
}

static void play(const struct job *j)
{
    struct world *w = calloc(1, sizeof *w);
    int moved = 1;

    assert_non_null(w);
    while (moved) {
        moved = 0;
        for (int r = 0; r < j->ranks; r++) {
            while (w->at[r] < j->steps[r].n && may_run(w, r, &j->steps[r].step[w->at[r]])) {
                w->at[r]++;
                moved = 1;
            }
        }
    }
    for (int r = 0; r < j->ranks; r++) {
        if (w->at[r] < j->steps[r].n) {
            fail_msg("schedule %d, %d ranks of %d stages, %d micro-batches: rank %d stands at step "
                     "%d of %d", (int)j->schedule, j->ranks, j->chunks, j->micros, r, w->at[r],
                     j->steps[r].n);
        }
    }
    assert_memory_equal(w->asked, w->given, sizeof w->asked);
    free(w);
}

static void test_ends(void **state)
{
    int played = 0;

    (void)state;
    for (int k = 0; k < MT_SCHEDULES * 2 * 2 * 3 * MOST * 7; k++) {
        struct job j = {.schedule = (enum mt_schedule)(k % MT_SCHEDULES),
                        .mode = k / MT_SCHEDULES % 2 ? MT_EVAL : MT_TRAIN,
                        .recompute = k / MT_SCHEDULES / 2 % 2,
                        .chunks = 1 + k / MT_SCHEDULES / 4 % 3,
                        .ranks = 1 + k / MT_SCHEDULES / 12 % MOST,
                        .micros = 1 + k / MT_SCHEDULES / 12 / MOST};

        if (j.chunks == 1 || j.schedule == MT_SCHEDULE_INTERLEAVED ||
            j.schedule == MT_SCHEDULE_GPIPE) {
            begin(&j, LONG, NULL);
            play(&j);
            end(&j);
            played++;
        }
    }
    assert_int_equal(played, 2 * 2 * 7 * MOST * (2 * 3 + 2));
}

/* ---- memory -------------------------------------------------------------------------------- */

static uint64_t memory(enum mt_schedule schedule, int micros, int recompute)
{
    struct job j = {.ranks = 2, .chunks = 1, .micros = micros, .schedule = schedule,
                    .recompute = recompute};
    struct mt_plan_opt opt = {.hold = -1, .micros = micros};
    struct mt_plan *plan = NULL;
    uint64_t bytes;

    begin(&j, LONG, NULL);
    ok(mt_plan_new(j.graph[0], &j.steps[0], &opt, &plan));
    bytes = mt_plan_bytes(plan);
    mt_plan_free(plan);
    end(&j);
    return bytes;
}

static void test_memory(void **state)
{
    (void)state;
    assert_int_equal(memory(MT_SCHEDULE_1F1B, 8, 0), memory(MT_SCHEDULE_1F1B, 24, 0));
    assert_true(memory(MT_SCHEDULE_GPIPE, 8, 0) > 2 * memory(MT_SCHEDULE_1F1B, 8, 0));
    assert_true(memory(MT_SCHEDULE_GPIPE, 8, 1) < memory(MT_SCHEDULE_GPIPE, 8, 0) * 2 / 3);
    assert_true(memory(MT_SCHEDULE_1F1B, 8, 1) < memory(MT_SCHEDULE_1F1B, 8, 0));
}

static int set_up(void **state)
{
    (void)state;
    return mt_ctx_new(NULL, NULL, &ctx) < 0;
}

static int tear_down(void **state)
{
    (void)state;
    mt_ctx_free(ctx);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_list), cmocka_unit_test(test_ends),
                                       cmocka_unit_test(test_memory)};

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
