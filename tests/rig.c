/* rig.c -- tensors with guards, values drawn or given, and calls of one node; see rig.h.
 *
 * Every tensor gets a buffer of its own with a guard before and behind it, so that a kernel
 * which ignores an offset or a bound is seen. All memory of a case hangs from its rig and is
 * released at once. */
#include "tests/rig.h"

#include "base/ctx.h"
#include "base/half.h"
#include "base/rng.h"
#include "device/buf.h"
#include "device/dev.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define SCALE 8.0   /* factor of the loss where values are fp16 */
#define KINK 0.05   /* inputs keep so far from kinks: much more than the differences' step */

/* ---- memory ------------------------------------------------------------------------------ */

int mt_rig_get(struct mt_rig *b, int64_t n, size_t size, void **p)
{
    MT_BUG_IF(b->nblock == MT_RIG_MAXBLOCK);
    MT_TRY(mt_mem_get(b->ctx, (size_t)(n > 0 ? n : 1), size, p));
    b->block[b->nblock++] = *p;
    return MOTLEY_OK;
}

int mt_rig_doubles(struct mt_rig *b, int64_t n, double **p)
{
    return mt_rig_get(b, n, sizeof **p, (void **)p);
}

/* Blocks got since `mark` are released. */
void mt_rig_drop(struct mt_rig *b, int mark)
{
    while (b->nblock > mark) {
        mt_free(b->ctx, b->block[--b->nblock]);
    }
}

static int64_t slot_elements(const struct mt_slot *s)
{
    return s->room + 2 * MT_RIG_GUARD;
}

/* On the device; whole words. */
static uint64_t slot_bytes(const struct mt_slot *s)
{
    uint64_t bytes = (uint64_t)slot_elements(s) * (uint64_t)mt_dtype_bytes(s->spec.dtype);

    return (bytes + 3) / 4 * 4;
}

static int slot_new(struct mt_rig *b, struct mt_slot *s, const struct mt_spec *spec,
                    const char *what)
{
    s->used = 1;
    s->spec = *spec;
    s->room = s->count = mt_spec_count(spec);
    MT_BUG_IF(b->nbuf == MT_RIG_MAXBLOCK);
    MT_TRY(mt_buf_new(b->dev, slot_bytes(s), what, &s->buf));
    s->fill = mt_dtype_is_half(spec->dtype) ? MT_RIG_FILL_HALF : MT_RIG_FILL;
    s->fill += (uint32_t)b->nbuf;
    b->buffer[b->nbuf++] = s->buf;
    MT_TRY(mt_rig_get(b, s->room + 2 * MT_RIG_GUARD, sizeof *s->bits, (void **)&s->bits));
    s->t.spec = *spec;
    s->t.buf = s->buf;
    s->t.off = MT_RIG_GUARD;
    return MOTLEY_OK;
}

/* All of the buffer NaN. */
static int slot_blank(struct mt_slot *s)
{
    if (!s->used) {
        return MOTLEY_OK;
    }
    return mt_buf_fill(s->buf, 0, slot_bytes(s),
                       mt_dtype_is_half(s->spec.dtype) ? s->fill << 16 | s->fill : s->fill);
}

uint32_t mt_slot_word(const struct mt_spec *spec, double x)
{
    union {
        float f;
        int32_t i;
        uint32_t u;
    } v;

    switch (spec->dtype) {
    case MT_I32:
        v.i = (int32_t)x;
        break;
    case MT_BF16:
        v.u = mt_half_to_bf16((float)x);
        break;
    case MT_FP16:
        v.u = mt_half_to_fp16((float)x);
        break;
    default:
        v.f = (float)x;
        break;
    }
    return v.u;
}

double mt_slot_number(const struct mt_spec *spec, uint32_t u)
{
    union {
        float f;
        int32_t i;
        uint32_t u;
    } v;

    v.u = u;
    switch (spec->dtype) {
    case MT_I32:
        return (double)v.i;
    case MT_BF16:
        return (double)mt_half_from_bf16((uint16_t)u);
    case MT_FP16:
        return (double)mt_half_from_fp16((uint16_t)u);
    default:
        return (double)v.f;
    }
}

/* bf16 has 8 bits of fraction with the leading one, fp16 has 11. */
double mt_slot_half_ulp(const struct mt_spec *spec)
{
    return spec->dtype == MT_BF16 ? 0x1p-8 : spec->dtype == MT_FP16 ? 0x1p-11 : 0;
}

/* fp16: half of the smallest number, 2^-24. Those of bf16 are below the smallest normal float. */
double mt_slot_tiny(const struct mt_spec *spec)
{
    return spec->dtype == MT_FP16 ? 0x1p-25 : 0;
}

/* Elements of half a word lie side by side on the device, one a word in s->bits. */
static void pack(struct mt_slot *s)
{
    for (int64_t i = 0; i < slot_elements(s); i++) {
        uint16_t h = (uint16_t)s->bits[i];

        memcpy((char *)s->bits + 2 * i, &h, sizeof h);
    }
}

static void unpack(struct mt_slot *s)
{
    for (int64_t i = slot_elements(s) - 1; i >= 0; i--) {
        uint16_t h;

        memcpy(&h, (char *)s->bits + 2 * i, sizeof h);
        s->bits[i] = h;
    }
}

static int slot_write(struct mt_slot *s, const double *x)
{
    for (int64_t i = 0; i < s->room + 2 * MT_RIG_GUARD; i++) {
        int64_t k = i - MT_RIG_GUARD;

        s->bits[i] = k >= 0 && k < s->count ? mt_slot_word(&s->spec, x[k]) : s->fill;
    }
    if (mt_dtype_is_half(s->spec.dtype)) {
        pack(s);
    }
    MT_TRY(mt_buf_write(s->buf, 0, slot_bytes(s), s->bits));
    if (mt_dtype_is_half(s->spec.dtype)) {
        unpack(s);
    }
    return MOTLEY_OK;
}

int mt_slot_read(struct mt_slot *s)
{
    MT_TRY(mt_buf_read(s->buf, 0, slot_bytes(s), s->bits));
    if (mt_dtype_is_half(s->spec.dtype)) {
        unpack(s);
    }
    return MOTLEY_OK;
}

double mt_slot_value(const struct mt_slot *s, int64_t i)
{
    return mt_slot_number(&s->spec, s->bits[MT_RIG_GUARD + i]);
}

/* Guards, and what lies behind the samples present, must be as they were. s was read back. */
void mt_slot_guards(const struct mt_slot *s, const char *what, int i, struct mt_result *x)
{
    for (int64_t k = 0; k < s->room + 2 * MT_RIG_GUARD; k++) {
        if ((k < MT_RIG_GUARD || k >= MT_RIG_GUARD + s->count) && s->bits[k] != s->fill) {
            mt_result_fail(x, "wrote outside %s %d: word %" PRId64 " of %" PRId64, what, i,
                           k - MT_RIG_GUARD, s->count);
            return;
        }
    }
}

/* ---- the node and its tensors ------------------------------------------------------------ */

static int parse_attrs(const struct mt_op *op, const char *text, char *room,
                       union mt_attr_val *val)
{
    char *next = room;

    if (op->attrs == NULL) {
        MT_CHECK(text == NULL || text[0] == '\0', MOTLEY_EARG, "%s has no options", op->name);
        return MOTLEY_OK;
    }
    mt_attr_defaults(op->attrs, val);
    MT_CHECK(text == NULL || strlen(text) < MT_KIT_TEXT, MOTLEY_EARG, "options too long");
    memcpy(room, text != NULL ? text : "", text != NULL ? strlen(text) + 1 : 1);
    while (*next != '\0') {
        char *word = next, *eq;
        size_t len = strcspn(word, " ");
        int i;

        next = word + len;
        if (*next == ' ') {
            *next++ = '\0';
        }
        eq = strchr(word, '=');
        MT_CHECK(eq != NULL, MOTLEY_EARG, "option '%s' is not of the form key=value", word);
        *eq = '\0';
        i = mt_attr_find(op->attrs, word);
        MT_CHECK(i >= 0, MOTLEY_EARG, "%s has no option '%s'", op->name, word);
        MT_TRY(mt_attr_parse(&op->attrs[i], eq + 1, &val[i]));
    }
    return MOTLEY_OK;
}

int mt_kit_node(const struct mt_suite *s, const struct mt_case *c, enum mt_dtype storage,
                char *text, struct mt_node *n)
{
    int rank = 0;

    memset(n, 0, sizeof *n);
    n->op = mt_op_find(s->name);
    MT_CHECK(n->op != NULL, MOTLEY_EARG, "suite %s: there is no such operation", s->name);
    n->name = s->name;
    n->stream = mt_rng_stream(s->name);
    MT_TRY(parse_attrs(n->op, c->attr, text, n->attr));
    while (rank < MT_MAXRANK && c->dim[rank] > 0) {
        rank++;
    }
    n->nin = 1;
    n->in[0] = mt_spec_new(MT_F32, 1, rank, c->dim);
    if (s->shape != NULL) {
        s->shape(n);
    }
    for (int i = 0; i < n->nin; i++) {
        if (n->in[i].dtype == MT_F32 && !(i > 0 && (n->op->flags & MT_OP_LOSS))) {
            n->in[i].dtype = storage;
        }
    }
    return mt_node_infer(n);
}

static void set_rows(struct mt_slot *s, int64_t rows)
{
    if (s->used && s->spec.batched) {
        s->t.spec.dim[0] = rows;
        s->count = mt_spec_count(&s->t.spec);
    }
}

/* The number of samples of the next calls. */
void mt_rig_rows(struct mt_rig *b, int64_t rows)
{
    b->rows = rows;
    b->now = b->n;
    for (int i = 0; i < MT_MAXIN; i++) {
        set_rows(&b->in[i], rows);
        set_rows(&b->out[i], rows);
        set_rows(&b->din[i], rows);
        set_rows(&b->dout[i], rows);
        if (b->now.in[i].batched) {
            b->now.in[i].dim[0] = rows;
        }
        if (b->now.out[i].batched) {
            b->now.out[i].dim[0] = rows;
        }
    }
    for (int i = 0; i < MT_MAXPARAM; i++) {
        set_rows(&b->saved[i], rows);
    }
}

/* Whether input i has a gradient: real numbers, and no target of a loss. */
static int differentiable(const struct mt_node *n, int i)
{
    return mt_dtype_is_real(n->in[i].dtype) && !(i > 0 && (n->op->flags & MT_OP_LOSS)) &&
           n->op->bwd != NULL;
}

int mt_rig_new(struct mt_rig *b, const struct mt_node *like)
{
    struct mt_spec scratch = {.dtype = MT_F32, .rank = 1};
    int view = (like->op->flags & MT_OP_VIEW) != 0;
    struct mt_spec one = {.dtype = MT_F32, .rank = 1, .dim = {1}}, weight;

    b->n = *like;
    memset(b->n.kernel, 0, sizeof b->n.kernel);
    memset(b->n.gemm, 0, sizeof b->n.gemm);
    b->planned = b->n.in[0].dim[0];
    MT_TRY(mt_node_bind(&b->n, b->dev));
    for (int i = 0; i < b->n.nin; i++) {
        MT_TRY(slot_new(b, &b->in[i], &b->n.in[i], "input"));
        if (differentiable(&b->n, i) && !view) {
            MT_TRY(slot_new(b, &b->din[i], &b->n.in[i], "gradient of input"));
        }
    }
    for (int i = 0; i < b->n.nout && !view; i++) {
        MT_TRY(slot_new(b, &b->out[i], &b->n.out[i], "output"));
        if (!(b->n.op->flags & MT_OP_LOSS)) {
            MT_TRY(slot_new(b, &b->dout[i], &b->n.out[i], "gradient of output"));
        }
    }
    for (int i = 0; i < b->n.nparam; i++) {
        weight = b->n.param[i].spec;
        weight.dtype = mt_node_storage(&b->n);
        MT_TRY(slot_new(b, &b->param[i], &weight, "parameter"));
        MT_TRY(slot_new(b, &b->dparam[i], &b->n.param[i].spec, "gradient of parameter"));
    }
    for (int i = 0; i < b->n.nstate; i++) {
        MT_TRY(slot_new(b, &b->state[i], &b->n.state[i].spec, "state"));
    }
    for (int i = 0; i < b->n.nsaved; i++) {
        MT_TRY(slot_new(b, &b->saved[i], &b->n.saved[i], "saved value"));
    }
    if (b->n.op->flags & MT_OP_LOSS) {
        MT_TRY(slot_new(b, &b->scale, &one, "factor of the loss"));
    }
    b->loss_scale = mt_node_storage(&b->n) == MT_FP16 ? SCALE : 1;
    if (b->n.scratch_bytes > 0) {
        scratch.dim[0] = (int64_t)((b->n.scratch_bytes + 3) / 4);
        MT_TRY(slot_new(b, &b->scratch, &scratch, "scratch"));
    }
    mt_rig_rows(b, b->planned);
    return MOTLEY_OK;
}

void mt_rig_fini(struct mt_rig *b)
{
    mt_node_unbind(&b->n);
    for (int i = 0; i < b->nbuf; i++) {
        mt_buf_free(b->buffer[i]);
    }
    mt_rig_drop(b, 0);
}

/* ---- numbers ----------------------------------------------------------------------------- */

static double draw_one(const struct mt_rig *b, int port, double u, double v)
{
    double scale = b->c->scale > 0 ? b->c->scale : 1, x;

    if (b->c->exact) {   /* +-2, 3, 4: products and sums stay exact, kinks at 0 and 1 are far */
        double m = 2 + floor(3 * u);

        x = v < 0.5 ? -m : m;
    } else {
        x = (float)((2 * u - 1) * (port == 0 ? scale : 1));
        for (int k = 0; port == 0 && k < b->suite->nkinks; k++) {
            double d = x - b->suite->kinks[k];

            if (fabs(d) < KINK) {
                x = (float)(b->suite->kinks[k] + (d < 0 ? -KINK : KINK));
            }
        }
    }
    return b->suite->draw != NULL ? b->suite->draw(&b->n, port, x, v) : x;
}

/* Values of a tensor: given ones, or drawn from (seed, suite, port, element). */
static int slot_draw(struct mt_rig *b, struct mt_slot *s, int port, const double *given)
{
    struct mt_rng_key key = mt_rng_key(b->opt->seed, MT_RNG_TEST,
                                       mt_rng_stream(b->suite->name) + (uint64_t)(port + 100));

    if (!s->used) {
        return MOTLEY_OK;
    }
    if (s->x == NULL) {
        MT_TRY(mt_rig_doubles(b, s->room, &s->x));
    }
    for (int64_t i = 0; i < s->room; i++) {
        s->x[i] = given != NULL ? given[i]
                                : draw_one(b, port, mt_rng_uniform(key, 2 * (uint64_t)i),
                                           mt_rng_uniform(key, 2 * (uint64_t)i + 1));
        s->x[i] = mt_slot_number(&s->spec, mt_slot_word(&s->spec, s->x[i]));
    }
    return slot_write(s, s->x);
}

int mt_rig_draw(struct mt_rig *b)
{
    const struct mt_golden *g = b->c->golden;

    for (int i = 0; i < b->n.nin; i++) {
        MT_TRY(slot_draw(b, &b->in[i], i, g != NULL ? g->in[i] : NULL));
    }
    for (int i = 0; i < b->n.nparam; i++) {
        MT_TRY(slot_draw(b, &b->param[i], MT_PORT_PARAM(i), g != NULL ? g->param[i] : NULL));
    }
    for (int i = 0; i < b->n.nout; i++) {
        MT_TRY(slot_draw(b, &b->dout[i], 50 + i, g != NULL ? g->dout : NULL));
    }
    for (int i = 0; i < b->n.nstate; i++) {
        MT_TRY(slot_draw(b, &b->state[i], 60 + i, NULL));
    }
    MT_TRY(slot_draw(b, &b->scale, 70, &b->loss_scale));
    return MOTLEY_OK;
}

/* ---- calls ------------------------------------------------------------------------------- */

void mt_rig_io(struct mt_rig *b, enum mt_mode mode, int backward)
{
    struct mt_io *io = &b->io;

    memset(io, 0, sizeof *io);
    io->dev = b->dev;
    io->mode = mode;
    io->seed = b->opt->seed + 77;
    io->step = 3;
    io->first = 5;
    io->want = MT_WANT_DATA | MT_WANT_PARAM;
    for (int i = 0; i < MT_MAXIN; i++) {
        if (!backward || (b->n.keep & MT_KEEP_IN)) {
            io->in[i] = b->in[i].t;
        }
        if (!backward || (b->n.keep & MT_KEEP_OUT)) {
            io->out[i] = b->out[i].t;
        }
        io->din[i] = b->din[i].t;
        io->dout[i] = b->dout[i].t;
    }
    for (int i = 0; i < MT_MAXPARAM; i++) {
        io->param[i] = b->param[i].t;
        io->dparam[i] = b->dparam[i].t;
        io->state[i] = b->state[i].t;
        io->saved[i] = b->saved[i].t;
    }
    io->scratch = b->scratch.t;
    io->loss_scale = b->scale.t;
}

int mt_rig_blank_outputs(struct mt_rig *b)
{
    for (int i = 0; i < MT_MAXIN; i++) {
        MT_TRY(slot_blank(&b->out[i]));
    }
    for (int i = 0; i < MT_MAXPARAM; i++) {
        MT_TRY(slot_blank(&b->saved[i]));
    }
    return slot_blank(&b->scratch);
}

int mt_rig_blank_gradients(struct mt_rig *b)
{
    for (int i = 0; i < MT_MAXIN; i++) {
        MT_TRY(slot_blank(&b->din[i]));
    }
    for (int i = 0; i < MT_MAXPARAM; i++) {
        MT_TRY(slot_blank(&b->dparam[i]));
    }
    return slot_blank(&b->scratch);
}

int mt_rig_read(struct mt_slot *s, int n)
{
    for (int i = 0; i < n; i++) {
        if (s[i].used) {
            MT_TRY(mt_slot_read(&s[i]));
        }
    }
    return MOTLEY_OK;
}

int mt_rig_fwd(struct mt_rig *b, enum mt_mode mode)
{
    MT_TRY(mt_rig_blank_outputs(b));
    mt_rig_io(b, mode, 0);
    MT_TRY(b->n.op->fwd(&b->n, &b->io));
    return mt_rig_read(b->out, MT_MAXIN);
}

int mt_rig_bwd(struct mt_rig *b)
{
    MT_TRY(mt_rig_blank_gradients(b));
    mt_rig_io(b, MT_TRAIN, 1);
    MT_TRY(b->n.op->bwd(&b->n, &b->io));
    MT_TRY(mt_rig_read(b->din, MT_MAXIN));
    return mt_rig_read(b->dparam, MT_MAXPARAM);
}
