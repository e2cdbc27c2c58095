/* reshape.c -- samples under another shape with as many elements.
 *
 *   y (R, shape) = x (R, d1, d2, ...)
 *
 * The same memory: no kernel runs, gradients need nothing either. The dimension of samples is
 * never touched, so the option names the others only: 8x8, or 3x32x32. */
#include "ops/op.h"

#include <inttypes.h>
#include <stdlib.h>

enum { SHAPE };

static const struct mt_attr attrs[] = {
    {"shape", MT_ATTR_TEXT, .required = 1, .doc = "dimensions of one sample: 3x32x32"},
    {0}};

static int parse_shape(const char *text, struct mt_spec *s)
{
    const char *at = text != NULL ? text : "";

    for (;;) {
        char *end;
        long long d = strtoll(at, &end, 10);

        MT_CHECK(end != at && *at >= '0' && *at <= '9' && d > 0 && d <= UINT32_MAX &&
                     (*end == 'x' || *end == '\0'),
                 MOTLEY_ECONFIG, "reshape: '%s' is not a shape; write dimensions as in 3x32x32",
                 text != NULL ? text : "");
        MT_CHECK(s->rank < MT_MAXRANK, MOTLEY_ECONFIG,
                 "reshape: '%s' has too many dimensions, the most is %d besides samples", text,
                 MT_MAXRANK - 1);
        s->dim[s->rank++] = d;
        if (*end == '\0') {
            return MOTLEY_OK;
        }
        at = end + 1;
    }
}

static int infer(struct mt_node *n)
{
    const char *text = n->attr[SHAPE].s;
    int64_t have, want = 1;
    char buf[128];

    MT_TRY(mt_node_inputs(n, 1));
    MT_CHECK(n->in[0].rank >= 1, MOTLEY_ECONFIG, "reshape needs samples");
    n->nout = 1;
    n->out[0] = mt_spec_new(n->in[0].dtype, n->in[0].batched, 1, n->in[0].dim);
    MT_TRY(parse_shape(text, &n->out[0]));
    have = mt_spec_count(&n->in[0]) / n->in[0].dim[0];
    for (int i = 1; i < n->out[0].rank; i++) {
        want = want <= have ? want * n->out[0].dim[i] : want;   /* no overflow, still unequal */
    }
    MT_CHECK(want == have, MOTLEY_ECONFIG,
             "reshape: '%s' has not as many elements as a sample of %s, which has %" PRId64,
             text, mt_spec_print(&n->in[0], buf, (int)sizeof buf), have);
    return MOTLEY_OK;
}

static void cost(const struct mt_node *n, struct mt_cost *c)
{
    (void)n;
    *c = (struct mt_cost){0};
}

const struct mt_op mt_op_reshape = {
    .name = "reshape",
    .doc = "samples under another shape with as many elements",
    .attrs = attrs,
    .flags = MT_OP_VIEW,
    .infer = infer,
    .fwd = mt_op_nothing,
    .bwd = mt_op_nothing,
    .cost = cost,
};
