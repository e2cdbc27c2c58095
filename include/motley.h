/* motley.h -- train a network described in text, in this process, on one OpenCL device; several
 * processes started by mpirun train together.
 *
 * Errors: functions returning int give MOTLEY_OK or a negative code; motley_error() describes the
 *   last failure of the calling thread. Results come through the last pointers, untouched on
 *   failure. The library never prints, exits or aborts.
 * Ownership: motley_x_new, _load and _parse give; motley_x_free releases and accepts NULL. Strings
 *   and arrays passed in are borrowed for the call. Lifetimes nest: a run needs its context and
 *   its configuration as long as it lives, a configuration its context.
 * Threads: one context, one thread at a time.
 * Collective: functions marked so must be called by all processes of the context, in the same
 *   order. A single process is a collective of one.
 * Options and results in structs: every one begins with its size, set by MOTLEY_INIT; zero or
 *   NULL elsewhere means the default. NULL in place of an option struct means all defaults.
 * Numbers: arrays are row-major; samples and outputs are float, class numbers int32_t. */
#ifndef MOTLEY_H
#define MOTLEY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MOTLEY_API  __attribute__((visibility("default")))
#define MOTLEY_CALL __attribute__((visibility("default"), warn_unused_result)) int
#else
#define MOTLEY_API
#define MOTLEY_CALL int
#endif

#define MOTLEY_API_VERSION 0x000100u   /* major, minor, patch: a byte each */

/* name, value, text. ESTOP: asked to stop (signal); what was trained is saved. */
#define MOTLEY_STATUS_MAP(X)                                                                  \
    X(OK, 0, "no error")                                                                      \
    X(EARG, -1, "invalid argument")                                                           \
    X(ECONFIG, -2, "wrong configuration")                                                     \
    X(EMEM, -3, "out of host memory")                                                         \
    X(EFILE, -4, "file cannot be used")                                                       \
    X(EFORMAT, -5, "file has wrong content")                                                  \
    X(EDEV, -6, "device failed")                                                              \
    X(ECOMM, -7, "communication failed")                                                      \
    X(EUNSUP, -8, "not supported here")                                                       \
    X(ENUM, -9, "wrong numbers")                                                              \
    X(ESTOP, -10, "stopped on request")                                                       \
    X(EBUG, -11, "internal error")

enum motley_status {
#define MOTLEY_STATUS_ENUM(name, value, text) MOTLEY_##name = value,
    MOTLEY_STATUS_MAP(MOTLEY_STATUS_ENUM)
#undef MOTLEY_STATUS_ENUM
    MOTLEY_STATUS_END = 1
};

/* motley_fit_opt opt = MOTLEY_INIT(motley_fit_opt); */
#ifdef __cplusplus
extern "C++" {
template <typename T> inline T motley_init()
{
    T t = T();
    t.size = sizeof(T);
    return t;
}
}
#define MOTLEY_INIT(type) motley_init<type>()
#else
#define MOTLEY_INIT(type) {.size = sizeof(type)}
#endif

#define MOTLEY_MAX_RANK 6   /* dimensions of a tensor */

MOTLEY_API unsigned motley_api_version(void);   /* of the library: MOTLEY_API_VERSION when built */
MOTLEY_API const char *motley_version(void);    /* "0.1.0" */

/* The last failure of this thread: one line that names the thing, the value, the limit and the
 * remedy; "" when nothing failed. Valid until the next call in this thread. */
MOTLEY_API const char *motley_error(void);
/* The way that failure took through the library, a line per function, for reports. */
MOTLEY_API const char *motley_error_trace(void);
/* "wrong configuration" for MOTLEY_ECONFIG. */
MOTLEY_API const char *motley_status_text(int status);

/* Lists (devices, operations, plans) come a line or an entry at a time; text is borrowed for the
 * call. */
typedef void motley_line_fn(void *arg, const char *line);

/* ---- context: log, processes, device ------------------------------------------------- */

typedef struct motley_ctx motley_ctx;

/* level 0: warning, 1: note, 2: detail; category: "dev", "comm", ... Which ones come is set by
 * MOTLEY_LOG; warnings always do. Called from any thread of the library, one at a time. */
typedef void motley_log_fn(void *arg, int level, const char *category, const char *text);

typedef struct motley_ctx_opt {
    size_t size;
    motley_log_fn *log;      /* NULL: messages are dropped */
    void *log_arg;
    const char *device;      /* "platform:device", part of a name, "gpu", "cpu", "auto"; NULL: the
                                configuration's device.use, then MOTLEY_DEVICE, then auto */
    void *mpi_comm;          /* an MPI_Comm *, see motley_mpi.h; NULL: the processes that mpirun
                                started, or this one alone */
} motley_ctx_opt;

/* Joins the processes; opens no device yet. MPI is initialised and finalised here unless the host
 * program has done so. Gives *out. Collective. */
MOTLEY_CALL motley_ctx_new(const motley_ctx_opt *opt, motley_ctx **out);
MOTLEY_API void motley_ctx_free(motley_ctx *ctx);

MOTLEY_API int motley_rank(const motley_ctx *ctx);   /* of this process: 0 .. size-1 */
MOTLEY_API int motley_size(const motley_ctx *ctx);   /* processes */
/* "rank 1 (host node7, NVIDIA H200)": this process, for messages. Borrowed from the context. */
MOTLEY_API const char *motley_who(motley_ctx *ctx);

/* Asks motley_fit and motley_eval of this process to come to an end; all processes then stop
 * after the same step, with a checkpoint. Safe in a signal handler and from another thread. */
MOTLEY_API void motley_stop(motley_ctx *ctx);

/* After a failure: 1 if all processes have it together, with the same words, so that one of them
 * may report it; 0 if this process failed alone and the others may be waiting for it: report it
 * and call motley_abort. */
MOTLEY_API int motley_error_shared(const motley_ctx *ctx);
/* 1 in the process that speaks for the job: the lowest rank that is not known to have died. */
MOTLEY_API int motley_speaks(const motley_ctx *ctx);
/* Ends all processes of the job at once. Does not return. */
MOTLEY_API void motley_abort(motley_ctx *ctx, int exit_code);
/* motley_ctx_free for a program that ends now and has written everything: if MPI does not come to
 * an end within 5 seconds after all processes got here (some libraries hang on their way out), it
 * ends this process with the exit code and a warning. Collective. */
MOTLEY_API void motley_leave(motley_ctx *ctx, int exit_code);

/* An OpenCL device of this node. */
typedef struct motley_device {
    size_t size;
    int platform, device;            /* "platform:device" */
    const char *type;                /* "GPU", "CPU", ... */
    const char *name, *vendor, *driver, *version, *platform_name;
    uint32_t units, clock_mhz;       /* 0: unknown */
    uint64_t memory_bytes, max_alloc_bytes, local_bytes;
    uint64_t max_group;
    int unified;                     /* host and device share memory */
    const char *pci, *place;         /* "" and "unknown" are ordinary answers */
} motley_device;

/* All devices here, in the order in which processes take them. *list is borrowed until the next
 * call. *n may be 0: motley_devices_print says why. Local. */
MOTLEY_CALL motley_devices(motley_ctx *ctx, const motley_device **list, int *n);
/* The same for people or, json 1, for programs; where there is no device, what to install or set.
 * Local. */
MOTLEY_CALL motley_devices_print(motley_ctx *ctx, int json, motley_line_fn *fn, void *arg);

/* Which process takes which device. */
typedef struct motley_seat {
    size_t size;
    int rank, node;
    const char *host;
    motley_device device;
    int sharers;                     /* processes on that device; a CPU is divided among them */
    int cores;                       /* that this process may use */
} motley_seat;

/* For all processes, in rank order; *list is borrowed until the next call. Collective. */
MOTLEY_CALL motley_seats(motley_ctx *ctx, const motley_seat **list, int *n);

/* ---- configuration ------------------------------------------------------------------- */

typedef struct motley_config motley_config;

/* path: a YAML file, or the folder of a run. over: n strings "train.batch=64". Every message names
 * file, line and column. Each process reads; all fail if one does. Gives *out. Collective. */
MOTLEY_CALL motley_config_load(motley_ctx *ctx, const char *path, const char *const *over, int n,
                               motley_config **out);
/* text: the YAML itself; name: of the text in messages. Collective. */
MOTLEY_CALL motley_config_parse(motley_ctx *ctx, const char *text, const char *name,
                                const char *const *over, int n, motley_config **out);
MOTLEY_API void motley_config_free(motley_config *config);
MOTLEY_API const char *motley_config_name(const motley_config *config);
MOTLEY_API const char *motley_config_folder(const motley_config *config);   /* run folder */
/* The resolved configuration as YAML, line by line. */
MOTLEY_CALL motley_config_print(const motley_config *config, motley_line_fn *fn, void *arg);

/* ---- run: the network planned and bound to the device -------------------------------- */

typedef struct motley_run motley_run;

enum motley_mode {
    MOTLEY_TRAIN = 0,   /* everything */
    MOTLEY_EVAL,        /* weights alone: motley_eval, motley_predict */
    MOTLEY_PREDICT,     /* weights alone and no loss: motley_predict; data need not be there */
    MOTLEY_PLAN         /* planned, not allocated: motley_plan_print */
};

typedef struct motley_run_opt {
    size_t size;
    int mode;                          /* enum motley_mode */
    int own_arrays;                    /* 1: the caller brings samples by motley_step; the `data`
                                          section is not opened; the next ones say what comes */
    int x_rank;                        /* shape of one sample */
    int64_t x_dim[MOTLEY_MAX_RANK];
    int64_t classes;                   /* > 0: a target is one int32_t below it */
    int64_t y_size;                    /* classes == 0: a target is y_size floats */
    int trace;                         /* 1: from here on the context keeps a timeline, for
                                          motley_trace_save; in all processes, and with the first
                                          run of the context, which opens the device */
} motley_run_opt;

/* Opens the device and the data, builds and checks everything, allocates all memory, and makes
 * fresh weights by configuration and seed. All processes must agree on program, configuration and
 * data; the message says who differs in what. Gives *out. Collective. */
MOTLEY_CALL motley_run_new(motley_ctx *ctx, const motley_config *config, const motley_run_opt *opt,
                           motley_run **out);
MOTLEY_API void motley_run_free(motley_run *run);

typedef struct motley_run_info {
    size_t size;
    int x_rank;                        /* shape of one sample */
    int64_t x_dim[MOTLEY_MAX_RANK];
    int64_t x_size;                    /* numbers of one sample */
    int64_t out_size;                  /* numbers of one output of the network */
    int64_t classes, y_size;           /* as in motley_run_opt */
    int64_t weights;                   /* trained numbers of the network, over all processes */
    int64_t batch;                     /* samples per step, over all processes */
    int64_t rows;                      /* the most of them that this process takes */
    int64_t train_samples, held_samples;
    int64_t step;                      /* optimizer steps done */
    const char *loss;                  /* word of the configuration; "" if none */
    const char *optimizer;
    const char *device;                /* name */
} motley_run_info;

MOTLEY_CALL motley_run_get_info(const motley_run *run, motley_run_info *out);   /* local */

/* What will happen: the layout, shares and memory; in_full: also layers, parameters and the list of
 * steps. Local. */
MOTLEY_CALL motley_plan_print(const motley_run *run, int in_full, motley_line_fn *fn, void *arg);

/* How fast the device of each process does this network, at several numbers of samples, and how
 * fast messages are: measured at the first call (about two seconds), or read from the file that
 * `parallel.profile` names. Best with MOTLEY_PLAN: measuring takes device memory. Collective. */
MOTLEY_CALL motley_profile_print(motley_run *run, motley_line_fn *fn, void *arg);
/* Writes it as JSON, for `parallel.profile`. Process 0 writes. Collective. */
MOTLEY_CALL motley_profile_save(motley_run *run, const char *path);

typedef struct motley_outlook_opt {
    size_t size;
    const char *cluster;               /* file that describes a cluster (docs/cluster.md); needed */
    const char *save;                  /* file for the layout that is chosen; NULL: none */
    int json;                          /* 1: one line of JSON */
} motley_outlook_opt;

/* Plans training for a described cluster: which ranks do what, what a step would take and why.
 * With parallel.layout in the configuration that layout is judged. Opens the data, no device.
 * Local. */
MOTLEY_CALL motley_outlook(const motley_config *config, const motley_outlook_opt *opt,
                           motley_line_fn *fn, void *arg);

/* ---- training ------------------------------------------------------------------------ */

enum motley_event {
    MOTLEY_AT_START = 0,    /* after loading, before the first step */
    MOTLEY_AT_STEP,         /* every train.log_every steps: figures since the last one */
    MOTLEY_AT_EVAL,         /* loss and accuracy on the held-out data */
    MOTLEY_AT_CHECKPOINT,   /* path was written */
    MOTLEY_AT_END           /* reason */
};

typedef struct motley_progress {
    size_t size;
    int event;                         /* enum motley_event */
    int64_t step, steps;               /* done; planned, 0 if unknown */
    int64_t epoch, epochs;             /* begun (from 1); planned, 0 if unknown */
    double loss;                       /* mean per sample */
    double accuracy;                   /* 0 .. 1; negative: the loss counts no hits */
    double lr, grad_norm;              /* of the last step; norm 0 without clipping */
    double samples_per_second;         /* of all processes */
    double seconds, seconds_left;      /* of training; left < 0: unknown */
    const char *path;                  /* checkpoint, or checkpoint resumed from at start */
    const char *reason;                /* why it ended: epochs, steps, target, time, stop */
    /* Seconds of this process in the interval before MOTLEY_AT_STEP: */
    double input_wait;                 /* the input was waited for */
    double comm_flight;                /* gradients were on their way between processes */
    double comm_exposed;               /* ... while the device had nothing else to do */
    /* With precision fp16, else 0: */
    double loss_scale;                 /* after the last step */
    int64_t skipped;                   /* steps of this process's life whose gradients overflowed */
    /* Of this process in the interval before MOTLEY_AT_STEP: */
    double interval;                   /* its seconds, without evaluations and checkpoints */
    double host_busy;                  /* processor time of the thread that runs the steps, without
                                          what it spent on messages */
    int64_t launches;                  /* kernels enqueued */
    int64_t starved;                   /* steps before which the device had nothing left to do */
} motley_progress;

/* A return value other than 0 asks to stop, as motley_stop does. Called in all processes. */
typedef int motley_progress_fn(void *arg, const motley_progress *progress);

typedef struct motley_fit_opt {
    size_t size;
    const char *folder;                /* run folder; NULL: nothing is written */
    int resume;                        /* continue from the newest good checkpoint there, if any */
    int force;                         /* the run that is there is removed */
    motley_progress_fn *progress;
    void *progress_arg;
} motley_fit_opt;

/* Trains on the configuration's data until a limit of its `train` section. A folder that holds a
 * run is refused without resume or force. MOTLEY_ESTOP: stopped on request, after a checkpoint.
 * Collective. */
MOTLEY_CALL motley_fit(motley_run *run, const motley_fit_opt *opt);

typedef struct motley_stats {
    size_t size;
    int64_t step;                      /* optimizer steps done */
    int64_t samples;                   /* over all processes */
    double loss;                       /* mean per sample */
    double accuracy;                   /* negative: the loss counts no hits */
    double grad_norm;                  /* 0 without clipping */
} motley_stats;

/* One optimizer step on n samples of this process: x n samples, y n targets; n may differ between
 * processes and be 0 in some, at most motley_run_info.rows. Result over all of them; out may be
 * NULL, then nothing is waited for. Collective. */
MOTLEY_CALL motley_step(motley_run *run, const float *x, const void *y, int64_t n,
                        motley_stats *out);

/* Writes what all processes have done so far, device times included, as one file in the Trace
 * Event Format, which ui.perfetto.dev and chrome://tracing show. Needs motley_run_opt.trace. A
 * process keeps its first 200,000 events. Process 0 writes. Collective. */
MOTLEY_CALL motley_trace_save(motley_ctx *ctx, const char *path);

/* Loss and accuracy on the held-out data of the configuration. Collective. */
MOTLEY_CALL motley_eval(motley_run *run, motley_stats *out);

/* raw: what the network gives; probability: softmax or sigmoid, as the loss implies. */
enum motley_output { MOTLEY_OUT_RAW = 0, MOTLEY_OUT_PROBABILITY };

/* Outputs for n samples (prepared as in training), out_size numbers each. Local. */
MOTLEY_CALL motley_predict(motley_run *run, const float *x, int64_t n, int output, float *out);

/* ---- data of files, prepared as in training ------------------------------------------ */

/* Samples of a .npy file, (n, shape of a sample) or one sample alone, normalised as the
 * configuration's data section says. *x: n * x_size numbers, release with motley_array_free.
 * Local. */
MOTLEY_CALL motley_samples_load(motley_run *run, const char *path, float **x, int64_t *n);
/* Writes a .npy file (rows, cols) of float. Local. */
MOTLEY_CALL motley_array_save(motley_ctx *ctx, const char *path, const float *a, int64_t rows,
                              int64_t cols);
MOTLEY_API void motley_array_free(motley_ctx *ctx, float *a);

/* ---- weights ------------------------------------------------------------------------- */

typedef struct motley_param {
    size_t size;
    const char *name;                  /* "linear1.weight"; borrowed from the run */
    int rank;
    int64_t dim[MOTLEY_MAX_RANK];
    int64_t count;                     /* product of dim */
    int trained;                       /* 0: running state */
} motley_param;

/* Parameters in order of the network, then running state: i = 0, 1, ... until MOTLEY_EARG beyond
 * motley_param_count. Local. */
MOTLEY_API int motley_param_count(const motley_run *run);
MOTLEY_CALL motley_param_info(const motley_run *run, int i, motley_param *out);
/* n must be the parameter's count. Local: who sets must set the same in all processes. */
MOTLEY_CALL motley_param_get(motley_run *run, const char *name, float *dst, int64_t n);
MOTLEY_CALL motley_param_set(motley_run *run, const char *name, const float *src, int64_t n);

/* Writes a checkpoint as this folder; one that is there is replaced. Process 0 writes.
 * Collective. */
MOTLEY_CALL motley_save(motley_run *run, const char *folder);

enum motley_load_what { MOTLEY_LOAD_ALL = 0, MOTLEY_LOAD_WEIGHTS };

/* path: a checkpoint, a run folder (its newest good checkpoint), or a safetensors file (weights
 * alone). Process 0 reads. A checkpoint of another network is refused and the first differing
 * parameter named. Collective. */
MOTLEY_CALL motley_load(motley_run *run, const char *path, int what);
/* The checkpoint that the run's weights come from, "" if none. Borrowed from the run. */
MOTLEY_API const char *motley_loaded(const motley_run *run);

/* ---- what this library has ----------------------------------------------------------- */

enum motley_list_what {
    MOTLEY_LIST_LIBRARIES = 0,   /* name, version */
    MOTLEY_LIST_OPERATIONS,      /* name, meaning; then its options, with `in` set */
    MOTLEY_LIST_OPTIMIZERS,
    MOTLEY_LIST_SCHEDULES,
    MOTLEY_LIST_READERS,
    MOTLEY_LIST_GEMMS,           /* providers of matrix products */
    MOTLEY_LIST_KEYS,            /* of the configuration */
    MOTLEY_LIST_ENVIRONMENT      /* name, meaning; def: the value now */
};

typedef struct motley_entry {
    size_t size;
    const char *in;        /* the operation, optimizer, ... whose option this is; NULL */
    const char *name, *doc;
    const char *allowed;   /* options and keys: what may be written; else NULL */
    const char *def;       /* default, or value now; NULL: none */
} motley_entry;

typedef void motley_entry_fn(void *arg, const motley_entry *entry);

MOTLEY_CALL motley_list(motley_ctx *ctx, int what, motley_entry_fn *fn, void *arg);

#ifdef __cplusplus
}
#endif
#endif
