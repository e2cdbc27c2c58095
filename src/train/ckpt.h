/* ckpt.h -- checkpoints as folders of files; knows no device and no processes.
 *
 *     <folder>/step-<number>/model.safetensors    parameters and running state, by full name
 *                            optim.safetensors    "<parameter>.<slot>"; absent without optimizer
 *                            manifest.json        written last: sizes and checksums of the others
 *
 * A checkpoint is made under the name step-<number>.tmp-<pid>, every file synced, then renamed, and
 * the folder synced: a name step-<number> is complete or the disk lies, and then the checksums
 * tell. Tensors have their full names and shapes, so any number of processes can read them. */
#ifndef MT_TRAIN_CKPT_H
#define MT_TRAIN_CKPT_H

#include "train/safetensors.h"

/* Everything that continuing needs besides numbers: data order, schedule and random numbers are
 * pure functions of it. */
struct mt_ckpt_pos {
    int64_t step;             /* optimizer steps done */
    int64_t epoch, position;  /* samples of that epoch already used */
    int64_t samples;          /* of the training set */
    uint64_t seed;
    double loss_scale;        /* of fp16; 0: none */
    double streak;            /* steps since it changed */
    char data[40];            /* digest of the data set, "" if the caller brings its own arrays */
};

/* Named tensors and where their numbers come from. */
struct mt_ckpt_part {
    int n;
    const struct mt_safetensor *tensor;
    mt_safetensors_get_fn *get;
    void *arg;
};

/* Makes the folder `path` (its parents too); one that is there is replaced. optim NULL: weights
 * only; optimizer: its name. On failure there is what was there before. */
int mt_ckpt_write(struct mt_ctx *ctx, const char *path, const struct mt_ckpt_pos *pos,
                  const struct mt_ckpt_part *weights, const struct mt_ckpt_part *optim,
                  const char *optimizer);

/* One in memory, all checksums right. */
struct mt_ckpt {
    struct mt_ctx *ctx;
    char *path;
    struct mt_ckpt_pos pos;
    char optimizer[64];               /* "": none */
    char *weights, *optim;            /* contents of the two files; optim may be NULL */
    size_t weights_bytes, optim_bytes;
};

/* path: the folder step-<number>, or a single safetensors file (weights alone). Gives *out. */
int mt_ckpt_read(struct mt_ctx *ctx, const char *path, struct mt_ckpt **out);
void mt_ckpt_free(struct mt_ckpt *c);

/* The newest good one below `folder`: a folder of checkpoints, or a run folder. Damaged ones are
 * named in a warning and passed over. None at all: *out NULL. Only damaged ones: MOTLEY_EFORMAT
 * with the words for the newest. Gives *out. */
int mt_ckpt_newest(struct mt_ctx *ctx, const char *folder, struct mt_ckpt **out);

/* As above, or `path` itself if it is a checkpoint or a file; none is an error. */
int mt_ckpt_find(struct mt_ctx *ctx, const char *path, struct mt_ckpt **out);

/* Removes what an interrupted process left; puts back what it had moved aside. */
int mt_ckpt_clean(struct mt_ctx *ctx, const char *folder);
/* Removes all but the newest `keep` (0: none is removed). */
int mt_ckpt_prune(struct mt_ctx *ctx, const char *folder, int64_t keep);
/* Removes those of later steps. */
int mt_ckpt_drop_after(struct mt_ctx *ctx, const char *folder, int64_t step);

#endif
