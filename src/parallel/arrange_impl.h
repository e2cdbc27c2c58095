/* arrange_impl.h -- what arrange.c, arrange_cut.c and arrange_rows.c share. */
#ifndef MT_PARALLEL_ARRANGE_IMPL_H
#define MT_PARALLEL_ARRANGE_IMPL_H

#include "parallel/arrange.h"

#define MT_ARRANGE_BUCKETS 1024
#define MT_ARRANGE_POINTS  12      /* of a curve */

/* A cut that was made before, or that there is none. */
struct mt_arrange_known {
    uint64_t key;
    int k;
    int *cut;              /* k + 1; NULL: none fits */
    struct mt_arrange_known *next;
};

struct mt_arranger {
    struct mt_ctx *ctx;
    struct mt_arrange_known *known[MT_ARRANGE_BUCKETS];
    struct mt_times *times;
    const struct mt_load *load;
    const struct mt_cluster *cluster;
    const char *may;
    int places;            /* most stages */
    double *params;        /* prefix sums, load.n + 1 */
};

/* Replicas that are alike. */
struct mt_arrange_class {
    const struct mt_crew *crew;    /* the first of them */
    int count;
    double rate;                   /* samples a second, if all went well */
    struct mt_replica rep;         /* as the first; nstage 0: not cut yet */
    int64_t rows;                  /* of each; the first `more` have one more */
    int more;
    int64_t cut_rows;              /* that it was cut for */
    double height;                 /* of the curve over its closed form */
    int n;                         /* points, by ascending rows */
    double at[MT_ARRANGE_POINTS], seconds[MT_ARRANGE_POINTS];
};

/* One call of mt_arrange. */
struct mt_arrange_work {
    struct mt_arranger *a;
    const struct mt_arrange_opt *o;
    const struct mt_team *team;
    int *of;                       /* class of each crew */
    int nclass;
    struct mt_arrange_class *class;
};

/* ---- arrange_cut.c ------------------------------------------------------------------------- */

/* Micro-batches and cut for the class's rows: the wished number, or more until it fits, then with
 * recomputation. *done: there is a cut that fits. */
int mt_arrange_cut(const struct mt_arrange_work *w, struct mt_arrange_class *c, int *done);
/* A replica like `from` (its cut and micro-batches) on the ranks of another crew. Gives *out
 * (mt_arrange_free_replica). */
int mt_arrange_like(struct mt_ctx *ctx, const struct mt_replica *from, const struct mt_crew *crew,
                  struct mt_replica *out);
void mt_arrange_free_replica(struct mt_ctx *ctx, struct mt_replica *r);

/* ---- arrange_rows.c ------------------------------------------------------------------------ */

/* Few ranks: every replica is a class, every time is played, and shares are improved by single
 * samples. */
int mt_arrange_few(const struct mt_arrange_work *w);
/* Puts a point on the curve; the farthest goes if it is full. */
int mt_arrange_point(const struct mt_arrange_work *w, struct mt_arrange_class *c, int64_t rows);
/* Rows of all classes such that they end together, by their curves. */
void mt_arrange_share(struct mt_arrange_work *w);
/* Moves samples from the slowest replica to the one that has them done first, as long as that
 * helps, by times that are played. */
int mt_arrange_improve(struct mt_arrange_work *w);

#endif
