/* session.h -- one network with everything it needs to train, judge or predict: data, graphs,
 * memory, steps, bound to the device of this process and agreed upon by all processes. */
#ifndef MT_TRAIN_SESSION_H
#define MT_TRAIN_SESSION_H

#include "config/config.h"
#include "data/data.h"
#include "optim/sched.h"
#include "parallel/par.h"
#include "parallel/planner.h"
#include "parallel/profile.h"
#include "train/ckpt.h"
#include "train/feed.h"
#include "train/job.h"

enum mt_session_mode { MT_SESSION_TRAIN = 0, MT_SESSION_EVAL, MT_SESSION_PREDICT,
                       MT_SESSION_PLAN };

struct mt_session_opt {
    enum mt_session_mode mode;
    int own_arrays;                /* no data section; sample says what the caller brings */
    struct mt_sample sample;
};

/* One graph ready to run, or planned. */
struct mt_task {
    struct mt_graph *graph;
    struct mt_steps steps;         /* until exec takes them over */
    struct mt_plan *plan;          /* of a session that only plans */
    struct mt_par *par;
    struct mt_exec *exec;
    struct mt_feed *feed;
    int micros;                    /* parts of a batch, one after the other */
    struct mt_spec x, y;           /* of a whole batch of this process */
    int64_t rows;                  /* dim[0] of these */
};

struct mt_session {
    struct mt_job *job;            /* borrowed */
    struct mt_ctx *ctx;
    const struct mt_config *config;   /* borrowed */
    struct mt_session_opt opt;
    struct mt_data *data;          /* NULL with own arrays */
    struct mt_sample sample;
    struct mt_graph *whole;        /* the network, for a batch of all processes; never bound */
    struct mt_layout *layout;      /* of all processes */
    struct mt_seat_in seat;        /* of this one in it */
    struct mt_planned *planned;    /* how the planner came to it; NULL: it was given */
    double *shares;                /* of the layout's replicas */
    double *found;                 /* shares by measured speed; NULL: not asked for */
    int *rival;                    /* by rank: who beats it (parallel/rivals.h); NULL: not asked */
    int moves;                     /* how often others were asked for (mt_session_reshare) */
    int64_t batch, eval_batch;     /* over all processes */
    struct mt_optim *optim;        /* NULL without training */
    struct mt_share *share;        /* where gradients lie, or may; NULL: one process, no training */
    struct mt_store *store;
    struct mt_task train, eval, predict;
    struct mt_graph *first;        /* of training, before shares moved; NULL: they never did */
    uint64_t need_bytes, have_bytes;   /* device memory: of this process, of its device */
    struct mt_ckpt_pos pos;        /* where training stands */
    struct mt_profile *profile;    /* NULL: nobody asked */
    char *loaded;                  /* checkpoint that the weights come from, NULL: none */
};

/* config must outlive the session. Gives *out. Collective. */
int mt_session_new(struct mt_job *job, const struct mt_config *config,
                   const struct mt_session_opt *opt, struct mt_session **out);
void mt_session_free(struct mt_session *s);

/* Steps that the configuration asks for, 0: unknown; and the rates over them. Gives *out. */
int mt_session_sched(const struct mt_session *s, int64_t *total, struct mt_sched **out);

/* Shapes of `rows` samples and of their targets. */
void mt_session_specs(const struct mt_sample *sample, int64_t rows, struct mt_spec *x,
                      struct mt_spec *y);

/* The device this configuration asks for: NULL leaves it to the environment. */
const char *mt_session_device(const struct mt_job *job, const struct mt_config *config);

/* ---- task.c -------------------------------------------------------------------------- */

/* Graphs, steps and memory of the tasks that the mode asks for; fails if the device has too little.
 * Nothing touches the device. */
int mt_session_plan_tasks(struct mt_session *s);
/* Of a session that only plans: their memory once programs are built, which want scratch. */
int mt_session_show_tasks(struct mt_session *s);
/* Weights and tasks on the device. Collective. */
int mt_session_start_tasks(struct mt_session *s);
void mt_session_drop_tasks(struct mt_session *s);
/* Makes the graph for prediction if it is not there yet. Local. */
int mt_session_need_predict(struct mt_session *s);

/* For reshare.c. Tasks of training and evaluation once more, for the shares of now: between two
 * steps, on the same weights. A failure leaves them in part; a further call may succeed. */
int mt_session_rebuild(struct mt_session *s);
/* Whether the memory of this process carries `rows` rows of a batch, as far as can be counted. */
int mt_session_carries(struct mt_session *s, int64_t rows, int *yes);

/* ---- grid.c -------------------------------------------------------------------------- */

/* The layout that configuration and processes ask for, of s->whole. Collective. */
int mt_session_grid(struct mt_session *s);
/* parallel.layout, the list itself or the file that it names, for so many ranks. Gives *out. */
int mt_session_given(const struct mt_config *config, const struct mt_graph *whole, int nrank,
                     struct mt_layout **out);
/* Makes l the layout of the session, and takes it unless that fails. Before any task is made of
 * it. */
int mt_session_layout(struct mt_session *s, struct mt_layout *l);
/* Rows [*lo, *hi) of a batch of `rows` that this process takes. */
void mt_session_share(const struct mt_session *s, int64_t rows, int64_t *lo, int64_t *hi);
/* Micro-batches of a training step here. */
int mt_session_micros(const struct mt_session *s);
/* Whether a rank counts the samples of its replica: one does. */
int mt_session_speaks(const struct mt_session *s, int rank);

/* ---- save.c -------------------------------------------------------------------------- */

/* Writes the state of training as a checkpoint folder, after comparing the replicas. Collective. */
int mt_session_save(struct mt_session *s, const char *folder);
/* Loads a checkpoint that rank 0 has read (NULL on the others); takes it. Collective. */
int mt_session_load(struct mt_session *s, struct mt_ckpt *c, int weights_only);
/* Finds, reads and loads: path as in mt_ckpt_find. Collective. */
int mt_session_load_path(struct mt_session *s, const char *path, int weights_only);
/* Fails if the parameters of some process differ from those of rank 0. Collective. */
int mt_session_compare(struct mt_session *s);
/* A parameter or state by its name: buffer and range. */
int mt_session_param(struct mt_session *s, const char *name, struct mt_buf **buf,
                     struct mt_range *range);

/* ---- eval.c -------------------------------------------------------------------------- */

struct mt_result {
    int64_t samples;       /* over all processes */
    double terms;          /* what the loss was divided by: samples, or targets of them */
    double loss;           /* mean per term */
    double accuracy;       /* negative: the loss counts no hits */
    double grad_norm;
};

/* On the held-out data. Collective. */
int mt_session_eval(struct mt_session *s, struct mt_result *out);
/* n samples to n * out_size numbers. Local. */
int mt_session_predict(struct mt_session *s, const float *x, int64_t n, int probability,
                       float *out);
/* One optimizer step on the caller's n samples; out NULL: nothing is waited for. Collective. */
int mt_session_step(struct mt_session *s, const float *x, const void *y, int64_t n, double lr,
                    struct mt_result *out);
/* Sums of loss, terms and hits as a result. */
struct mt_result mt_session_result(const struct mt_session *s, double loss, double terms,
                                   double hits);

/* The word of the loss, "" if there is none. */
const char *mt_session_loss(const struct mt_session *s);

/* ---- array.c ------------------------------------------------------------------------- */

/* motley_samples_load and motley_array_save of motley.h. */
int mt_session_samples(struct mt_session *s, const char *path, float **x, int64_t *n);
int mt_session_array_save(struct mt_ctx *ctx, const char *path, const float *a, int64_t rows,
                          int64_t cols);

/* ---- measure.c ----------------------------------------------------------------------- */

/* The profile of this job: measured at the first call, or read from `parallel.profile`. Kept in
 * s->profile. Needs the device open, s->whole and s->optim, and no task. Collective. */
int mt_session_profile(struct mt_session *s, const struct mt_profile **out);
/* The same as a file, written by rank 0. Collective. */
int mt_session_profile_save(struct mt_session *s, const char *path);
/* s->rival from a profile of this job, once. Collective. */
int mt_session_rivals(struct mt_session *s, const struct mt_profile *p);
/* With `parallel.shares: auto`: s->found, of the replicas, by measured speed. Collective. */
int mt_session_auto_shares(struct mt_session *s);

/* ---- reshare.c ----------------------------------------------------------------------- */

/* From the next step on batches are shared by these weights (one a replica). Call between two
 * steps, also from the progress of motley_fit: what was read ahead is read again. *taken 0:
 * some rank cannot carry its new share; the old ones stay, with a warning. Collective. */
int mt_session_reshare(struct mt_session *s, const double *weight, int *taken);
/* The most rows of a batch that the memory of this process carries. Local. */
int mt_session_most_rows(struct mt_session *s, int64_t *rows);

/* ---- show.c -------------------------------------------------------------------------- */

typedef void mt_show_fn(void *arg, const char *line);
/* in_full: with layers, parameters and the list of steps. */
int mt_session_show(const struct mt_session *s, int in_full, mt_show_fn *fn, void *arg);
/* Measures or reads it first. Collective. */
int mt_session_show_profile(struct mt_session *s, mt_show_fn *fn, void *arg);

#endif
