/* load.h -- what planning knows: the work of a network, the speed of devices, the links between
 * them. Nothing here touches a device; profile.c measures, cluster.c reads descriptions. */
#ifndef MT_PARALLEL_LOAD_H
#define MT_PARALLEL_LOAD_H

#include "parallel/layout.h"

enum mt_work { MT_WORK_FWD = 0, MT_WORK_DATA, MT_WORK_PARAM, MT_WORKS };

/* Work of one node: constant part and part of each sample. */
struct mt_load_node {
    const char *name;                       /* borrowed from the graph */
    double flop[MT_WORKS], flop_row[MT_WORKS];
    double bytes[MT_WORKS], bytes_row[MT_WORKS];
    double params;                          /* elements */
    double kept_row;                        /* bytes a sample of values that backward needs */
    double cut_row;                         /* bytes a sample of the values that cross a cut in
                                               front of this node (gradients: the same back) */
    int divides;                            /* tensor partition can divide it */
    double tensor_row;                      /* bytes a sample that a divided node sums over its
                                               parts, forward and as much backward */
};

struct mt_load {
    struct mt_ctx *ctx;
    int n;
    struct mt_load_node *node;
    int slots;                              /* of the optimizer: numbers a parameter */
    double copy_bytes;                      /* a parameter: of the copy that layers read, if there
                                               is one */
    double x_row, y_row;                    /* bytes of input and targets a sample */
    double grad_bytes;                      /* of a gradient on its way between hosts */
};

/* optim NULL: no slots. bf16: gradients travel so. The graph must outlive it. Gives *out. */
struct mt_optim;
int mt_load_new(const struct mt_graph *whole, const struct mt_optim *optim, int bf16,
                struct mt_load **out);
/* Bytes of a gradient in a sum over replicas: of one host, where nothing is packed, or of more. */
double mt_load_sum_bytes(const struct mt_load *l, int one_host);
void mt_load_free(struct mt_load *l);

/* Seconds against samples: straight lines between measured points, the last one continued. */
#define MT_CURVE_POINTS 8
struct mt_curve {
    int n;
    double rows[MT_CURVE_POINTS], seconds[MT_CURVE_POINTS];
};
double mt_curve_at(const struct mt_curve *c, double rows);

/* One kind of device. Measured: curve[node][work]. Described (curve NULL): the larger of
 * flop / rate and bytes / bandwidth, and `launch` for each node. */
struct mt_speed {
    char name[96];
    double memory_bytes, max_alloc_bytes;   /* 0: no limit known */
    struct mt_curve (*curve)[MT_WORKS];     /* load.n of them; freed with the cluster */
    double flops, bandwidth, launch;        /* 1/s, bytes/s, s */
    double update;                          /* seconds a parameter of the optimizer's update */
    double step;                            /* seconds a step whatever it does (host) */
    double add;                             /* seconds a parameter to add its gradient to that of
                                               the micro-batches before */
    struct mt_curve read;                   /* seconds that reading samples takes from the device,
                                               against samples of a step; n 0: none */
};
double mt_speed_time(const struct mt_speed *s, const struct mt_load *l, int node,
                     enum mt_work work, double rows);
/* The same for a part of a divided node, `width` of the whole; nodes that tensor partition does
 * not divide take the time of the whole. */
double mt_speed_part(const struct mt_speed *s, const struct mt_load *l, int node,
                     enum mt_work work, double rows, double width);

struct mt_path { double latency, bandwidth; };   /* s, bytes/s, one direction */

struct mt_cluster {
    struct mt_ctx *ctx;
    int nrank, nkind, nhost;
    int *kind, *host;                       /* by rank */
    struct mt_speed *speed;                 /* by kind */
    struct mt_path local;                   /* two ranks of one host */
    struct mt_path remote;                  /* of two hosts */
    struct mt_path *between;                /* nhost x nhost where measured or described; NULL */
    /* What real steps of this network took beyond the rest (rehearse.c), if all ranks are of one
     * host, or each of its own: */
    struct mt_curve sums;                   /* seconds of a step for summing all gradients over all
                                               ranks, against samples of a rank; n 0: by `local` */
    struct mt_path hand;                    /* what a message between stages takes of the time of
                                               each of its two ranks; bandwidth 0: nothing */
    struct mt_path inner;                   /* sums in divided layers; bandwidth 0: by `local` */
};
void mt_cluster_free(struct mt_cluster *c);
struct mt_path mt_cluster_path(const struct mt_cluster *c, int rank_a, int rank_b);

#endif
