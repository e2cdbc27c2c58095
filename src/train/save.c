/* save.c -- between a session and checkpoints: rank 0 reads and writes files, which know nothing
 * of ranks: every parameter has its full name and shape, wherever its parts lie. The whole file
 * goes through host memory when it is read, so that its checksum is right before anything is
 * loaded; it is written piece by piece. */
#define _POSIX_C_SOURCE 200809L
#include "train/session.h"

#include "base/hash.h"
#include "device/buf.h"
#include "train/gather.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define CHUNK (1u << 20)   /* numbers moved at a time */

static const struct mt_graph *graph_of(const struct mt_session *s)
{
    return s->train.graph != NULL  ? s->train.graph
           : s->eval.graph != NULL ? s->eval.graph
                                   : s->predict.graph;
}

/* The tensors of a file, as checkpoints want them: those of the whole network. */
struct list {
    struct mt_ctx *ctx;
    struct mt_gather *gather;    /* to write from; NULL: a list to load by */
    int n;
    struct mt_safetensor *tensor;
    struct origin {
        int space, number;       /* as mt_gather_read wants it */
    } *origin;
};

static int get(void *arg, int i, uint64_t first, uint64_t count, float *dst)
{
    const struct list *l = arg;

    for (uint64_t at = 0; at < count; at += MT_GATHER_MOST) {
        uint64_t n = count - at < MT_GATHER_MOST ? count - at : MT_GATHER_MOST;

        MT_TRY(mt_gather_read(l->gather, l->origin[i].space, l->origin[i].number, first + at, n,
                              dst + at));
    }
    return MOTLEY_OK;
}

static int add(struct list *l, int space, int number, const struct mt_gparam *p,
               const char *slot)
{
    struct mt_safetensor *t = &l->tensor[l->n];
    char *name = NULL;

    MT_TRY(mt_mem_printf(l->ctx, &name, "%s%s%s", p->name, slot != NULL ? "." : "",
                         slot != NULL ? slot : ""));
    t->name = name;
    t->rank = p->full.rank;
    memcpy(t->dim, p->full.dim, sizeof t->dim);
    t->count = (uint64_t)mt_spec_count(&p->full);
    l->origin[l->n] = (struct origin){space, number};
    l->n++;
    return MOTLEY_OK;
}

/* Of a list that was made, made in part, or is all zero. */
static void list_fini(struct list *l)
{
    for (int i = 0; i < l->n; i++) {
        mt_free(l->ctx, (char *)l->tensor[i].name);
    }
    mt_free(l->ctx, l->tensor);
    mt_free(l->ctx, l->origin);
}

static int list_init(struct list *l, struct mt_ctx *ctx, int room)
{
    l->ctx = ctx;
    MT_TRY(MT_NEW_N(ctx, room + 1, &l->tensor));
    return MT_NEW_N(ctx, room + 1, &l->origin);
}

static int list_weights(struct mt_session *s, struct list *l)
{
    const struct mt_graph *g = s->whole;

    MT_TRY(list_init(l, s->ctx, g->nparam + g->nstate));
    for (int i = 0; i < g->nparam; i++) {
        MT_TRY(add(l, MT_SPACE_PARAM, i, &g->param[i], NULL));
    }
    for (int i = 0; i < g->nstate; i++) {
        MT_TRY(add(l, MT_SPACE_STATE, i, &g->state[i], NULL));
    }
    return MOTLEY_OK;
}

static int list_slots(struct mt_session *s, struct list *l)
{
    const struct mt_graph *g = s->whole;
    const struct mt_optim_kind *k = s->optim->kind;

    MT_TRY(list_init(l, s->ctx, g->nparam * k->nslots));
    for (int j = 0; j < k->nslots; j++) {
        for (int i = 0; i < g->nparam; i++) {
            MT_TRY(add(l, MT_SPACE_SLOT + j, i, &g->param[i], k->slots[j]));
        }
    }
    return MOTLEY_OK;
}

/* ---- comparing replicas -------------------------------------------------------------- */

/* What a rank has of one parameter. */
struct print {
    int32_t held, axis;
    int64_t lo, hi;
    char digest[MT_HASH_TEXT];
};

static int digest(struct mt_session *s, const struct mt_gparam *p, float *chunk, char *out)
{
    struct mt_hash *h = NULL;
    int st = MOTLEY_OK;

    MT_TRY(mt_hash_new(s->ctx, &h));
    for (uint64_t at = p->range.lo; at < p->range.hi; at += CHUNK) {
        uint64_t n = p->range.hi - at < CHUNK ? p->range.hi - at : CHUNK;

        MT_TRY_OR(done, mt_buf_read(s->store->param, 4 * at, 4 * n, chunk));
        mt_hash_add(h, chunk, 4 * n);
    }
    mt_hash_text(h, out);
done:
    mt_hash_free(h);
    return st;
}

/* mine: one a parameter of the network. */
static int take_prints(struct mt_session *s, struct print *mine)
{
    float *chunk = NULL;
    int st = MOTLEY_OK;

    MT_TRY(MT_NEW_N(s->ctx, CHUNK, &chunk));
    for (int i = 0; i < s->whole->nparam; i++) {
        const struct mt_gparam *p = mt_gather_own(s, MT_SPACE_PARAM, i);

        if (p != NULL && p->held) {
            mine[i] = (struct print){.held = 1, .axis = p->axis, .lo = p->first};
            mine[i].hi = p->first + (p->desc.spec.rank > 0 ? p->desc.spec.dim[p->axis] : 1);
            MT_TRY_OR(done, digest(s, p, chunk, mine[i].digest));
        }
    }
done:
    mt_free(s->ctx, chunk);
    return st;
}

/* Ranks that have the same part of a parameter have the same numbers. */
static int all_equal(struct mt_session *s, const struct print *all)
{
    int n = s->whole->nparam;
    char who[256], first[256];

    for (int i = 0; i < n; i++) {
        for (int r = 1; r < s->job->info->size; r++) {
            const struct print *a = &all[r * n + i];

            for (int q = 0; q < r && a->held; q++) {
                const struct print *b = &all[q * n + i];

                if (!b->held || a->axis != b->axis || a->lo != b->lo || a->hi != b->hi) {
                    continue;
                }
                MT_CHECK(strcmp(a->digest, b->digest) == 0, MOTLEY_ENUM,
                         "replicas differ after step %" PRId64 ": %s has other weights of %s than "
                         "%s; its device does not round as it must, `motley check` on it may say "
                         "where", s->pos.step, mt_comm_who(s->job->comm, r, who, sizeof who),
                         s->whole->param[i].name,
                         mt_comm_who(s->job->comm, q, first, sizeof first));
                break;
            }
        }
    }
    return MOTLEY_OK;
}

int mt_session_compare(struct mt_session *s)
{
    size_t n = (size_t)s->whole->nparam, size = (size_t)s->job->info->size;
    struct print *mine = NULL, *all = NULL;
    int st = MOTLEY_OK;

    if (size == 1) {
        return MOTLEY_OK;
    }
    MT_TRY(mt_job_agree(s->job, MT_NEW_N(s->ctx, n, &mine)));
    MT_TRY_OR(done, mt_job_agree(s->job, MT_NEW_N(s->ctx, n * size, &all)));
    MT_TRY_OR(done, mt_job_agree(s->job, take_prints(s, mine)));
    MT_TRY_OR(done, mt_comm_allgather(s->job->comm, mine, n * sizeof *mine, all));
    MT_TRY_OR(done, mt_job_agree(s->job, all_equal(s, all)));
done:
    mt_free(s->ctx, mine);
    mt_free(s->ctx, all);
    return st;
}

/* ---- saving -------------------------------------------------------------------------- */

static int write_it(struct mt_session *s, struct mt_gather *g, const char *folder)
{
    struct list weights = {.gather = g}, slots = {.gather = g};
    struct mt_ckpt_part w, o;
    int st = MOTLEY_OK;

    MT_TRY_OR(done, list_weights(s, &weights));
    w = (struct mt_ckpt_part){weights.n, weights.tensor, get, &weights};
    if (s->optim != NULL) {
        MT_TRY_OR(done, list_slots(s, &slots));
        MT_TRY_OR(done, mt_store_get_loss_scale(s->store, &s->pos.loss_scale, &s->pos.streak));
        o = (struct mt_ckpt_part){slots.n, slots.tensor, get, &slots};
    }
    MT_TRY_OR(done, mt_ckpt_write(s->ctx, folder, &s->pos, &w, s->optim != NULL ? &o : NULL,
                                  s->optim != NULL ? s->optim->kind->name : NULL));
done:
    list_fini(&weights);
    list_fini(&slots);
    return st;
}

/* Rank 0 writes, the others answer it. */
static int write_or_serve(struct mt_session *s, struct mt_gather *g, const char *folder)
{
    int code, end;

    if (s->job->info->rank != 0) {
        return mt_gather_serve(g);
    }
    code = write_it(s, g, folder);
    end = mt_gather_end(g);
    return code < 0 ? code : end;
}

int mt_session_save(struct mt_session *s, const char *folder)
{
    struct mt_gather *g = NULL;
    int st = MOTLEY_OK;

    MT_TRY(mt_session_compare(s));
    MT_TRY(mt_job_agree(s->job, mt_gather_new(s, &g)));
    MT_TRY_OR(done, mt_job_agree(s->job, write_or_serve(s, g, folder)));
done:
    mt_gather_free(g);
    return st;
}

/* ---- loading ------------------------------------------------------------------------- */

/* The head of a checkpoint on its way from rank 0 to all. */
struct head {
    uint64_t weights_bytes, optim_bytes;
    struct mt_ckpt_pos pos;
    char optimizer[64];
    char path[PATH_MAX];
};

static int share_block(struct mt_session *s, char **block, size_t *bytes, uint64_t want)
{
    int code = MOTLEY_OK;

    if (s->job->info->rank != 0 && want > 0) {
        code = mt_mem_get(s->ctx, want + 1, 1, (void **)block);
        *bytes = (size_t)want;
    }
    MT_TRY(mt_job_agree(s->job, code));
    return want > 0 ? mt_comm_bcast(s->job->comm, *block, (size_t)want, 0) : MOTLEY_OK;
}

/* Makes *c, read by rank 0, known to all. Takes and gives *c. */
static int share_ckpt(struct mt_session *s, struct mt_ckpt **c)
{
    struct head head;
    int code = MOTLEY_OK;

    if (s->job->info->size == 1) {
        return MOTLEY_OK;
    }
    memset(&head, 0, sizeof head);
    if (s->job->info->rank == 0) {
        head.weights_bytes = (*c)->weights_bytes;
        head.optim_bytes = (*c)->optim_bytes;
        head.pos = (*c)->pos;
        memcpy(head.optimizer, (*c)->optimizer, sizeof head.optimizer);
        snprintf(head.path, sizeof head.path, "%s", (*c)->path);
    }
    MT_TRY(mt_comm_bcast(s->job->comm, &head, sizeof head, 0));
    if (s->job->info->rank != 0) {
        code = MT_NEW(s->ctx, c);
        if (code == MOTLEY_OK) {
            (*c)->ctx = s->ctx;
            (*c)->pos = head.pos;
            memcpy((*c)->optimizer, head.optimizer, sizeof head.optimizer);
            code = mt_mem_strdup(s->ctx, head.path, &(*c)->path);
        }
    }
    MT_TRY(mt_job_agree(s->job, code));
    MT_TRY(share_block(s, &(*c)->weights, &(*c)->weights_bytes, head.weights_bytes));
    return share_block(s, &(*c)->optim, &(*c)->optim_bytes, head.optim_bytes);
}

/* Every tensor of the list is in the file with its shape, and nothing else is. */
static int check_names(const struct mt_safetensors *f, const struct list *l, const char *path,
                       const char *what)
{
    char there[128], here[128];

    for (int i = 0; i < l->n; i++) {
        const struct mt_safetensor *t = &l->tensor[i];
        int k = mt_safetensors_find(f, t->name);

        MT_CHECK(k >= 0, MOTLEY_EFORMAT, "%s is of another network: it has no %s '%s'", path, what,
                 t->name);
        MT_CHECK(f->tensor[k].rank == t->rank &&
                     memcmp(f->tensor[k].dim, t->dim, (size_t)t->rank * sizeof *t->dim) == 0,
                 MOTLEY_EFORMAT, "%s is of another network: its %s '%s' has shape %s, here %s",
                 path, what, t->name,
                 mt_safetensors_shape(f->tensor[k].rank, f->tensor[k].dim, there, sizeof there),
                 mt_safetensors_shape(t->rank, t->dim, here, sizeof here));
    }
    for (int k = 0; k < f->n && f->n > l->n; k++) {
        int known = 0;

        for (int i = 0; i < l->n && !known; i++) {
            known = strcmp(l->tensor[i].name, f->tensor[k].name) == 0;
        }
        MT_CHECK(known, MOTLEY_EFORMAT,
                 "%s is of another network: it has a %s '%s' that this one has not", path, what,
                 f->tensor[k].name);
    }
    return MOTLEY_OK;
}

/* What this process holds of tensor i. */
static int upload_one(struct mt_session *s, const struct mt_safetensors *f, const struct list *l,
                      int i, float *chunk, float *part)
{
    const struct mt_gparam *p = mt_gather_own(s, l->origin[i].space, l->origin[i].number);
    struct mt_buf *buf = mt_gather_buf(s, l->origin[i].space);
    int k = mt_safetensors_find(f, l->tensor[i].name);

    for (uint64_t first = 0; p != NULL && p->held && first < l->tensor[i].count; first += CHUNK) {
        uint64_t left = l->tensor[i].count - first, n = left < CHUNK ? left : CHUNK, lo, hi;

        mt_gather_local(p, first, n, &lo, &hi);
        if (hi > lo) {
            mt_safetensors_read(f, k, first, n, chunk);
            mt_gather_take(p, first, n, chunk, part);
            MT_TRY(mt_buf_write(buf, 4 * (p->range.lo + lo), 4 * (hi - lo), part));
        }
    }
    return MOTLEY_OK;
}

static int upload(struct mt_session *s, const struct mt_safetensors *f, const struct list *l)
{
    float *chunk = NULL, *part = NULL;
    int st = MOTLEY_OK;

    MT_TRY(MT_NEW_N(s->ctx, CHUNK, &chunk));
    MT_TRY_OR(done, MT_NEW_N(s->ctx, CHUNK, &part));
    for (int i = 0; i < l->n; i++) {
        MT_TRY_OR(done, upload_one(s, f, l, i, chunk, part));
    }
done:
    mt_free(s->ctx, part);
    mt_free(s->ctx, chunk);
    return st;
}

/* One file of a checkpoint into what `make` lists; what: a tensor of it, for messages. */
static int load_file(struct mt_session *s, const char *path, const char *block, size_t bytes,
                     int (*make)(struct mt_session *s, struct list *l), const char *what)
{
    struct mt_safetensors *f = NULL;
    struct list l = {0};
    int st = MOTLEY_OK;

    MT_TRY(mt_safetensors_parse(s->ctx, path, block, bytes, &f));
    MT_TRY_OR(done, make(s, &l));
    MT_TRY_OR(done, check_names(f, &l, path, what));
    MT_TRY_OR(done, upload(s, f, &l));
done:
    list_fini(&l);
    mt_safetensors_free(f);
    return st;
}

static int load_slots(struct mt_session *s, const struct mt_ckpt *c)
{
    MT_CHECK(strcmp(c->optimizer, s->optim->kind->name) == 0, MOTLEY_EFORMAT,
             "%s was written with optimizer %s, now it is %s: state cannot be continued; take "
             "--init-from for the weights alone", c->path,
             c->optimizer[0] != '\0' ? c->optimizer : "none", s->optim->kind->name);
    if (c->optim == NULL) {
        return MOTLEY_OK;
    }
    return load_file(s, c->path, c->optim, c->optim_bytes, list_slots, "optimizer state");
}

static int load_it(struct mt_session *s, const struct mt_ckpt *c, int weights_only)
{
    char *path = NULL;

    MT_TRY(load_file(s, c->path, c->weights, c->weights_bytes, list_weights, "parameter"));
    MT_TRY(mt_store_refresh(s->store));
    if (!weights_only && s->optim != NULL) {
        MT_TRY(load_slots(s, c));
        MT_CHECK(c->pos.seed == s->config->seed, MOTLEY_ECONFIG,
                 "%s was trained with seed %" PRIu64 ", now it is %" PRIu64 ": the order of data "
                 "cannot be continued; set seed=%" PRIu64, c->path, c->pos.seed, s->config->seed,
                 c->pos.seed);
        if (strcmp(c->pos.data, s->pos.data) != 0) {
            mt_log(s->ctx, MT_LOG_WARN, "train",
                   "%s was trained on other data; the run continues on what is configured now",
                   c->path);
        }
        if (c->pos.loss_scale > 0) {
            MT_TRY(mt_store_set_loss_scale(s->store, c->pos.loss_scale, c->pos.streak));
        }
        s->pos.step = c->pos.step;
        s->pos.epoch = c->pos.epoch;
        s->pos.position = c->pos.position;
    }
    if (s->optim == NULL) {
        s->pos.step = c->pos.step;   /* for reports */
    }
    MT_TRY(mt_mem_strdup(s->ctx, c->path, &path));
    mt_free(s->ctx, s->loaded);
    s->loaded = path;
    return mt_dev_finish(s->job->dev);
}

int mt_session_load(struct mt_session *s, struct mt_ckpt *c, int weights_only)
{
    int st = MOTLEY_OK;

    MT_TRY_OR(done, share_ckpt(s, &c));
    MT_TRY_OR(done, mt_job_agree(s->job, load_it(s, c, weights_only)));
done:
    mt_ckpt_free(c);
    return st;
}

int mt_session_load_path(struct mt_session *s, const char *path, int weights_only)
{
    struct mt_ckpt *c = NULL;
    int code = s->job->info->rank == 0 ? mt_ckpt_find(s->ctx, path, &c) : MOTLEY_OK;

    MT_TRY(mt_job_agree(s->job, code));
    return mt_session_load(s, c, weights_only);
}

int mt_session_param(struct mt_session *s, const char *name, struct mt_buf **buf,
                     struct mt_range *range)
{
    const struct mt_graph *g = graph_of(s);

    for (int i = 0; i < g->nparam + g->nstate; i++) {
        const struct mt_gparam *p = i < g->nparam ? &g->param[i] : &g->state[i - g->nparam];

        if (strcmp(p->name, name) == 0) {
            MT_CHECK(p->held, MOTLEY_EARG, "parameter '%s' is in another process: this one holds "
                     "other layers of the network", name);
            *buf = i < g->nparam ? s->store->param : s->store->state;
            *range = p->range;
            return MOTLEY_OK;
        }
    }
    MT_FAIL(MOTLEY_EARG, "the network has no parameter '%s'", name);
}
