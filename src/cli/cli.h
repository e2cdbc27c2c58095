/* cli.h -- what the commands of the program share. Only rank 0 prints, except for a process that
 * fails alone. */
#ifndef MT_CLI_CLI_H
#define MT_CLI_CLI_H

#include "motley.h"

#include <getopt.h>
#include <stdio.h>

/* Exit codes; docs: motley(1). */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_STOPPED = 3 };

struct cli {
    motley_ctx *ctx;
    const char *name;        /* of the command */
    int prints;              /* this process is the one that prints */
};

/* Parsed by each command; argv[0] is the command's name. Returns an exit code. */
typedef int cli_command_fn(struct cli *cli, int argc, char **argv);

cli_command_fn cli_bench, cli_bench_comm, cli_bench_gemm, cli_bench_limits, cli_bench_ops,
    cli_check, cli_devices, cli_eval, cli_info, cli_plan, cli_predict, cli_train, cli_tune;

/* After a library function has failed: prints once, returns the exit code for it; a process that
 * failed alone ends the job. */
int cli_fail(struct cli *cli, int status);
/* Wrong use: prints "motley NAME: text" and where help is. Returns CLI_USAGE. */
int cli_usage(struct cli *cli, const char *fmt, ...);
/* Prints text to standard output on the rank that prints. */
void cli_say(struct cli *cli, const char *fmt, ...);
/* For motley_line_fn with a struct cli as argument. */
void cli_line(void *arg, const char *line);
/* Text as a JSON string, with its quotes. */
void cli_json_text(FILE *f, const char *text);

/* SIGINT, SIGTERM and SIGUSR1 ask the context to stop; a second SIGINT ends at once. */
void cli_catch_signals(motley_ctx *ctx);

struct mt_ctx;
struct mt_net;

/* For check and bench: opens the network of "CONFIG key=value ..." from argv[first] on; *device
 * becomes the one it asks for, if nobody wished for another. */
int cli_net(struct cli *cli, struct mt_ctx *ctx, int argc, char **argv, int first,
            struct mt_net **net, const char **device);

/* For a word that is no suite: CLI_OK if it may be a configuration, else says what it is not. */
int cli_no_suite(struct cli *cli, const char *word);

/* Splits "CONFIG key=value ..." after options: *path, then settings. Fails without a path. */
int cli_config_words(struct cli *cli, int argc, char **argv, int first, const char **path,
                     const char *const **over, int *n);

/* Where the weights of a run are: the word itself if it is a folder, else the configuration's. */
const char *cli_run_folder(const char *word, const motley_config *config);

#endif
