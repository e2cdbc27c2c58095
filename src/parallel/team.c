/* team.c -- ways to put ranks together as replicas. */
#include "parallel/team.h"

#include "base/ctx.h"

#include <stdlib.h>
#include <string.h>

/* ---- order ----------------------------------------------------------------------------------- */

struct place {
    double rate;
    int kind, host, rank;
};

static int by_kind(const void *a, const void *b)
{
    const struct place *p = a, *q = b;

    if (p->rate != q->rate) {
        return p->rate < q->rate ? 1 : -1;
    }
    return p->kind != q->kind   ? p->kind - q->kind
           : p->host != q->host ? p->host - q->host
                                : p->rank - q->rank;
}

int mt_team_order(const struct mt_cluster *c, const double *rate, int **out)
{
    struct place *p = NULL;
    int *order = NULL, st;

    MT_TRY_OR(end, MT_NEW_N(c->ctx, c->nrank, &p));
    MT_TRY_OR(end, MT_NEW_N(c->ctx, c->nrank, &order));
    for (int r = 0; r < c->nrank; r++) {
        p[r] = (struct place){rate[r], c->kind[r], c->host[r], r};
    }
    qsort(p, (size_t)c->nrank, sizeof *p, by_kind);
    for (int r = 0; r < c->nrank; r++) {
        order[r] = p[r].rank;
    }
    *out = order;
end:
    mt_free(c->ctx, p);
    return st;
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* Blocks of ranks: label[r] is 0 for a rank that is left out, else its block, numbered in the
 * order of their lowest ranks. */
struct all {
    const struct mt_cluster *c;
    const struct mt_plan_wish *wish;
    mt_team_fn *fn;
    void *arg;
    int alike[MT_TEAM_ALL];        /* of rank r: the first rank of the same kind and host */
    int label[MT_TEAM_ALL];
    int n;
    uint64_t *seen;                /* codes of what came before */
    int nseen, roomseen;
};

/* One block as a number: the kinds in it, in digits of base MT_TEAM_ALL + 1. */
static uint64_t block_code(const struct all *a, int block)
{
    uint64_t code = 0;

    for (int first = 0; first < a->n; first++) {
        uint64_t count = 0;

        for (int r = first; r < a->n; r++) {
            count += a->label[r] == block && a->alike[r] == first;
        }
        code = code * (MT_TEAM_ALL + 1) + count;
    }
    return code;
}

/* Whether a division like this one was seen; else it is now. The blocks' numbers are mixed one by
 * one and added, so their order does not count. */
static int seen(struct all *a, int blocks, int *known)
{
    uint64_t code = 0;

    for (int b = 1; b <= blocks; b++) {
        uint64_t h = block_code(a, b) * UINT64_C(0x9e3779b97f4a7c15);

        h = (h ^ h >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
        code += h ^ h >> 32;
    }
    *known = 1;
    for (int i = 0; i < a->nseen; i++) {
        if (a->seen[i] == code) {
            return MOTLEY_OK;
        }
    }
    if (a->nseen == a->roomseen) {
        MT_TRY(MT_RESIZE(a->c->ctx, 2 * a->roomseen + 64, &a->seen));
        a->roomseen = 2 * a->roomseen + 64;
    }
    a->seen[a->nseen++] = code;
    *known = 0;
    return MOTLEY_OK;
}

/* Ranks of a block, those of a host together, much memory first: the first stage keeps most. */
static int block_ranks(const struct all *a, int block, int *rank)
{
    const struct mt_cluster *c = a->c;
    int n = 0;

    for (int r = 0; r < a->n; r++) {
        int at = n;

        if (a->label[r] != block) {
            continue;
        }
        while (at > 0 && (c->host[rank[at - 1]] > c->host[r] ||
                          (c->host[rank[at - 1]] == c->host[r] &&
                           c->speed[c->kind[rank[at - 1]]].memory_bytes <
                               c->speed[c->kind[r]].memory_bytes))) {
            rank[at] = rank[at - 1];
            at--;
        }
        rank[at] = r;
        n++;
    }
    return n;
}

static int same_host(const struct mt_cluster *c, const int *rank, int n)
{
    for (int i = 1; i < n; i++) {
        if (c->host[rank[i]] != c->host[rank[0]] || c->kind[rank[i]] != c->kind[rank[0]]) {
            return 0;
        }
    }
    return 1;
}

/* The division as pipelines of groups of `tensor` ranks; nothing if it is not what is wished. */
static int give(struct all *a, int blocks, int tensor)
{
    const struct mt_plan_wish *w = a->wish;
    struct mt_team *t = NULL;
    int rank[MT_TEAM_ALL], st;

    MT_TRY(mt_team_new(a->c->ctx, a->n, &t));
    for (int b = 1; b <= blocks; b++) {
        int n = block_ranks(a, b, rank), fits = n % tensor == 0;

        fits = fits && (w->stages == 0 || w->stages == n / tensor);
        for (int i = 0; fits && i < n; i += tensor) {
            fits = same_host(a->c, rank + i, tensor);
        }
        if (!fits) {
            mt_team_free(t);
            return MOTLEY_OK;
        }
        mt_team_add(t, n / tensor, tensor, rank);
    }
    st = a->fn(a->arg, t);
    return st < 0 ? mt_err_trace(st, __func__, __FILE__, __LINE__) : MOTLEY_OK;
}

static int divide(struct all *a, int r, int blocks)
{
    const struct mt_plan_wish *w = a->wish;
    int known;

    if (r < a->n) {
        for (a->label[r] = w->use_all ? 1 : 0; a->label[r] <= blocks + 1; a->label[r]++) {
            int label = a->label[r];

            MT_TRY(divide(a, r + 1, blocks + (label == blocks + 1)));
            a->label[r] = label;
        }
        return MOTLEY_OK;
    }
    if (blocks == 0 || (w->data != 0 && w->data != blocks)) {
        return MOTLEY_OK;
    }
    MT_TRY(seen(a, blocks, &known));
    for (int tensor = 1; !known && tensor <= a->n; tensor++) {
        if (w->tensor == 0 || w->tensor == tensor) {
            MT_TRY(give(a, blocks, tensor));
        }
    }
    return MOTLEY_OK;
}

int mt_teams_all(const struct mt_cluster *c, const struct mt_plan_wish *wish, mt_team_fn *fn,
                 void *arg)
{
    struct all a = {.c = c, .wish = wish, .fn = fn, .arg = arg, .n = c->nrank};
    int st;

    MT_BUG_IF(c->nrank > MT_TEAM_ALL);
    for (int r = 0; r < c->nrank; r++) {
        while (c->kind[a.alike[r]] != c->kind[r] || c->host[a.alike[r]] != c->host[r]) {
            a.alike[r]++;
        }
    }
    st = divide(&a, 0, 0);
    mt_free(c->ctx, a.seen);
    return st < 0 ? mt_err_trace(st, __func__, __FILE__, __LINE__) : MOTLEY_OK;
}

/* ---- regular ones ---------------------------------------------------------------------------- */

int mt_team_runs(const struct mt_cluster *c, const int *order, int n, int data, int stages,
                 int tensor, struct mt_team **out)
{
    int each = stages * tensor, crews = n / each;
    struct mt_team *t = NULL;

    *out = NULL;
    if (crews < 1 || (data > 0 && crews < data)) {
        return MOTLEY_OK;
    }
    crews = data > 0 ? data : crews;
    for (int i = 0; i < crews * each; i += tensor) {
        if (!same_host(c, order + i, tensor)) {
            return MOTLEY_OK;
        }
    }
    MT_TRY(mt_team_new(c->ctx, n, &t));
    for (int i = 0; i < crews; i++) {
        mt_team_add(t, stages, tensor, order + i * each);
    }
    *out = t;
    return MOTLEY_OK;
}

/* Whole groups of `tensor` ranks of a host among n ranks of one kind, which stand by host: to
 * *group, ranks that are left over to *rest. Returns the number of ranks in groups. */
static int groups(const struct mt_cluster *c, const int *rank, int n, int tensor, int *group,
                  int *rest, int *nrest)
{
    int ngroup = 0;

    for (int i = 0; i < n;) {
        if (i + tensor <= n && same_host(c, rank + i, tensor)) {
            memcpy(group + ngroup, rank + i, (size_t)tensor * sizeof *rank);
            ngroup += tensor;
            i += tensor;
        } else {
            rest[(*nrest)++] = rank[i++];
        }
    }
    return ngroup;
}

int mt_team_kinds(const struct mt_cluster *c, const int *order, const struct mt_team_choice *choice,
                  int mix, struct mt_team **out)
{
    struct mt_team *t = NULL;
    int *group = NULL, *rest = NULL, nrest = 0, st;

    *out = NULL;
    MT_TRY_OR(end, MT_NEW_N(c->ctx, c->nrank, &group));
    MT_TRY_OR(end, MT_NEW_N(c->ctx, c->nrank, &rest));
    MT_TRY_OR(end, mt_team_new(c->ctx, c->nrank, &t));
    for (int i = 0, end; i < c->nrank; i = end) {
        const struct mt_team_choice *w = &choice[c->kind[order[i]]];
        int n, each = w->stages * w->tensor, at = 0;

        for (end = i; end < c->nrank && c->kind[order[end]] == c->kind[order[i]];) {
            end++;
        }
        if (each == 0) {
            continue;
        }
        n = groups(c, order + i, end - i, w->tensor, group, rest, &nrest);
        for (; at + each <= n; at += each) {
            mt_team_add(t, w->stages, w->tensor, group + at);
        }
        for (; at < n; at++) {
            rest[nrest++] = group[at];
        }
    }
    if (mix && nrest > 0) {
        mt_team_add(t, nrest, 1, rest);
    }
    if (t->ncrew > 0 && !(mix && nrest == 0)) {
        *out = t;
        t = NULL;
    }
end:
    mt_team_free(t);
    mt_free(c->ctx, group);
    mt_free(c->ctx, rest);
    return st;
}

int mt_team_joined(const struct mt_cluster *c, const int *order, const char *use, int data,
                   int tensor, int most, struct mt_team **out)
{
    struct mt_team *t = NULL;
    int *group = NULL, *rest = NULL, *crew = NULL, *first = NULL, *each = NULL;
    int nrest = 0, used = 0, kinds = 0, stages = 0, st;

    *out = NULL;
    MT_TRY_OR(end, MT_NEW_N(c->ctx, c->nrank, &group));
    MT_TRY_OR(end, MT_NEW_N(c->ctx, c->nrank, &rest));
    MT_TRY_OR(end, MT_NEW_N(c->ctx, c->nrank, &crew));
    MT_TRY_OR(end, MT_NEW_N(c->ctx, c->nkind, &first));
    MT_TRY_OR(end, MT_NEW_N(c->ctx, c->nkind, &each));
    for (int i = 0, end; i < c->nrank; i = end) {
        int kind = c->kind[order[i]], n;

        for (end = i; end < c->nrank && c->kind[order[end]] == kind;) {
            end++;
        }
        if (!use[kind]) {
            continue;
        }
        n = groups(c, order + i, end - i, tensor, group + used, rest, &nrest);
        first[kinds] = used;
        each[kinds] = n / tensor / data * tensor;
        used += n;
        stages += each[kinds] / tensor;
        if (each[kinds++] == 0 || stages > most) {
            goto end;
        }
    }
    MT_TRY_OR(end, mt_team_new(c->ctx, c->nrank, &t));
    for (int r = 0; r < data && kinds > 0; r++) {
        int n = 0;

        for (int k = 0; k < kinds; k++) {
            memcpy(crew + n, group + first[k] + r * each[k], (size_t)each[k] * sizeof *crew);
            n += each[k];
        }
        mt_team_add(t, stages, tensor, crew);
    }
    *out = t;
end:
    mt_free(c->ctx, group);
    mt_free(c->ctx, rest);
    mt_free(c->ctx, crew);
    mt_free(c->ctx, first);
    mt_free(c->ctx, each);
    return st;
}
