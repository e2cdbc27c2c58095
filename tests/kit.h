/* kit.h -- the description of an operation's tests, and what is done with it.
 *
 * A suite is a reference of the *forward* in double precision, a list of cases, and a derived
 * bound in half-ulps. From these the kit makes, for every case:
 *
 *   forward      every element within the bound of the reference
 *   gradients    against central differences of the reference, in double: <dx, v> for unit
 *                directions v (all of them in small cases) and for dense random ones
 *   partial      the same with fewer samples than planned; nothing is written behind them
 *   evaluation   the forward in evaluation mode
 *   same bits    a second run; data and parameter gradients asked for in two calls; in place
 *   accumulate   backward added to what is there
 *   memory       guard words around every tensor, NaN in everything that is to be written,
 *                inputs left as they were
 *
 * and for exact cases (small integers) == instead of a bound. All of it for values stored as f32,
 * bf16 and fp16: where a tensor is narrow, its inputs are drawn among the numbers that it can
 * hold, and one rounding of its width is added to the bound (exact cases: the result must be the
 * exact one rounded). The same descriptions serve
 * tests/optest, `motley check` and `motley bench ops` (runner.h). */
#ifndef MT_TESTS_KIT_H
#define MT_TESTS_KIT_H

#include "ops/op.h"
#include "tests/report.h"

struct mt_ref;

/* Which tensor a bound is about: the output, input i, or parameter i. */
#define MT_PORT_OUT      (-1)
#define MT_PORT_PARAM(i) (MT_MAXIN + (i))

/* Numbers from elsewhere, rounded to no fewer than 15 digits. NULL: not given. The reference
 * must agree to 1e-12 of the largest, its differences to 1e-8. */
struct mt_golden {
    const char *source;                       /* program and version, or the closed form */
    const double *in[MT_MAXIN], *param[MT_MAXPARAM];
    const double *out, *dout;
    const double *din[MT_MAXIN], *dparam[MT_MAXPARAM];
};

struct mt_case {
    const char *name;
    int64_t dim[MT_MAXRANK];   /* of input 0, samples first; ends at 0 */
    const char *attr;          /* "size=5 bias=no", NULL: defaults */
    double scale;              /* inputs are uniform in [-scale, scale]; 0: 1 */
    int exact;                 /* inputs are small integers, all results must be exact */
    int slow;                  /* left out with --small */
    int bench;                 /* only for `motley bench ops`: a size as in real networks */
    const struct mt_golden *golden;
};

struct mt_check_opt {
    int small;                 /* slow devices: no slow cases, fewer directions */
    uint64_t seed;             /* of the inputs */
};

struct mt_suite {
    const char *name;          /* of the operation */

    /* Dimensions, and in[1..] and nin where there is more than one input. */
    void (*shape)(struct mt_node *n);
    void (*ref)(const struct mt_ref *r);
    /* How many half-ulps of the magnitude may separate device and reference, for one port. For
     * gradients the magnitude is sum_j |g_j dy_j/dx_i|, and what the reference says in dmag. */
    double (*roundings)(const struct mt_node *n, int port);
    /* Value to use for element i of an input instead of the drawn x; u is uniform in (0, 1). */
    double (*draw)(const struct mt_node *n, int port, double x, double u);
    /* Where backward reads its result, which is stored narrow: how much |g dy/dx| plus dmag change,
     * relative to the change of the result. */
    double kept;
    int own_types;             /* cases say how values are stored: one run, not three */
    const double *kinks;       /* inputs 0 keep a distance from these; nkinks of them */
    int nkinks;
    const struct mt_case *cases;
    int ncases;

    /* Suites of something else than an operation: only name and this. */
    int (*run)(struct mt_dev *dev, const struct mt_check_opt *opt, struct mt_report *r);
};

/* What a reference reads and writes. Integers come as doubles, too. */
struct mt_ref {
    const struct mt_node *n;   /* attributes; dim[0] of batched specs is the number present */
    enum mt_mode mode;
    uint64_t seed;
    int64_t step, first;
    const double *in[MT_MAXIN], *param[MT_MAXPARAM], *state[MT_MAXPARAM];
    double *out[MT_MAXIN];
    double *mag[MT_MAXIN];     /* magnitude of rounding; where left NaN: |out| */
    /* NULL: not asked for. Else, for each element of input 0: what is rounded besides
     * |g dy/dx| on the way to its gradient, for cotangents up to 1; preset to 0. */
    double *dmag;
};

#define MT_SUITE(op, ...) const struct mt_suite mt_suite_##op = {.name = #op, __VA_ARGS__}
#define MT_CASES(list)    .cases = (list), .ncases = (int)(sizeof(list) / sizeof *(list))

/* All suites, ends in NULL; generated from ops.mk. */
extern const struct mt_suite *const mt_suites[];
const struct mt_suite *mt_suite_find(const char *name);

/* All cases of a suite. Failed checks are records, not errors; errors are for what prevents
 * checking at all. */
int mt_suite_run(const struct mt_suite *s, struct mt_dev *dev, const struct mt_check_opt *opt,
                 struct mt_report *r);

/* All checks for one node with given in[] and attr[] (its shapes inferred, not bound). */
int mt_kit_check(const struct mt_suite *s, struct mt_dev *dev, const struct mt_node *like,
                 const struct mt_case *c, const struct mt_check_opt *opt, struct mt_report *r);

/* tests/ops/gemm.c: one product by one form of a provider, at the planned and at smaller sizes;
 * nothing if the provider cannot do it on this device. */
int mt_kit_gemm(struct mt_dev *dev, const char *provider, const char *form,
                const struct mt_gemm *g, uint64_t seed, struct mt_report *r);

/* A node for a case of a suite that stores its values so: attributes parsed, shapes inferred.
 * text: at least MT_KIT_TEXT bytes for text attributes, must outlive the node. */
#define MT_KIT_TEXT 256
int mt_kit_node(const struct mt_suite *s, const struct mt_case *c, enum mt_dtype storage,
                char *text, struct mt_node *n);

#endif
