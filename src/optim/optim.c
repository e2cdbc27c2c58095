/* optim.c -- what all optimizers share: reading options, binding, launching. */
#include "optim/optim.h"

#include "base/ctx.h"
#include "device/dev.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct mt_optim_kind *find(const char *name)
{
    for (int i = 0; mt_optims[i] != NULL; i++) {
        if (strcmp(mt_optims[i]->name, name) == 0) {
            return mt_optims[i];
        }
    }
    return NULL;
}

static int unknown(const struct mt_tree *t, const char *word)
{
    char list[256] = "";

    for (int i = 0; mt_optims[i] != NULL; i++) {
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "",
                 mt_optims[i]->name);
    }
    MT_TREE_FAIL(t, "unknown optimizer '%s'; there are %s", word, list);
}

int mt_optim_new(struct mt_ctx *ctx, const struct mt_tree *t, struct mt_optim **out)
{
    static const char *const skip[] = {"type", NULL};
    const struct mt_tree *type = mt_tree_get(t, "type");
    const char *word = "sgd";
    struct mt_tree none = {.kind = MT_TREE_NULL};
    struct mt_optim *o = NULL;
    char what[64];
    int st;

    if (t != NULL && t->kind == MT_TREE_SCALAR) {
        type = t;   /* `optimizer: adam` */
        none = *t;
        none.kind = MT_TREE_NULL;
        t = &none;
    }
    if (type != NULL) {
        if (type->kind != MT_TREE_SCALAR && type != t) {
            MT_TREE_FAIL(type, "the type of an optimizer is one word");
        }
        word = type->text;
    }
    if (find(word) == NULL) {
        return unknown(type, word);
    }
    MT_TRY(MT_NEW(ctx, &o));
    o->ctx = ctx;
    o->kind = find(word);
    snprintf(what, sizeof what, "optimizer %s", word);
    st = mt_tree_attrs(t != NULL ? t : &none, o->kind->attrs, what, skip, o->attr, NULL);
    if (st < 0) {
        mt_free(ctx, o);
        return mt_err_trace(st, __func__, __FILE__, __LINE__);
    }
    *out = o;
    return MOTLEY_OK;
}

void mt_optim_free(struct mt_optim *o)
{
    if (o != NULL) {
        mt_free(o->ctx, o);
    }
}

int mt_optim_bind_vector(struct mt_optim *o, struct mt_dev *dev, int vector)
{
    char defines[128];

    snprintf(defines, sizeof defines, "-DV=%d%s%s%s%s", vector, o->kind->defines ? " " : "",
             o->kind->defines ? o->kind->defines : "", o->storage != MT_F32 ? " " : "",
             mt_dtype_defines(o->storage));
    o->vector = vector;
    return mt_kernel_get(dev, o->kind->file, o->kind->kernel, defines, &o->kernel);
}

int mt_optim_bind(struct mt_optim *o, struct mt_dev *dev)
{
    return mt_optim_bind_vector(o, dev, mt_dev_vector(dev));
}

int mt_optim_update(const struct mt_optim *o, struct mt_dev *dev, const struct mt_optim_args *a)
{
    const struct mt_optim_kind *k = o->kind;
    struct mt_arg arg[6 + MT_OPTIM_SLOTS + MT_OPTIM_NUMBERS];
    struct mt_tensor work = {.spec = {.dtype = o->storage}, .buf = a->work, .off = a->range.lo};
    float num[MT_OPTIM_NUMBERS];
    uint64_t lo = a->range.lo, count = a->range.hi - lo;
    int n = 0;

    MT_BUG_IF(lo % 64 != 0 || count % 64 != 0);
    MT_CHECK(count <= UINT32_MAX - MT_WG, MOTLEY_EUNSUP,
             "one update of %" PRIu64 " weights exceeds the limit of 2^32; lower "
             "parallel.bucket_bytes", count);
    k->fill(o, a->step, a->lr, num);
    arg[n++] = mt_b(a->param, lo);
    if (o->storage != MT_F32) {
        arg[n++] = mt_t(&work);
    }
    arg[n++] = mt_b(a->grad, lo);
    for (int i = 0; i < k->nslots; i++) {
        arg[n++] = mt_b(a->slot[i], lo);
    }
    arg[n++] = mt_b(a->group, lo / 64);
    arg[n++] = mt_b(a->scalar, 0);
    arg[n++] = mt_u32((uint32_t)count);
    for (int i = 0; i < k->numbers; i++) {
        arg[n++] = mt_f32(num[i]);
    }
    return mt_launch(dev, o->kernel, mt_items(count / (uint64_t)o->vector, MT_WG), arg, n);
}

double mt_optim_lr(const struct mt_optim *o)
{
    return o->attr[0].f;
}
