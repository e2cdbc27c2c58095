/* bench_comm.c -- motley bench comm: what communication between the processes of a job costs.
 *
 * Sums of arrays on host memory, beside what no algorithm can beat: a process of N must send and
 * receive 2 (N-1)/N of the array, so
 *
 *     bound = 2 (N-1)/N * bytes / rate   (half of it where numbers travel as bf16),
 *
 * with the rate at which a process sends to the next rank while it receives from the one before,
 * all ranks at once, measured in the same run. The arrays lie in memory that the ranks of a host
 * share, as gradients do, so sums on one host may be faster than any messages. With a
 * configuration: how much of the time that gradients travel is hidden behind the device's work. */
#include "cli/cli.h"

#include "base/ctx.h"
#include "base/file.h"
#include "base/json.h"
#include "base/num.h"
#include "comm/comm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "mpirun -n N motley bench comm [--bytes N[,N...]] [--wire W] [--way W] [--json FILE]\n"
    "mpirun -n N motley bench comm CONFIG [key=value ...] [--steps N] [--json FILE]\n"
    "\n"
    "Time of sums over all processes, 4 KiB to 64 MiB of host memory, beside the least possible\n"
    "at the rate between neighbours. With CONFIG: trains some steps and tells how much of the\n"
    "communication was hidden behind computation; nothing is written.\n"
    "\n"
    "  --bytes N[,N...]  sizes of the arrays\n"
    "  --wire W          fp32, or bf16: as gradients travel with parallel.wire\n"
    "  --way W           parts, whole: by messages, that way; auto: as in training (default)\n"
    "  --steps N         steps to train (200), the first 20 are not counted\n"
    "  --json FILE       the figures as JSON\n";

#define MAX_SIZES   32
#define ROUNDS      7       /* the median of these counts */
#define ROUND_S     0.05    /* least length of one */
#define TAG         9100

struct bench {
    struct mt_ctx *ctx;
    struct mt_comm *comm;
    int rank, size;
    int64_t bytes[MAX_SIZES];
    double seconds[MAX_SIZES];
    enum mt_way way[MAX_SIZES], wish;
    int n, bf16;
    double rate, latency;   /* to the next rank and from the one before, all at once */
    char *data, *more;      /* the largest size each */
    struct mt_share *share; /* data lies there, or could not */
    void *own;              /* then it lies here */
};

/* One of the things measured: `times` times in a row. */
typedef int work_fn(struct bench *b, int64_t bytes, void *arg, int times);

static int shift_ring(struct bench *b, int64_t bytes, void *arg, int times)
{
    int next = (b->rank + 1) % b->size, before = (b->rank + b->size - 1) % b->size;

    (void)arg;
    for (int i = 0; i < times; i++) {
        int in, out;

        MT_TRY(mt_comm_recv(b->comm, b->more, (size_t)bytes, before, TAG, &in));
        MT_TRY(mt_comm_send(b->comm, b->data, (size_t)bytes, next, TAG, &out));
        MT_TRY(mt_comm_wait(b->comm, in, before));
        MT_TRY(mt_comm_wait(b->comm, out, next));
    }
    return MOTLEY_OK;
}

static int sum(struct bench *b, int64_t bytes, void *arg, int times)
{
    struct mt_sum all = {.data = (float *)(void *)b->data, .n = bytes / (int64_t)sizeof(float),
                         .bf16 = b->bf16, .placed = 1};
    struct mt_reduce *r = arg;

    for (int i = 0; i < times; i++) {
        double begun = mt_comm_clock();
        int done = 0;

        MT_TRY(mt_reduce_start(r, &all));
        MT_TRY(mt_reduce_test(r, &done));
        while (!done) {
            MT_TRY(mt_comm_idle(b->comm, mt_comm_clock() - begun, mt_reduce_peer(r)));
            MT_TRY(mt_reduce_test(r, &done));
        }
    }
    return MOTLEY_OK;
}

/* Seconds of one time, the slowest rank's. */
static int one_round(struct bench *b, int64_t bytes, work_fn *work, void *arg, int times,
                     double *seconds)
{
    double begun, mine, all[1024];

    MT_TRY(mt_comm_barrier(b->comm));
    begun = mt_comm_clock();
    MT_TRY(work(b, bytes, arg, times));
    mine = (mt_comm_clock() - begun) / times;
    MT_TRY(mt_comm_allgather(b->comm, &mine, sizeof mine, all));
    *seconds = 0;
    for (int r = 0; r < b->size; r++) {
        *seconds = all[r] > *seconds ? all[r] : *seconds;
    }
    return MOTLEY_OK;
}

static int measure(struct bench *b, int64_t bytes, work_fn *work, void *arg, double *seconds)
{
    double round[ROUNDS], once = 0;
    int times;

    /* First touch and first messages; then the number of times, the same on all ranks. */
    MT_TRY(one_round(b, bytes, work, arg, 2, &once));
    MT_TRY(one_round(b, bytes, work, arg, 2, &once));
    times = once * 10000 > ROUND_S ? (int)(ROUND_S / once) + 1 : 10000;
    for (int i = 0; i < ROUNDS; i++) {
        MT_TRY(one_round(b, bytes, work, arg, times, &round[i]));
    }
    *seconds = mt_num_median(round, ROUNDS);
    return MOTLEY_OK;
}

/* The best of some lengths: long messages may leave the caches. */
static int measure_ring(struct bench *b)
{
    int64_t most = b->bytes[b->n - 1];

    MT_TRY(measure(b, 4, shift_ring, NULL, &b->latency));
    for (int64_t bytes = 256 << 10; bytes <= 16 << 20; bytes *= 4) {
        double seconds;

        if (bytes > most && bytes > 256 << 10) {
            break;
        }
        MT_TRY(measure(b, bytes, shift_ring, NULL, &seconds));
        b->rate = (double)bytes / seconds > b->rate ? (double)bytes / seconds : b->rate;
    }
    return MOTLEY_OK;
}

static int measure_sums(struct bench *b)
{
    int64_t most = b->bytes[b->n - 1];
    size_t room = most > 256 << 10 ? (size_t)most : 256 << 10;
    struct mt_reduce *r = NULL;
    int st;

    MT_TRY(mt_mem_get(b->ctx, room, 64, (void **)&b->more));
    MT_TRY(mt_share_new(b->ctx, b->comm, room, &b->share));
    b->data = mt_share_of(b->share, b->rank, 0, room);
    if (b->data == NULL) {
        MT_TRY(mt_mem_get(b->ctx, room, 64, &b->own));
        b->data = b->own;
    }
    memset(b->data, 0, room);
    memset(b->more, 0, room);
    MT_TRY(measure_ring(b));
    MT_TRY(mt_comm_gauge(b->comm));
    MT_TRY(mt_reduce_new(b->ctx, b->comm, b->size, most / 4, b->bf16, &r));
    if (b->wish == MT_WAY_AUTO) {
        MT_TRY_OR(done, mt_reduce_beside(r, b->share));
    }
    mt_reduce_wish(r, b->wish);
    for (int i = 0; i < b->n; i++) {
        MT_TRY_OR(done, measure(b, b->bytes[i], sum, r, &b->seconds[i]));
        b->way[i] = mt_reduce_way(r);
    }
    st = MOTLEY_OK;
done:
    mt_reduce_free(r);
    return st;
}

static double bound(const struct bench *b, int i)
{
    double bytes = (double)b->bytes[i] / (b->bf16 ? 2 : 1);

    return 2.0 * (b->size - 1) / b->size * bytes / b->rate;
}

static int write_json(struct bench *b, const char *path)
{
    struct mt_json j;
    char *text = NULL;
    int st;

    mt_json_init(&j, b->ctx, 2);
    mt_json_map(&j, NULL);
    mt_json_text(&j, "transport", mt_comm_info(b->comm)->transport);
    mt_json_int(&j, "processes", b->size);
    mt_json_text(&j, "wire", b->bf16 ? "bf16" : "fp32");
    mt_json_num(&j, "ring_bytes_per_second", b->rate);
    mt_json_num(&j, "ring_latency_seconds", b->latency);
    mt_json_list(&j, "sums");
    for (int i = 0; i < b->n; i++) {
        mt_json_map(&j, NULL);
        mt_json_int(&j, "bytes", b->bytes[i]);
        mt_json_num(&j, "seconds", b->seconds[i]);
        mt_json_num(&j, "bound_seconds", bound(b, i));
        mt_json_text(&j, "way", mt_way_name(b->way[i]));
        mt_json_end(&j);
    }
    mt_json_end(&j);
    mt_json_end(&j);
    MT_TRY(mt_json_take(&j, &text));
    st = mt_file_write(b->ctx, path, text, strlen(text));
    mt_free(b->ctx, text);
    return st;
}

static void print_sums(struct cli *cli, const struct bench *b)
{
    cli_say(cli, "%d processes, %s\nto the next rank, all at once: %.2f GB/s, latency %.2f us%s\n\n"
                 "%12s %12s %12s %10s %12s  %s\n", b->size, mt_comm_info(b->comm)->transport,
            b->rate / 1e9, b->latency * 1e6, b->bf16 ? "; sums as bf16" : "",
            "bytes", "sum", "bound", "of bound", "GB/s", "way");
    for (int i = 0; i < b->n; i++) {
        cli_say(cli, "%12" PRId64 " %9.1f us %9.1f us %8.0f %% %12.2f  %s\n", b->bytes[i],
                b->seconds[i] * 1e6, bound(b, i) * 1e6, 100 * bound(b, i) / b->seconds[i],
                (double)b->bytes[i] / b->seconds[i] / 1e9, mt_way_name(b->way[i]));
    }
}

static int bench_sums(struct cli *cli, struct bench *b, const char *json)
{
    int st = measure_sums(b);

    mt_share_free(b->share);
    mt_free(b->ctx, b->own);
    mt_free(b->ctx, b->more);
    if (st == MOTLEY_OK) {
        print_sums(cli, b);
        if (json != NULL && b->rank == 0) {
            st = write_json(b, json);
        }
    }
    return st;
}

/* ---- a training ---------------------------------------------------------------------- */

/* Seconds of this process after the first interval. */
struct figures {
    int seen;
    int64_t first, last;
    double begun, seconds, input, flight, exposed;
};

static int on_progress(void *arg, const motley_progress *p)
{
    struct figures *f = arg;

    if (p->event == MOTLEY_AT_STEP && f->seen++ == 0) {
        f->first = p->step;
        f->begun = p->seconds;
    } else if (p->event == MOTLEY_AT_STEP) {
        f->last = p->step;
        f->seconds = p->seconds - f->begun;
        f->input += p->input_wait;
        f->flight += p->comm_flight;
        f->exposed += p->comm_exposed;
    }
    return 0;
}

static int write_hidden(struct bench *b, const char *path, double steps, const double *each)
{
    struct mt_json j;
    char *text = NULL;
    int st;

    mt_json_init(&j, b->ctx, 2);
    mt_json_map(&j, NULL);
    mt_json_int(&j, "processes", b->size);
    mt_json_num(&j, "steps", steps);
    mt_json_num(&j, "step_seconds", each[0]);
    mt_json_num(&j, "input_wait_seconds", each[1]);
    mt_json_num(&j, "flight_seconds", each[2]);
    mt_json_num(&j, "exposed_seconds", each[3]);
    mt_json_end(&j);
    MT_TRY(mt_json_take(&j, &text));
    st = mt_file_write(b->ctx, path, text, strlen(text));
    mt_free(b->ctx, text);
    return st;
}

/* Means over the processes, of one step. */
static int tell_hidden(struct cli *cli, struct bench *b, const struct figures *f, const char *json)
{
    double steps = (double)(f->last - f->first), hidden;
    double each[4] = {f->seconds, f->input, f->flight, f->exposed};

    MT_TRY(mt_comm_sum(b->comm, each, 4));
    for (int i = 0; i < 4; i++) {
        each[i] /= steps * b->size;
    }
    hidden = each[2] > 0 ? 1 - each[3] / each[2] : 0;
    cli_say(cli, "%d processes, mean of %.0f steps:\n"
                 "  a step                     %10.1f us\n"
                 "  input waited for           %10.1f us\n"
                 "  sums in flight             %10.1f us\n"
                 "  ... with an idle device    %10.1f us\n"
                 "  hidden                     %10.1f %%\n",
            b->size, steps, each[0] * 1e6, each[1] * 1e6, each[2] * 1e6, each[3] * 1e6,
            100 * (hidden > 0 ? hidden : 0));
    return json != NULL && b->rank == 0 ? write_hidden(b, json, steps, each) : MOTLEY_OK;
}

static int bench_config(struct cli *cli, struct bench *b, int argc, char **argv, int64_t count,
                        const char *json)
{
    const char *path, *const *given, *over[1024];
    motley_fit_opt fit = MOTLEY_INIT(motley_fit_opt);
    motley_config *config = NULL;
    motley_run *run = NULL;
    struct figures f = {0};
    char steps[64];
    int n, code, status;

    code = cli_config_words(cli, argc, argv, optind, &path, &given, &n);
    if (code != CLI_OK || n > 1000) {
        return code != CLI_OK ? code : cli_usage(cli, "more than 1000 settings");
    }
    memcpy(over, given, (size_t)n * sizeof *over);
    snprintf(steps, sizeof steps, "train.steps=%" PRId64, count / 20 * 20);
    over[n++] = steps;
    over[n++] = "train.log_every=20";
    over[n++] = "train.epochs=0";
    over[n++] = "train.eval_every=1000000000";
    fit.progress = on_progress;
    fit.progress_arg = &f;
    status = motley_config_load(cli->ctx, path, over, n, &config);
    status = status == MOTLEY_OK ? motley_run_new(cli->ctx, config, NULL, &run) : status;
    status = status == MOTLEY_OK ? motley_fit(run, &fit) : status;
    if (status == MOTLEY_OK) {
        status = tell_hidden(cli, b, &f, json);
    }
    code = status < 0 ? cli_fail(cli, status) : CLI_OK;
    motley_run_free(run);
    motley_config_free(config);
    return code;
}

/* ---- the command --------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* "4096,1048576" */
static int read_sizes(const char *text, struct bench *b)
{
    b->n = 0;
    while (*text != '\0') {
        char *end;
        long long v;

        errno = 0;
        v = strtoll(text, &end, 10);
        if (errno != 0 || end == text || (*end != '\0' && *end != ',') || v < 4 ||
            v > (int64_t)1 << 34 || b->n == MAX_SIZES) {
            return 0;
        }
        b->bytes[b->n++] = v / 4 * 4;
        text = *end == ',' ? end + 1 : end;
    }
    qsort(b->bytes, (size_t)b->n, sizeof *b->bytes, by_size);
    return b->n > 0;
}

static int read_way(const char *text, enum mt_way *way)
{
    for (int i = MT_WAY_AUTO; i <= MT_WAY_WHOLE; i++) {
        if (strcmp(text, mt_way_name((enum mt_way)i)) == 0) {
            *way = (enum mt_way)i;
            return 1;
        }
    }
    return 0;
}

static int open_and_run(struct cli *cli, struct bench *b, int argc, char **argv, int64_t steps,
                        const char *json)
{
    int code = CLI_OK;

    if (mt_ctx_new(NULL, NULL, &b->ctx) < 0 || mt_comm_open(b->ctx, NULL, &b->comm) < 0) {
        fprintf(stderr, "motley: %s\n", mt_err_text());
        motley_abort(cli->ctx, CLI_FAILED);
    }
    b->rank = mt_comm_info(b->comm)->rank;
    b->size = mt_comm_info(b->comm)->size;
    if (b->size < 2 || b->size > 1024) {
        code = cli_usage(cli, "%d processes: 2 to 1024 are needed, as in `mpirun -n 2 motley bench "
                         "comm`", b->size);
    } else if (optind < argc) {
        code = bench_config(cli, b, argc, argv, steps, json);
    } else if (bench_sums(cli, b, json) < 0) {
        fprintf(stderr, "motley: %s\n", mt_err_text());
        motley_abort(cli->ctx, CLI_FAILED);
    }
    mt_comm_close(b->comm);
    mt_ctx_free(b->ctx);
    return code;
}

int cli_bench_comm(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"bytes", required_argument, NULL, 'b'},
                                            {"wire", required_argument, NULL, 'w'},
                                            {"way", required_argument, NULL, 'y'},
                                            {"steps", required_argument, NULL, 's'},
                                            {"json", required_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct bench b = {.n = 0};
    const char *json = NULL;
    int64_t steps = 200;
    int c;

    for (int64_t bytes = 4 << 10; bytes <= 64 << 20; bytes *= 4) {
        b.bytes[b.n++] = bytes;
    }
    opterr = cli->prints;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'b') {
            if (!read_sizes(optarg, &b)) {
                return cli_usage(cli, "--bytes '%s': up to %d sizes of 4 bytes to 16 GiB, with "
                                 "commas between them", optarg, MAX_SIZES);
            }
        } else if (c == 'w') {
            if (strcmp(optarg, "fp32") != 0 && strcmp(optarg, "bf16") != 0) {
                return cli_usage(cli, "--wire '%s': fp32 or bf16", optarg);
            }
            b.bf16 = strcmp(optarg, "bf16") == 0;
        } else if (c == 'y') {
            if (!read_way(optarg, &b.wish)) {
                return cli_usage(cli, "--way '%s': auto, parts or whole", optarg);
            }
        } else if (c == 's') {
            steps = strtoll(optarg, NULL, 10);
        } else if (c == 'j') {
            json = optarg;
        } else if (c == 'h') {
            cli_say(cli, "%s", help);
            return CLI_OK;
        } else {
            return CLI_USAGE;
        }
    }
    if (steps < 40 || steps > 1000000) {
        return cli_usage(cli, "--steps must be 40 to 1000000");
    }
    return open_and_run(cli, &b, argc, argv, steps, json);
}
