/* config.h -- one YAML file and the overrides of the command line, as one checked configuration.
 *
 * The sections whose keys belong to other folders (data, model, loss, optimizer, schedule) stay
 * trees, read by their owners through tables of attributes. The rest is typed here; the tables
 * (schema.c) are the only list of keys, defaults and ranges, and docs/config.md is checked
 * against them. */
#ifndef MT_CONFIG_CONFIG_H
#define MT_CONFIG_CONFIG_H

#include "base/tree.h"

#include <stdint.h>

struct mt_ctx;

#define MT_MAXSHARES 256

enum { MT_WIRE_FP32 = 0, MT_WIRE_BF16 };               /* the words of parallel.wire */
enum { MT_REBALANCE_OFF = 0, MT_REBALANCE_AUTO };   /* the words of parallel.rebalance */

struct mt_config {
    struct mt_ctx *ctx;
    struct mt_tree *root;               /* everything, after overrides */

    const char *name;                   /* word for folders; default: the file's name */
    uint64_t seed;
    int precision;                      /* how values are stored: 0 fp32, 1 bf16, 2 fp16 */

    const struct mt_tree *data, *model, *loss, *optimizer, *schedule;   /* NULL where absent */

    struct {
        const char *use;                /* "auto", "gpu", "0:1", part of a name */
        int share;                      /* several ranks may take one GPU */
        double memory, max_alloc;       /* MiB that this rank may use; 0: what the device has */
        double slow;                    /* testing aid: so many times slower */
        int64_t slow_from;              /* ... from this optimizer step on */
    } device;

    struct {
        int64_t batch;                  /* samples per optimizer step, over all ranks */
        int64_t micro_batches;          /* per rank and step: gradient accumulation */
        double clip_norm;               /* 0: no clipping */
        double loss_scale;              /* the first one, with fp16 */
        int64_t epochs, steps;          /* stop; 0: no such limit */
        double seconds;                 /* stop by wall time; 0: none */
        double target_loss;             /* stop when the held-out loss is at or below; 0: none */
        double target_accuracy;         /* stop when held-out accuracy is at or above; 0: none */
        int64_t eval_every;             /* steps; 0: at the end of each epoch */
        int64_t eval_batch;             /* 0: batch */
        int64_t log_every;              /* steps between lines of progress and metrics */
    } train;

    struct {
        int grid;                       /* 1: auto */
        int64_t data, stages, tensor;   /* 0: to be chosen */
        int64_t chunks;
        int schedule;                   /* as enum mt_schedule */
        int recompute;
        double shares[MT_MAXSHARES];    /* relative work of replica i; nshares 0: equal */
        int nshares;
        int auto_shares;                /* `auto`: by measured speed */
        const char *profile;            /* file of a measured profile; NULL: measure if needed */
        const struct mt_tree *cut;      /* list of layers, NULL: balanced */
        const struct mt_tree *layout;   /* list, or the name of a file; NULL: a regular grid */
        int64_t bucket_bytes;           /* gradients travel in pieces of about this size */
        int wire;                       /* MT_WIRE_* */
        double timeout;                 /* seconds without progress of a peer before giving up */
        int rebalance;                  /* MT_REBALANCE_* */
        double rebalance_gain;          /* a step must become so many times shorter */
    } parallel;

    struct {
        int64_t every;                  /* steps; 0: after each epoch; -1: only at the end */
        int64_t keep;                   /* newest ones kept */
        const char *init_from;          /* folder of a checkpoint or run: weights only; NULL */
    } checkpoint;

    const char *folder;                 /* run folder; default "runs/<name>" */
};

/* path: a YAML file. over: n strings "train.batch=64", "model.1.linear=256"; the right side is
 * YAML. Every message names file, line and column, or the override. Gives *out. */
int mt_config_load(struct mt_ctx *ctx, const char *path, const char *const *over, int n,
                   struct mt_config **out);
/* text: the YAML itself; file: its name in messages. */
int mt_config_parse(struct mt_ctx *ctx, const char *text, const char *file,
                    const char *const *over, int n, struct mt_config **out);
void mt_config_free(struct mt_config *c);

/* The resolved configuration, all defaults written out, as YAML that parses to the same. The
 * trees of other owners are printed as they are. Gives *text. */
int mt_config_print(const struct mt_config *c, char **text);

/* The documented keys, for docs and `motley info`: calls fn for each with its dotted path, what
 * is allowed, default, meaning. */
void mt_config_keys(void (*fn)(void *arg, const char *path, const char *allowed,
                               const char *def, const char *doc), void *arg);

#endif
