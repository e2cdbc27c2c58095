/* cmd_predict.c -- motley predict: outputs of a trained network for samples of a .npy file. */
#define _POSIX_C_SOURCE 200809L
#include "cli/cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "motley predict RUN INPUT.npy [key=value ...]\n"
    "\n"
    "INPUT holds one sample or many, (shape of a sample) or (n, shape of a sample), as the data\n"
    "of the run had them: they are normalised in the same way. Prints a line for each: class and\n"
    "its probability, or the outputs. Process 0 of a job does it alone.\n"
    "\n"
    "  --checkpoint DIR   this checkpoint, run or safetensors file instead of the newest\n"
    "  --output FILE      write all outputs as .npy, (n, outputs): probabilities, where the loss\n"
    "                     has such\n"
    "  --raw              outputs as the network gives them, without softmax or sigmoid\n";

struct words {
    const char *run, *input, *from, *output;
    int raw;
};

static void print_rows(const motley_run_info *info, const struct words *w, const float *y,
                       int64_t n)
{
    int64_t size = info->out_size;

    for (int64_t i = 0; i < n; i++) {
        const float *row = y + i * size;
        int64_t best = 0;

        for (int64_t k = 1; k < size; k++) {
            best = row[k] > row[best] ? k : best;
        }
        if (info->classes > 0 && !w->raw) {
            printf("%" PRId64 " %.4f\n", best, (double)row[best]);
            continue;
        }
        for (int64_t k = 0; k < size; k++) {
            printf("%s%.7g", k > 0 ? " " : "", (double)row[k]);
        }
        printf("\n");
    }
}

static int predict_file(struct cli *cli, motley_run *run, const struct words *w)
{
    motley_run_info info = MOTLEY_INIT(motley_run_info);
    float *x = NULL, *y = NULL;
    int64_t n = 0;
    int status;

    status = motley_run_get_info(run, &info);
    status = status == MOTLEY_OK ? motley_samples_load(run, w->input, &x, &n) : status;
    if (status < 0) {
        return status;
    }
    y = calloc((size_t)(n * info.out_size) + 1, sizeof *y);
    if (y == NULL) {
        fprintf(stderr, "motley: no memory for %" PRId64 " outputs\n", n * info.out_size);
        exit(CLI_FAILED);
    }
    status = motley_predict(run, x, n, w->raw ? MOTLEY_OUT_RAW : MOTLEY_OUT_PROBABILITY, y);
    if (status == MOTLEY_OK && w->output != NULL) {
        status = motley_array_save(cli->ctx, w->output, y, n, info.out_size);
    } else if (status == MOTLEY_OK) {
        print_rows(&info, w, y, n);
    }
    free(y);
    motley_array_free(cli->ctx, x);
    return status;
}

static int predict(struct cli *cli, motley_config *config, const struct words *w)
{
    motley_run_opt opt = MOTLEY_INIT(motley_run_opt);
    motley_run *run = NULL;
    int status, code = CLI_OK;

    opt.mode = MOTLEY_PREDICT;
    status = motley_run_new(cli->ctx, config, &opt, &run);
    if (status < 0) {
        return cli_fail(cli, status);
    }
    status = motley_load(run, w->from != NULL ? w->from : cli_run_folder(w->run, config),
                         MOTLEY_LOAD_WEIGHTS);
    if (status == MOTLEY_OK && cli->prints) {
        status = predict_file(cli, run, w);
    }
    if (status < 0) {
        code = cli_fail(cli, status);
    }
    motley_run_free(run);
    return code;
}

int cli_predict(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"checkpoint", required_argument, NULL, 'c'},
                                            {"output", required_argument, NULL, 'o'},
                                            {"raw", no_argument, NULL, 'r'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct words w = {0};
    motley_config *config = NULL;
    int c, status, code;

    opterr = cli->prints;
    while ((c = getopt_long(argc, argv, "ho:", options, NULL)) != -1) {
        if (c == 'c') {
            w.from = optarg;
        } else if (c == 'o') {
            w.output = optarg;
        } else if (c == 'r') {
            w.raw = 1;
        } else if (c == 'h') {
            cli_say(cli, "%s", help);
            return CLI_OK;
        } else {
            return CLI_USAGE;
        }
    }
    if (argc - optind < 2 || strchr(argv[optind + 1], '=') != NULL) {
        return cli_usage(cli, "give a run and a .npy file");
    }
    w.run = argv[optind];
    w.input = argv[optind + 1];
    status = motley_config_load(cli->ctx, w.run, (const char *const *)(argv + optind + 2),
                                argc - optind - 2, &config);
    if (status < 0) {
        return cli_fail(cli, status);
    }
    code = predict(cli, config, &w);
    motley_config_free(config);
    return code;
}
