/* cmd_bench.c -- motley bench: seconds of whole steps; operations are in bench_ops.c.
 *
 * The time of a step is the median over windows of `--window` steps, the first and the last window
 * left out: the first holds the filling of the pipeline and caches; figures of a step come up to
 * two steps late, but those of the last ones at once, so the last window looks short. Best and
 * median are told, because a shared machine disturbs in one direction only. What the host does is
 * told as means over all windows but the first: waiting for input is rare and long, a median would
 * not see it. */
#define _POSIX_C_SOURCE 200809L
#include "cli/cli.h"

#include "base/num.h"

#include <string.h>

static const char help[] =
    "motley bench step CONFIG [key=value ...]    training steps: seconds, what the host does\n"
    "                                            meanwhile, launches; nothing is written\n"
    "motley bench ops [...]                      operations, see motley bench ops --help\n"
    "motley bench gemm [...]                     matrix products, motley bench gemm --help\n"
    "motley bench limits [...]                   the device's best, motley bench limits --help\n"
    "motley bench comm [...]                     sums over processes, motley bench comm --help\n"
    "\n"
    "  --steps N    steps to measure (200)\n"
    "  --window N   steps of one measurement (10)\n"
    "  --trace FILE write a timeline of all processes, for ui.perfetto.dev; keeping it takes time\n"
    "  --json       one JSON object\n";

#define MAX_WINDOWS 10000

struct times {
    double rate[MAX_WINDOWS];   /* samples per second */
    int n, seen;
    int64_t last;               /* step of the window before */
    /* Sums over the windows, of this process: */
    int64_t steps, launches, starved;
    double seconds, host, input;
};

static int on_progress(void *arg, const motley_progress *p)
{
    struct times *t = arg;

    if (p->event != MOTLEY_AT_STEP) {
        return 0;
    }
    if (t->seen++ > 0 && t->n < MAX_WINDOWS) {
        t->rate[t->n++] = p->samples_per_second;
        t->steps += p->step - t->last;
        t->launches += p->launches;
        t->starved += p->starved;
        t->seconds += p->interval;
        t->host += p->host_busy;
        t->input += p->input_wait;
    }
    t->last = p->step;
    return 0;
}

static void print(struct cli *cli, struct times *t, int64_t batch, int json)
{
    double median, best, steps = (double)t->steps;

    t->n -= t->n > 1;
    median = mt_num_median(t->rate, t->n);
    best = t->rate[t->n - 1];
    cli_say(cli, json ? "{\"windows\":%d,\"samples_per_second\":%.6g,\"best\":%.6g,"
                        "\"step_seconds\":%.6g,"
                      : "%d windows: median %.0f samples/s, best %.0f, a step takes %.6f s\n",
            t->n, median, best, (double)batch / median);
    cli_say(cli, json ? "\"host_seconds\":%.4g,\"host_share\":%.4g,\"input_wait_seconds\":%.4g,"
                        "\"input_wait_share\":%.4g,"
                      : "host: busy %.7f s a step (share %.4f), waits for input %.7f s (%.4f)\n",
            t->host / steps, t->host / t->seconds, t->input / steps, t->input / t->seconds);
    cli_say(cli, json ? "\"launches\":%.4g,\"starved_share\":%.4g}\n"
                      : "device: %.1f launches a step; idle when a step began: share %.4f\n",
            (double)t->launches / steps, (double)t->starved / steps);
}

static int measure(struct cli *cli, motley_config *config, int json, const char *trace)
{
    static struct times times;
    motley_fit_opt fit = MOTLEY_INIT(motley_fit_opt);
    motley_run_info info = MOTLEY_INIT(motley_run_info);
    motley_run_opt opt = MOTLEY_INIT(motley_run_opt);
    motley_run *run = NULL;
    int status, code = CLI_OK;

    opt.trace = trace != NULL;
    fit.progress = on_progress;
    fit.progress_arg = &times;
    status = motley_run_new(cli->ctx, config, &opt, &run);
    status = status == MOTLEY_OK ? motley_run_get_info(run, &info) : status;
    status = status == MOTLEY_OK ? motley_fit(run, &fit) : status;
    status = status == MOTLEY_OK && trace != NULL ? motley_trace_save(cli->ctx, trace) : status;
    if (status < 0) {
        code = cli_fail(cli, status);
    } else if (times.n == 0) {
        code = cli_usage(cli, "too few steps: at least two windows are needed");
    } else {
        print(cli, &times, info.batch, json);
    }
    motley_run_free(run);
    return code;
}

static int bench_step(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"steps", required_argument, NULL, 's'},
                                            {"window", required_argument, NULL, 'w'},
                                            {"trace", required_argument, NULL, 't'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *path = NULL, *const *given = NULL, *over[1024], *trace = NULL;
    char steps[64] = "train.steps=200", window[64] = "train.log_every=10";
    motley_config *config = NULL;
    int c, n = 0, status, code, json = 0;

    opterr = cli->prints;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 's') {
            snprintf(steps, sizeof steps, "train.steps=%s", optarg);
        } else if (c == 'w') {
            snprintf(window, sizeof window, "train.log_every=%s", optarg);
        } else if (c == 't') {
            trace = optarg;
        } else if (c == 'j') {
            json = 1;
        } else if (c == 'h') {
            cli_say(cli, "%s", help);
            return CLI_OK;
        } else {
            return CLI_USAGE;
        }
    }
    code = cli_config_words(cli, argc, argv, optind, &path, &given, &n);
    if (code != CLI_OK || n > 1000) {
        return code != CLI_OK ? code : cli_usage(cli, "more than 1000 settings");
    }
    for (int i = 0; i < n; i++) {
        over[i] = given[i];
    }
    over[n++] = steps;
    over[n++] = window;
    over[n++] = "train.epochs=0";
    over[n++] = "train.eval_every=1000000000";
    status = motley_config_load(cli->ctx, path, over, n, &config);
    if (status < 0) {
        return cli_fail(cli, status);
    }
    code = measure(cli, config, json, trace);
    motley_config_free(config);
    return code;
}

int cli_bench(struct cli *cli, int argc, char **argv)
{
    static const struct {
        const char *word;
        cli_command_fn *run;
    } part[] = {{"step", bench_step}, {"ops", cli_bench_ops}, {"gemm", cli_bench_gemm},
                {"limits", cli_bench_limits}, {"comm", cli_bench_comm}};

    for (size_t i = 0; argc > 1 && i < sizeof part / sizeof *part; i++) {
        if (strcmp(argv[1], part[i].word) == 0) {
            argv[1] = argv[0];   /* getopt begins its messages with it */
            return part[i].run(cli, argc - 1, argv + 1);
        }
    }
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        cli_say(cli, "%s", help);
        return CLI_OK;
    }
    return cli_usage(cli, "what? step, ops, gemm, limits or comm");
}
