/* turns.h -- matrix products measured in turns, for `motley bench gemm` and `motley tune`.
 *
 * All that is compared takes turns: a disturbance of the machine meets all of it, and the medians
 * of the rounds can be compared. */
#ifndef MT_CLI_TURNS_H
#define MT_CLI_TURNS_H

#include "device/gemm.h"
#include "device/gemm_tune.h"
#include "tests/runner.h"

enum { CLI_MAX_ROUNDS = 99, CLI_MAX_RUNNERS = 32 };

/* One form of one provider. */
struct cli_runner {
    char provider[16], form[MT_GEMM_FORM];
    int runs;                        /* it can do the product, and was not left out as hopeless */
    double took[CLI_MAX_ROUNDS];     /* seconds of one product, by rounds */
    double median;
    struct mt_gemm_plan *plan;       /* while measuring */
    struct mt_buf *scratch;
    int calls;
};

struct cli_turns {
    struct mt_dev *dev;
    int rounds;
    double seconds;                  /* of a turn, at least one product */
    double hopeless;                 /* leave out what takes this many times the best; 0: nothing */
};

/* Fills in runs, took and median of n runners for g. */
int cli_turns_run(const struct cli_turns *t, const struct mt_gemm *g, struct cli_runner *r, int n);

/* Common products: three linear layers at batch 16, 128 and 1024, transformer blocks of width 384
 * and 768 with 2048 tokens, squares. */
int cli_turns_common(mt_product_fn *fn, void *arg);

/* --rounds and --ms: whether they make sense. */
int cli_turns_valid(const struct cli_turns *t);

#endif
