/* schema.c -- the keys of a configuration: the only list of names, defaults and ranges.
 *
 * Lists (parallel.shares, cut, layout) are not described by attributes: their rows are for the
 * documentation, and config.c reads them. */
#include "config/schema.h"

#include "config/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define AT(field) offsetof(struct mt_config, field)
#define MAX_COUNT 2147483647   /* sizes of kernels are 32 bits wide */

static const struct mt_attr top_attrs[] = {
    {"name", MT_ATTR_TEXT, .doc = "a word for the run: letters, digits and . _ + -"},
    {"seed", MT_ATTR_INT, .def.i = 1, .min = 0, .max = INFINITY,
     .doc = "of weights, shuffling, dropout; the same seed gives the same bits"},
    {"folder", MT_ATTR_TEXT, .doc = "run folder: configuration, metrics, checkpoints"},
    {"precision", MT_ATTR_WORD, .words = "fp32 bf16 fp16",
     .doc = "how values, their gradients and the weights that layers read are stored; sums, master "
            "weights and optimizer are fp32"},
    {0}};
static const size_t top_at[] = {AT(name), AT(seed), AT(folder), AT(precision)};

static const struct mt_attr device_attrs[] = {
    {"use", MT_ATTR_TEXT, .def.s = "auto",
     .doc = "auto, gpu, cpu, platform:device by number, or a part of a name"},
    {"share", MT_ATTR_BOOL, .doc = "let several ranks of a node take the same GPU"},
    {"memory", MT_ATTR_NUM, .min = 0, .max = INFINITY,
     .doc = "MiB of device memory that this rank may use; 0: what the device has"},
    {"max_alloc", MT_ATTR_NUM, .min = 0, .max = INFINITY,
     .doc = "MiB of one allocation of this rank; 0: what the device allows"},
    {"slow", MT_ATTR_NUM, .def.f = 1, .min = 1, .max = 1e6,
     .doc = "testing aid: this rank computes so many times slower than it can"},
    {"slow_from", MT_ATTR_INT, .min = 0, .max = INFINITY,
     .doc = "testing aid: optimizer steps before `slow` begins"},
    {0}};
static const size_t device_at[] = {AT(device.use), AT(device.share), AT(device.memory),
                                   AT(device.max_alloc), AT(device.slow), AT(device.slow_from)};

static const struct mt_attr train_attrs[] = {
    {"batch", MT_ATTR_INT, .def.i = 32, .min = 1, .max = MAX_COUNT,
     .doc = "samples of one optimizer step, over all ranks"},
    {"micro_batches", MT_ATTR_INT, .def.i = 1, .min = 1, .max = MAX_COUNT,
     .doc = "pieces in which a rank takes its part of the batch, to save memory"},
    {"clip_norm", MT_ATTR_NUM, .min = 0, .max = INFINITY,
     .doc = "largest norm of the whole gradient; longer ones are scaled down; 0: no limit"},
    {"loss_scale", MT_ATTR_NUM, .def.f = 65536, .min = 1, .max = 1e18,
     .doc = "with precision fp16: the first factor of the loss, which then adapts; taken down to "
            "a power of two"},
    {"epochs", MT_ATTR_INT, .min = 0, .max = INFINITY,
     .doc = "stop after so many passes over the data; 0: no such limit; 10 if nothing else of "
            "epochs, steps, seconds and targets is set"},
    {"steps", MT_ATTR_INT, .min = 0, .max = INFINITY,
     .doc = "stop after so many steps; 0: no such limit"},
    {"seconds", MT_ATTR_NUM, .min = 0, .max = INFINITY,
     .doc = "stop after so much wall time; 0: no such limit"},
    {"target_loss", MT_ATTR_NUM, .min = 0, .max = INFINITY,
     .doc = "stop when the held-out loss is this or less; 0: no such limit"},
    {"target_accuracy", MT_ATTR_NUM, .min = 0, .max = 1,
     .doc = "stop when the held-out accuracy is this or more (0.98: 98 %); 0: no such limit"},
    {"eval_every", MT_ATTR_INT, .min = 0, .max = INFINITY,
     .doc = "steps between evaluations on the held-out data; 0: at the end of each epoch"},
    {"eval_batch", MT_ATTR_INT, .min = 0, .max = MAX_COUNT,
     .doc = "samples of one evaluation step, over all ranks; 0: as `batch`"},
    {"log_every", MT_ATTR_INT, .def.i = 10, .min = 1, .max = INFINITY,
     .doc = "steps between lines of progress and of metrics.jsonl"},
    {0}};
static const size_t train_at[] = {
    AT(train.batch), AT(train.micro_batches), AT(train.clip_norm), AT(train.loss_scale),
    AT(train.epochs), AT(train.steps), AT(train.seconds), AT(train.target_loss),
    AT(train.target_accuracy), AT(train.eval_every), AT(train.eval_batch), AT(train.log_every)};

static const struct mt_attr parallel_attrs[] = {
    {"grid", MT_ATTR_WORD, .words = "given auto",
     .doc = "auto: data, stages, tensor, shares, micro-batches and schedule are chosen from the "
            "measured speed of the devices; what is given below stays"},
    {"data", MT_ATTR_INT, .min = 0, .max = INFINITY,
     .doc = "replicas, each with a share of every batch; 0: as many as the ranks allow"},
    {"stages", MT_ATTR_INT, .min = 0, .max = INFINITY, .def.i = 1,
     .doc = "stages of consecutive layers that a replica is cut into; 0: chosen with grid: auto"},
    {"tensor", MT_ATTR_INT, .min = 0, .max = INFINITY, .def.i = 1,
     .doc = "ranks that divide the layers of a stage inside; 0: chosen with grid: auto"},
    {"chunks", MT_ATTR_INT, .min = 1, .max = 64, .def.i = 1,
     .doc = "pieces of the network that a rank has in turn (schedule interleaved)"},
    {"schedule", MT_ATTR_WORD, .words = "gpipe 1f1b interleaved zero_bubble", .def.w = 1,
     .doc = "order in which a stage takes micro-batches forward and backward"},
    {"recompute", MT_ATTR_BOOL,
     .doc = "stages compute activations again in backward instead of keeping them"},
    {"bucket_bytes", MT_ATTR_INT, .def.i = 1 << 20, .min = 1024, .max = MAX_COUNT,
     .doc = "gradients travel between ranks in pieces of about this size"},
    {"wire", MT_ATTR_WORD, .words = "fp32 bf16",
     .doc = "how gradients travel between ranks; bf16: each rank's and their sum are rounded, half "
            "the bytes travel between hosts"},
    {"timeout", MT_ATTR_NUM, .def.f = 300, .min = 1, .max = INFINITY,
     .doc = "seconds without a sign of life from another rank before the job gives up"},
    {"profile", MT_ATTR_TEXT,
     .doc = "file of `motley plan --save-profile`; without one the ranks measure when they must"},
    {"rebalance", MT_ATTR_WORD, .words = "off auto",
     .doc = "auto: shares follow the measured speed of the ranks while training"},
    {"rebalance_gain", MT_ATTR_NUM, .def.f = 1.05, .min = 1, .max = 100,
     .doc = "shares move when a step is expected to become so many times shorter"},
    {0}};
static const size_t parallel_at[] = {
    AT(parallel.grid), AT(parallel.data), AT(parallel.stages), AT(parallel.tensor),
    AT(parallel.chunks), AT(parallel.schedule), AT(parallel.recompute),
    AT(parallel.bucket_bytes), AT(parallel.wire), AT(parallel.timeout), AT(parallel.profile),
    AT(parallel.rebalance), AT(parallel.rebalance_gain)};

static const struct mt_attr checkpoint_attrs[] = {
    {"every", MT_ATTR_INT, .min = -1, .max = INFINITY,
     .doc = "steps between checkpoints; 0: at the end of each epoch; -1: only at the end"},
    {"keep", MT_ATTR_INT, .def.i = 3, .min = 1, .max = INFINITY,
     .doc = "newest checkpoints that are kept; older ones are removed"},
    {"init_from", MT_ATTR_TEXT,
     .doc = "folder of a run or checkpoint whose weights (only these) are the start"},
    {0}};
static const size_t checkpoint_at[] = {AT(checkpoint.every), AT(checkpoint.keep),
                                       AT(checkpoint.init_from)};

static const size_t data_at[] = {AT(data)}, model_at[] = {AT(model)}, loss_at[] = {AT(loss)},
                    optimizer_at[] = {AT(optimizer)}, schedule_at[] = {AT(schedule)};
static const char *const parallel_special[] = {"shares", "cut", "layout", NULL};

const struct mt_section mt_sections[] = {
    {.name = "", .doc = "the run", .attrs = top_attrs, .at = top_at},
    {.name = "data", .at = data_at, .kind = MT_TREE_MAP, .word = "format",
     .doc = "where samples come from: `format` and the keys of that reader"},
    {.name = "model", .at = model_at, .kind = MT_TREE_LIST,
     .doc = "the layers, in the order of the data"},
    {.name = "loss", .at = loss_at, .doc = "what training makes small"},
    {.name = "optimizer", .at = optimizer_at, .kind = MT_TREE_MAP, .word = "type",
     .doc = "how weights follow gradients: `type` and the keys of that optimizer"},
    {.name = "schedule", .at = schedule_at, .kind = MT_TREE_MAP, .word = "type",
     .doc = "the learning rate over time: `type` and the keys of that schedule"},
    {.name = "train", .doc = "the loop: batches, when to stop, how often to look",
     .attrs = train_attrs, .at = train_at},
    {.name = "parallel", .doc = "the work of several ranks", .attrs = parallel_attrs,
     .at = parallel_at, .word = "grid", .special = parallel_special},
    {.name = "checkpoint", .doc = "what is saved, and what to start from",
     .attrs = checkpoint_attrs, .at = checkpoint_at},
    {.name = "device", .doc = "the OpenCL device of a rank", .attrs = device_attrs,
     .at = device_at, .word = "use"},
    {.name = NULL}};

/* What the tables cannot say: defaults that depend on something, and lists. */
static const struct row {
    const char *path, *allowed, *def, *doc;
} rows[] = {
    {"name", NULL, "the file's name", NULL},
    {"folder", NULL, "runs/NAME", NULL},
    {"train.epochs", NULL, "10 if nothing else stops the run", NULL},
    {"data", "word or map", "none", NULL},
    {"model", "list", "none", NULL},
    {"loss", "word, or map of one key", "none", NULL},
    {"optimizer", "word or map", "sgd", NULL},
    {"schedule", "word or map", "constant", NULL},
    {"parallel.rebalance", NULL, "auto with grid: auto or shares: auto, else off", NULL},
    {"parallel.shares", "list of numbers, text as 3:1, or auto", "equal",
     "relative work of replica 0, 1, ...; as many numbers as replicas; auto: by measured speed"},
    {"parallel.cut", "list of layers", "balanced",
     "the layer that each stage but the first begins with"},
    {"parallel.layout", "list, or a file with one", "none",
     "who does what, in full (docs/parallel.md); in place of data, stages, tensor, cut, shares"}};

static const struct row *row_of(const char *path)
{
    static const struct row nothing = {NULL, NULL, NULL, NULL};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].path, path) == 0) {
            return &rows[i];
        }
    }
    return &nothing;
}

void mt_config_keys(void (*fn)(void *arg, const char *path, const char *allowed,
                               const char *def, const char *doc), void *arg)
{
    char path[64], allowed[256], def[128];

    for (const struct mt_section *s = mt_sections; s->name != NULL; s++) {
        if (s->attrs == NULL) {
            fn(arg, s->name, row_of(s->name)->allowed, row_of(s->name)->def, s->doc);
        }
        for (int i = 0; i < mt_attr_count(s->attrs); i++) {
            const struct mt_attr *a = &s->attrs[i];

            snprintf(path, sizeof path, "%s%s%s", s->name, *s->name != '\0' ? "." : "", a->name);
            mt_attr_allowed(a, allowed, sizeof allowed);
            mt_attr_print(a, a->def, def, sizeof def);
            if (a->kind == MT_ATTR_TEXT && a->def.s == NULL) {
                snprintf(def, sizeof def, "none");
            }
            fn(arg, path, allowed, row_of(path)->def != NULL ? row_of(path)->def : def, a->doc);
        }
        for (int i = 0; s->special != NULL && s->special[i] != NULL; i++) {
            snprintf(path, sizeof path, "%s.%s", s->name, s->special[i]);
            fn(arg, path, row_of(path)->allowed, row_of(path)->def, row_of(path)->doc);
        }
    }
}
