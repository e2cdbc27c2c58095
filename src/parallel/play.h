/* play.h -- inside sim*.c: forward and backward of one replica, played. */
#ifndef MT_PARALLEL_PLAY_H
#define MT_PARALLEL_PLAY_H

#include "parallel/schedule.h"
#include "parallel/sim.h"

/* The last backward of a stage: from it follows when each gradient is complete. */
struct mt_play_stage {
    double end, seconds;       /* when it ends, how long it takes */
    int kind;                  /* of the slowest of its ranks, for the times of its nodes */
    double width;
    int alive;                 /* micro-batches at once */
};

/* A group of ranks that hold the same stages. */
struct mt_play_group {
    double free;               /* when it is done */
    double busy, sums;         /* computing; sums inside divided layers */
    double other;              /* reading, and what messages take of its time */
};

struct mt_play {
    struct mt_ctx *ctx;
    int64_t rows;
    int nstage, stride, micros;
    double micro_rows;         /* of the largest micro-batch */
    double seconds;
    struct mt_play_stage *stage;
    struct mt_play_group *group;
};

/* r: a replica of a layout that was checked, with `rows` samples. Gives *out. */
int mt_play_new(struct mt_times *t, const struct mt_replica *r, enum mt_schedule schedule,
                int64_t rows, struct mt_play **out);
void mt_play_free(struct mt_play *p);

/* Whether two replicas take the same time with the same number of samples: equal cuts, devices and
 * paths. */
int mt_play_alike(const struct mt_cluster *c, const struct mt_replica *a,
                  const struct mt_replica *b);

#endif
