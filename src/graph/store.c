/* store.c -- allocates and fills the flat spaces of one process. */
#include "graph/store.h"

#include "base/ctx.h"
#include "device/buf.h"
#include "device/cast.h"
#include "device/dev.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static uint64_t blocks(const struct mt_graph *g)
{
    return g->param_size / MT_FLAT_ALIGN;
}

uint64_t mt_store_bytes(const struct mt_graph *g, const struct mt_optim *optim)
{
    uint64_t flats = optim == NULL ? 1 : 2 + (uint64_t)optim->kind->nslots;
    uint64_t copy = g->storage == MT_F32 ? 0 : (uint64_t)mt_dtype_bytes(g->storage);

    return 4 * (flats * g->param_size + g->state_size + blocks(g) + MT_FLAT_ALIGN + MT_SCALARS) +
           copy * g->param_size;
}

static int check_room(struct mt_dev *dev, const struct mt_graph *g, const struct mt_optim *optim)
{
    const struct mt_dev_info *info = mt_dev_info(dev);
    uint64_t need = mt_store_bytes(g, optim);

    MT_CHECK(info->memory_bytes == 0 || need <= info->memory_bytes, MOTLEY_EDEV,
             "the network has %" PRId64 " weights; with gradients and optimizer state it needs %"
             PRIu64 " MiB, device %s has %" PRIu64 " MiB (%s); take a smaller network or a device "
             "with more memory", mt_graph_weights(g), need >> 20, info->name,
             info->memory_bytes >> 20, mt_dev_memory_word(info));
    return MOTLEY_OK;
}

static int upload_groups(struct mt_store *s, const struct mt_graph *g)
{
    uint32_t *group = NULL;
    int st = MOTLEY_OK;

    if (blocks(g) == 0) {
        return MOTLEY_OK;
    }
    MT_TRY(MT_NEW_N(s->ctx, blocks(g), &group));
    for (int i = 0; i < g->nparam; i++) {
        const struct mt_range *r = &g->param[i].range;

        for (uint64_t b = r->lo / MT_FLAT_ALIGN; b * MT_FLAT_ALIGN < r->hi; b++) {
            group[b] = (uint32_t)g->param[i].desc.decay;
        }
    }
    st = mt_buf_write(s->group, 0, blocks(g) * 4, group);
    mt_free(s->ctx, group);
    return st;
}

/* Of no elements: of one block, so that it is there. */
static int new_zeroed(struct mt_dev *dev, uint64_t elements, const char *what,
                      struct mt_buf **buf)
{
    uint64_t bytes = (elements > 0 ? elements : MT_FLAT_ALIGN) * 4;

    MT_TRY(mt_buf_new(dev, bytes, what, buf));
    return mt_buf_fill(*buf, 0, bytes, 0);
}

uint64_t mt_store_grad_bytes(const struct mt_graph *g)
{
    return (g->param_size + MT_FLAT_ALIGN) * sizeof(float);
}

static int new_gradients(struct mt_store *s, const struct mt_graph *g, void *at)
{
    uint64_t bytes = mt_store_grad_bytes(g);

    MT_TRY(mt_buf_new_at(s->dev, at, bytes, "gradients", &s->grad));
    return mt_buf_fill(s->grad, 0, bytes, 0);
}

int mt_store_new(struct mt_dev *dev, const struct mt_graph *g, const struct mt_optim *optim,
                 void *grad, struct mt_store **out)
{
    struct mt_store *s = NULL;
    int st;

    MT_CHECK(mt_graph_weights(g) > 0 || g->value[g->output].needs_grad, MOTLEY_ECONFIG,
             "the network has no weights to train");
    MT_TRY(check_room(dev, g, optim));
    MT_TRY(MT_NEW(g->ctx, &s));
    s->ctx = g->ctx;
    s->dev = dev;
    s->size = g->param_size;
    s->state_size = g->state_size;
    s->storage = g->storage;
    MT_TRY_OR(fail, new_zeroed(dev, s->size, "parameters", &s->param));
    s->work = s->param;
    if (s->storage != MT_F32) {
        MT_TRY_OR(fail, mt_cast_get(dev, s->storage, MT_F32, &s->narrow));
        MT_TRY_OR(fail, mt_buf_new(dev, s->size * (uint64_t)mt_dtype_bytes(s->storage),
                                   "working copies of parameters", &s->work));
        MT_TRY_OR(fail, mt_store_refresh(s));
    }
    if (s->state_size > 0) {
        MT_TRY_OR(fail, new_zeroed(dev, s->state_size, "running state", &s->state));
    }
    if (optim != NULL) {
        MT_TRY_OR(fail, new_gradients(s, g, grad));
        for (int i = 0; i < optim->kind->nslots; i++) {
            MT_TRY_OR(fail, new_zeroed(dev, s->size, "optimizer state", &s->slot[i]));
        }
        MT_TRY_OR(fail, new_zeroed(dev, blocks(g), "parameter groups", &s->group));
        MT_TRY_OR(fail, upload_groups(s, g));
        MT_TRY_OR(fail, new_zeroed(dev, MT_SCALARS, "step scalars", &s->scalar));
    }
    *out = s;
    return MOTLEY_OK;
fail:
    mt_store_free(s);
    return st;
}

void mt_store_free(struct mt_store *s)
{
    if (s == NULL) {
        return;
    }
    mt_buf_free(s->scalar);
    mt_buf_free(s->group);
    for (int i = MT_OPTIM_SLOTS - 1; i >= 0; i--) {
        mt_buf_free(s->slot[i]);
    }
    mt_buf_free(s->grad);
    mt_buf_free(s->state);
    if (s->work != s->param) {
        mt_buf_free(s->work);
    }
    mt_buf_free(s->param);
    mt_free(s->ctx, s);
}

/* The part of a drawn parameter that this process holds: [first, first + n) of dimension `axis`. */
static void cut(const struct mt_gparam *p, const float *full, float *part)
{
    int64_t outer = 1, inner = 1, n, from;

    for (int d = 0; d < p->full.rank; d++) {
        outer *= d < p->axis ? p->full.dim[d] : 1;
        inner *= d > p->axis ? p->full.dim[d] : 1;
    }
    from = p->first * inner;
    n = p->desc.spec.dim[p->axis] * inner;
    inner *= p->full.dim[p->axis];
    for (int64_t o = 0; o < outer; o++) {
        memcpy(part + o * n, full + o * inner + from, (size_t)n * sizeof *part);
    }
}

/* First values of what this process holds of a parameter: those of the whole network. */
static int draw(struct mt_store *s, const struct mt_gparam *p, uint64_t seed, float *dst)
{
    struct mt_param whole = p->desc;
    float *full = NULL;
    int st;

    if (mt_spec_equal(&p->full, &p->desc.spec)) {
        return mt_init_fill(s->ctx, &p->desc, p->name, seed, dst);
    }
    whole.spec = p->full;
    MT_TRY(MT_NEW_N(s->ctx, mt_spec_count(&p->full), &full));
    st = mt_init_fill(s->ctx, &whole, p->name, seed, full);
    if (st == MOTLEY_OK) {
        cut(p, full, dst);
    }
    mt_free(s->ctx, full);
    return st;
}

static int init_list(struct mt_store *s, const struct mt_gparam *list, int n, struct mt_buf *buf,
                     uint64_t seed)
{
    for (int i = 0; i < n; i++) {
        const struct mt_range *r = &list[i].range;
        float *host = NULL;
        int st;

        if (!list[i].held) {
            continue;
        }
        MT_TRY(MT_NEW_N(s->ctx, r->hi - r->lo, &host));
        st = draw(s, &list[i], seed, host);
        if (st == MOTLEY_OK) {
            st = mt_buf_write(buf, r->lo * 4, (r->hi - r->lo) * 4, host);
        }
        mt_free(s->ctx, host);
        MT_TRY(st);
    }
    return MOTLEY_OK;
}

int mt_store_set_loss_scale(struct mt_store *s, double scale, double streak)
{
    int exponent;
    float v[2];

    if (s->storage != MT_FP16 || s->scalar == NULL) {
        return MOTLEY_OK;
    }
    frexp(scale, &exponent);
    v[0] = (float)ldexp(1, exponent - 1);
    v[1] = (float)streak;
    return mt_buf_write(s->scalar, 4 * MT_SCALAR_LOSS_SCALE, sizeof v, v);
}

int mt_store_get_loss_scale(struct mt_store *s, double *scale, double *streak)
{
    float v[2] = {0, 0};

    if (s->storage == MT_FP16 && s->scalar != NULL) {
        MT_TRY(mt_buf_read(s->scalar, 4 * MT_SCALAR_LOSS_SCALE, sizeof v, v));
    }
    *scale = (double)v[0];
    *streak = (double)v[1];
    return MOTLEY_OK;
}

int mt_store_refresh(struct mt_store *s)
{
    struct mt_tensor all = {.spec = mt_spec_new(MT_F32, 0, 1, &(int64_t){(int64_t)s->size}),
                            .buf = s->param};
    struct mt_tensor copy = all;

    if (s->narrow == NULL) {
        return MOTLEY_OK;
    }
    copy.spec.dtype = s->storage;
    copy.buf = s->work;
    return mt_cast_run(s->dev, s->narrow, &copy, &all, 0);
}

int mt_store_init(struct mt_store *s, const struct mt_graph *g, uint64_t seed)
{
    MT_TRY(init_list(s, g->param, g->nparam, s->param, seed));
    MT_TRY(init_list(s, g->state, g->nstate, s->state, seed));
    return mt_store_refresh(s);
}
