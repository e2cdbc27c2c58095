/* main.c -- the program: finds the command, joins the processes, runs it.
 *
 * Help and version need no context and are given by every process of a job that asks; wrong use is
 * told once, which is why the context comes before the options of a command are read. */
#define _POSIX_C_SOURCE 200809L
#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const struct command {
    const char *name;
    cli_command_fn *run;
    const char *usage, *doc;
} commands[] = {
    {"train", cli_train, "CONFIG [key=value ...] [--resume] [--force] [--folder DIR]",
     "train a network, alone or under mpirun"},
    {"eval", cli_eval, "RUN|CONFIG [key=value ...]", "loss and accuracy on the held-out data"},
    {"predict", cli_predict, "RUN INPUT.npy [--output FILE]", "outputs of a trained network"},
    {"devices", cli_devices, "[--json]", "what OpenCL offers here, and which rank gets what"},
    {"check", cli_check, "[OPERATION ...]", "test every kernel on a device"},
    {"bench", cli_bench, "step CONFIG | ops | gemm | limits | comm", "measure this machine"},
    {"tune", cli_tune, "[CONFIG [key=value ...]]",
     "measure which matrix products are fastest here, for all later runs"},
    {"plan", cli_plan, "CONFIG [key=value ...]", "what training would do: steps, memory, shares"},
    {"info", cli_info, "[--ops|--keys|--env|...]", "version, build, operations, settings"},
};

#define COMMANDS ((int)(sizeof commands / sizeof *commands))

/* ---- printing ------------------------------------------------------------------------ */

void cli_say(struct cli *cli, const char *fmt, ...)
{
    va_list ap;

    if (!cli->prints) {
        return;
    }
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
}

void cli_line(void *arg, const char *line)
{
    cli_say(arg, "%s\n", line);
}

void cli_json_text(FILE *f, const char *text)
{
    fputc('"', f);
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\') {
            fprintf(f, "\\%c", *p);
        } else if (*p < 0x20) {
            fprintf(f, "\\u%04x", *p);
        } else {
            fputc(*p, f);
        }
    }
    fputc('"', f);
}

int cli_usage(struct cli *cli, const char *fmt, ...)
{
    va_list ap;

    if (cli->prints) {
        fprintf(stderr, "motley %s: ", cli->name);
        va_start(ap, fmt);
        vfprintf(stderr, fmt, ap);
        va_end(ap);
        fprintf(stderr, "\nTry `motley %s --help`.\n", cli->name);
    }
    return CLI_USAGE;
}

static int code_of(int status)
{
    return status == MOTLEY_ESTOP                                ? CLI_STOPPED
           : status == MOTLEY_EARG || status == MOTLEY_ECONFIG ? CLI_USAGE
                                                               : CLI_FAILED;
}

static void print_error(struct cli *cli, int status, int with_who)
{
    const char *log = getenv("MOTLEY_LOG");

    fprintf(stderr, "motley: %s%s%s\n", with_who ? motley_who(cli->ctx) : "", with_who ? ": " : "",
            motley_error());
    if (status == MOTLEY_EBUG || (log != NULL && strstr(log, "=2") != NULL)) {
        fprintf(stderr, "%s", motley_error_trace());
    }
}

/* Sleeps through signals: mpirun sends some when a process has died. */
static void be_quiet(time_t seconds)
{
    struct timespec left = {seconds, 0};

    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

int cli_fail(struct cli *cli, int status)
{
    int shared = motley_error_shared(cli->ctx);

    if (shared) {
        if (cli->prints) {
            print_error(cli, status, 0);
        }
        return code_of(status);
    }
    /* All that wait for a dead process notice it, more or less together: one of them gets the
     * word, and its abort ends the others while they are quiet. */
    if (status == MOTLEY_ECOMM && !motley_speaks(cli->ctx)) {
        be_quiet(3);
    }
    print_error(cli, status, 1);
    fflush(stderr);
    motley_abort(cli->ctx, code_of(status));
    return CLI_FAILED;
}

/* ---- signals ------------------------------------------------------------------------- */

static motley_ctx *volatile signal_ctx;   /* a handler has no argument */
static volatile sig_atomic_t signal_count;

static void on_signal(int number)
{
    /* Ctrl-C twice means now. SIGTERM may come more than once from one request of mpirun. */
    if (number == SIGINT && signal_count++ > 0) {
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    motley_stop(signal_ctx);
}

void cli_catch_signals(motley_ctx *ctx)
{
    struct sigaction act;

    memset(&act, 0, sizeof act);
    act.sa_handler = on_signal;
    act.sa_flags = SA_RESTART;
    sigemptyset(&act.sa_mask);
    signal_ctx = ctx;
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGUSR1, &act, NULL);
}

/* ---- words --------------------------------------------------------------------------- */

int cli_no_suite(struct cli *cli, const char *word)
{
    return access(word, F_OK) == 0
               ? CLI_OK
               : cli_usage(cli, "'%s' is neither an operation (`motley check --list` shows them) "
                                "nor a file", word);
}

int cli_config_words(struct cli *cli, int argc, char **argv, int first, const char **path,
                     const char *const **over, int *n)
{
    if (first >= argc) {
        return cli_usage(cli, "which configuration? give a YAML file");
    }
    *path = argv[first];
    if (strchr(*path, '=') != NULL && access(*path, R_OK) != 0) {
        return cli_usage(cli, "the first word must be a configuration, not the setting '%s'",
                         *path);
    }
    for (int i = first + 1; i < argc; i++) {
        const char *eq = strchr(argv[i], '=');

        if (eq == NULL || eq == argv[i]) {
            return cli_usage(cli, "'%s' is no setting; settings look like train.batch=64",
                             argv[i]);
        }
    }
    *over = (const char *const *)(argv + first + 1);
    *n = argc - first - 1;
    return CLI_OK;
}

const char *cli_run_folder(const char *word, const motley_config *config)
{
    struct stat info;

    return stat(word, &info) == 0 && S_ISDIR(info.st_mode) ? word : motley_config_folder(config);
}

static void log_line(void *arg, int level, const char *category, const char *text)
{
    (void)arg;
    fprintf(stderr, "motley: %s: %s\n", level == 0 ? "warning" : category, text);
}

static void print_help(FILE *f)
{
    fprintf(f, "motley trains neural networks on OpenCL devices, on one or many processes.\n\n");
    for (int i = 0; i < COMMANDS; i++) {
        fprintf(f, "  motley %-8s %s\n        %s\n", commands[i].name, commands[i].usage,
                commands[i].doc);
    }
    fprintf(f, "\n`motley COMMAND --help` says more. Exit codes: 0 success, 1 failure while\n"
               "running, 2 wrong command line or configuration, 3 stopped by a signal after a\n"
               "checkpoint.\n");
}

static int run_command(const struct command *c, int argc, char **argv)
{
    motley_ctx_opt opt = MOTLEY_INIT(motley_ctx_opt);
    struct cli cli = {.name = c->name, .prints = 1};
    char program[64];
    int code, status;

    opt.log = log_line;
    status = motley_ctx_new(&opt, &cli.ctx);
    if (status < 0) {
        fprintf(stderr, "motley: %s\n", motley_error());
        return code_of(status);
    }
    cli.prints = motley_rank(cli.ctx) == 0;
    snprintf(program, sizeof program, "motley %s", c->name);
    argv[0] = program;   /* getopt begins its messages with it */
    code = c->run(&cli, argc, argv);
    if (fflush(stdout) != 0 && code == CLI_OK) {
        fprintf(stderr, "motley: cannot write to standard output\n");
        code = CLI_FAILED;
    }
    motley_leave(cli.ctx, code);
    return code;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "--help";

    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        printf("motley %s\n", motley_version());
        return CLI_OK;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        print_help(argc > 1 ? stdout : stderr);
        return argc > 1 ? CLI_OK : CLI_USAGE;
    }
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(word, commands[i].name) == 0) {
            return run_command(&commands[i], argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "motley: there is no command '%s'; `motley --help` lists them\n", word);
    return CLI_USAGE;
}
