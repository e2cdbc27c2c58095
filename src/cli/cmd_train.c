/* cmd_train.c -- motley train: trains by a configuration, shows how it goes. */
#define _POSIX_C_SOURCE 200809L
#include "cli/cli.h"

#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static const char help[] =
    "motley train CONFIG [key=value ...]\n"
    "\n"
    "Trains the network of CONFIG, a YAML file; key=value sets a key of it, as in train.batch=64.\n"
    "Under mpirun all processes train together. Everything is written to one folder: config.yaml\n"
    "(as resolved), metrics.jsonl, checkpoints/step-<number>.\n"
    "\n"
    "  --resume          continue from the newest good checkpoint of the run folder; without one,\n"
    "                    start from the beginning\n"
    "  --force           remove the run that the folder holds\n"
    "  --init-from DIR   start from the weights alone of a run, checkpoint or safetensors file\n"
    "  --folder DIR      run folder, instead of the configuration's\n"
    "  --dry-run         show the plan and stop, as `motley plan`\n"
    "  --quiet           no progress\n"
    "  --trace FILE      write a timeline of all processes, for ui.perfetto.dev\n"
    "\n"
    "SIGINT, SIGTERM and SIGUSR1 to any process of the job end training after a checkpoint, with\n"
    "exit code 3. mpirun passes SIGTERM on, but kills a second later; Open MPI waits longer with\n"
    "--mca odls_base_sigkill_timeout SECONDS.\n";

struct view {
    struct cli *cli;
    int terminal, quiet;
    int width;               /* of what stands on the progress line */
    double shown;            /* when the last step was shown */
};

/* "1:02:03" or "2:03" */
static const char *clock_text(double seconds, char *buf, size_t room)
{
    long s = seconds > 0 ? (long)(seconds + 0.5) : 0;

    if (s >= 3600) {
        snprintf(buf, room, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    } else {
        snprintf(buf, room, "%ld:%02ld", s / 60, s % 60);
    }
    return buf;
}

/* Removes the progress line, so that something else can be printed. */
static void wipe(struct view *v)
{
    if (v->terminal && v->width > 0) {
        printf("\r%*s\r", v->width, "");
        v->width = 0;
    }
}

/* Whether the progress line can be written over. Open MPI gives every process a pseudo-terminal,
 * also when its own output is a pipe; what a person looks at is the terminal that controls the
 * process. */
static int on_terminal(void)
{
    return isatty(STDOUT_FILENO) && tcgetsid(STDOUT_FILENO) == getsid(0);
}

static int columns(void)
{
    struct winsize w;

    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
}

static void say_step(struct view *v, const motley_progress *p)
{
    char line[256], left[32] = "";
    size_t used;

    used = (size_t)snprintf(line, sizeof line, "step %" PRId64, p->step);
    if (p->steps > 0) {
        used += (size_t)snprintf(line + used, sizeof line - used, "/%" PRId64, p->steps);
    }
    used += (size_t)snprintf(line + used, sizeof line - used, " epoch %" PRId64, p->epoch);
    if (p->epochs > 0) {
        used += (size_t)snprintf(line + used, sizeof line - used, "/%" PRId64, p->epochs);
    }
    used += (size_t)snprintf(line + used, sizeof line - used, " loss %.4f", p->loss);
    if (p->accuracy >= 0) {
        used += (size_t)snprintf(line + used, sizeof line - used, " accuracy %.1f%%",
                                 100 * p->accuracy);
    }
    used += (size_t)snprintf(line + used, sizeof line - used, " lr %.3g %.0f/s", p->lr,
                             p->samples_per_second);
    if (p->seconds_left >= 0) {
        snprintf(line + used, sizeof line - used, " %s left",
                 clock_text(p->seconds_left, left, sizeof left));
    }
    if (!v->terminal) {
        printf("%s\n", line);
    } else {
        int room = columns() - 1, width = (int)strlen(line) < room ? (int)strlen(line) : room;

        printf("\r%.*s%*s", width, line, v->width > width ? v->width - width : 0, "");
        v->width = width;
    }
    fflush(stdout);
}

static void say_eval(const motley_progress *p)
{
    printf("epoch %" PRId64 "  step %" PRId64 "  held-out loss %.4f", p->epoch, p->step, p->loss);
    if (p->accuracy >= 0) {
        printf("  accuracy %.2f %%", 100 * p->accuracy);
    }
    printf("\n");
}

static int on_progress(void *arg, const motley_progress *p)
{
    struct view *v = arg;
    char text[32];

    if (!v->cli->prints || v->quiet) {
        return 0;
    }
    switch (p->event) {
    case MOTLEY_AT_START:
        if (p->path != NULL && p->path[0] != '\0') {
            printf("from %s, step %" PRId64 "\n", p->path, p->step);
        }
        break;
    case MOTLEY_AT_STEP:
        /* metrics.jsonl has them all. */
        if (p->seconds - v->shown >= (v->terminal ? 0.1 : 1)) {
            v->shown = p->seconds;
            say_step(v, p);
        }
        break;
    case MOTLEY_AT_EVAL:
        wipe(v);
        say_eval(p);
        break;
    case MOTLEY_AT_END:
        wipe(v);
        printf("end after step %" PRId64 " (%s), %s\n", p->step, p->reason,
               clock_text(p->seconds, text, sizeof text));
        break;
    default:
        break;
    }
    fflush(stdout);
    return 0;
}

struct words {
    int resume, force, dry, quiet;
    const char *folder, *trace;
    char init_from[4200], folder_setting[4200];
};

/* Options into words; *over is given room for two settings more. */
static int read_options(struct cli *cli, int argc, char **argv, struct words *w, int *first)
{
    static const struct option options[] = {
        {"resume", no_argument, NULL, 'r'},      {"force", no_argument, NULL, 'f'},
        {"init-from", required_argument, NULL, 'i'}, {"folder", required_argument, NULL, 'o'},
        {"dry-run", no_argument, NULL, 'n'},     {"quiet", no_argument, NULL, 'q'},
        {"trace", required_argument, NULL, 't'}, {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0}};
    int c;

    opterr = cli->prints;
    while ((c = getopt_long(argc, argv, "hq", options, NULL)) != -1) {
        switch (c) {
        case 'r':
            w->resume = 1;
            break;
        case 'f':
            w->force = 1;
            break;
        case 'i':
            snprintf(w->init_from, sizeof w->init_from, "checkpoint.init_from=%s", optarg);
            break;
        case 'o':
            snprintf(w->folder_setting, sizeof w->folder_setting, "folder=%s", optarg);
            break;
        case 'n':
            w->dry = 1;
            break;
        case 'q':
            w->quiet = 1;
            break;
        case 't':
            w->trace = optarg;
            break;
        case 'h':
            cli_say(cli, "%s", help);
            return -1;
        default:
            return CLI_USAGE;
        }
    }
    if (w->resume && w->force) {
        return cli_usage(cli, "--resume continues the run that --force would remove: take one");
    }
    *first = optind;
    return CLI_OK;
}

static int train(struct cli *cli, motley_config *config, const struct words *w)
{
    motley_fit_opt fit = MOTLEY_INIT(motley_fit_opt);
    motley_run_opt opt = MOTLEY_INIT(motley_run_opt);
    motley_run_info info = MOTLEY_INIT(motley_run_info);
    struct view view = {.cli = cli, .terminal = on_terminal(), .quiet = w->quiet,
                        .shown = -1};
    motley_run *run = NULL;
    int status, code = CLI_OK;

    opt.mode = w->dry ? MOTLEY_PLAN : MOTLEY_TRAIN;
    opt.trace = w->trace != NULL && !w->dry;
    status = motley_run_new(cli->ctx, config, &opt, &run);
    if (status < 0) {
        return cli_fail(cli, status);
    }
    if (w->dry) {
        status = motley_plan_print(run, 0, cli_line, cli);
    } else {
        status = motley_run_get_info(run, &info);
        if (!w->quiet && status == MOTLEY_OK) {
            cli_say(cli, "%s: %" PRId64 " weights, %" PRId64 " samples, batch %" PRId64
                    ", %d process%s, %s\n", motley_config_name(config), info.weights,
                    info.train_samples, info.batch, motley_size(cli->ctx),
                    motley_size(cli->ctx) == 1 ? "" : "es", info.device);
        }
        fit.folder = motley_config_folder(config);
        fit.resume = w->resume;
        fit.force = w->force;
        fit.progress = on_progress;
        fit.progress_arg = &view;
        cli_catch_signals(cli->ctx);
        /* Once before, so that a path that cannot be written does not cost a training. */
        status = status == MOTLEY_OK && opt.trace ? motley_trace_save(cli->ctx, w->trace) : status;
        status = status == MOTLEY_OK ? motley_fit(run, &fit) : status;
        wipe(&view);
    }
    if (status < 0) {
        code = cli_fail(cli, status);
    }
    if (opt.trace && (code == CLI_OK || code == CLI_STOPPED)) {
        status = motley_trace_save(cli->ctx, w->trace);
        code = status < 0 ? cli_fail(cli, status) : code;
    }
    motley_run_free(run);
    return code;
}

int cli_train(struct cli *cli, int argc, char **argv)
{
    struct words w = {0};
    motley_config *config = NULL;
    const char *path = NULL, *const *given = NULL, *over[1024];
    int first = 1, n = 0, status, code;

    code = read_options(cli, argc, argv, &w, &first);
    if (code != CLI_OK) {
        return code < 0 ? CLI_OK : code;
    }
    code = cli_config_words(cli, argc, argv, first, &path, &given, &n);
    if (code != CLI_OK) {
        return code;
    }
    if (n > 1000) {
        return cli_usage(cli, "more than 1000 settings: write them into the configuration");
    }
    for (int i = 0; i < n; i++) {
        over[i] = given[i];
    }
    if (w.init_from[0] != '\0') {
        over[n++] = w.init_from;
    }
    if (w.folder_setting[0] != '\0') {
        over[n++] = w.folder_setting;
    }
    status = motley_config_load(cli->ctx, path, over, n, &config);
    if (status < 0) {
        return cli_fail(cli, status);
    }
    code = train(cli, config, &w);
    motley_config_free(config);
    return code;
}
