/* bench_limits.c -- motley bench limits: what a device can do at best, as a table and as JSON. */
#include "cli/cli.h"

#include "base/ctx.h"
#include "base/file.h"
#include "device/dev.h"
#include "device/limits.h"
#include "tests/runner.h"

#include <stdlib.h>
#include <string.h>

static const char help[] =
    "motley bench limits [--device WISH] [--seconds S] [--json FILE]\n"
    "\n"
    "Measures a device with kernels that do one thing each: multiply-adds in registers, memory\n"
    "traffic, empty launches, transfers. The figures are kept in the cache folder, and\n"
    "`motley bench ops` and `motley bench gemm` print theirs as shares of them.\n"
    "\n"
    "  --device WISH   platform:device, gpu, cpu or part of a name\n"
    "  --seconds S     spent on it, besides building kernels (5)\n"
    "  --json FILE     the figures as JSON; - for standard output instead of the table\n";

struct request {
    const char *device, *json;
    double seconds;
};

static void print_one(const struct mt_limits *l, enum mt_limit id)
{
    const char *unit = mt_limit_unit(id), *note = "";
    double v = l->value[id];
    char text[96] = "";

    if (id == MT_LIMIT_FMA) {
        note = l->fma_by;
    } else if (id == MT_LIMIT_READ || id == MT_LIMIT_COPY || id == MT_LIMIT_TRIAD) {
        snprintf(text, sizeof text, "arrays of %.0f MiB", l->array_bytes / 1048576.0);
        note = text;
    } else if (id == MT_LIMIT_TO || id == MT_LIMIT_FROM) {
        snprintf(text, sizeof text, "%.0f MiB, blocking", l->transfer_bytes / 1048576.0);
        note = text;
    } else if (id == MT_LIMIT_WINDOW_TO || id == MT_LIMIT_WINDOW_FROM) {
        note = l->mapped ? "mapped: the host's own copying" : "pinned memory";
    }
    if (strcmp(unit, "s") == 0) {
        printf("%-30s %11.3f us       %s\n", mt_limit_text(id), v * 1e6, note);
    } else {
        printf("%-30s %11.2f G%-7s %s\n", mt_limit_text(id), v / 1e9, unit, note);
    }
}

static int measure(struct mt_ctx *ctx, const struct request *q)
{
    struct mt_dev *dev = NULL;
    struct mt_limits l;
    char *text = NULL, *path = NULL;
    int alone = q->json != NULL && strcmp(q->json, "-") == 0, st;

    MT_TRY_OR(end, mt_runner_open(ctx, q->device, &dev, NULL));
    MT_TRY_OR(end, mt_limits_measure(dev, q->seconds, &l));
    MT_TRY_OR(end, mt_limits_save(dev, &l, &path));
    MT_TRY_OR(end, mt_limits_json(dev, &l, &text));
    if (q->json != NULL && !alone) {
        MT_TRY_OR(end, mt_file_write(ctx, q->json, text, strlen(text)));
    }
    if (alone) {
        printf("%s", text);
    } else {
        printf("%s, %s, driver %s, %u compute units\n", mt_dev_info(dev)->name,
               mt_dev_info(dev)->platform_name, mt_dev_info(dev)->driver,
               (unsigned)mt_dev_info(dev)->units);
        for (int i = 0; i < MT_LIMITS; i++) {
            print_one(&l, (enum mt_limit)i);
        }
        printf("measured in %.1f s, kept in %s\n", l.seconds,
               path != NULL ? path : "no file: there is no cache folder");
    }
end:
    mt_free(ctx, text);
    mt_free(ctx, path);
    mt_dev_close(dev);
    return st;
}

int cli_bench_limits(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"device", required_argument, NULL, 'd'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"json", required_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct request q = {.seconds = 5.0};
    struct mt_ctx *ctx = NULL;
    int c, st;

    opterr = cli->prints;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'd') {
            q.device = optarg;
        } else if (c == 's') {
            q.seconds = strtod(optarg, NULL);
        } else if (c == 'j') {
            q.json = optarg;
        } else if (c == 'h') {
            cli_say(cli, "%s", help);
            return CLI_OK;
        } else {
            return CLI_USAGE;
        }
    }
    if (optind < argc) {
        return cli_usage(cli, "'%s' is not known", argv[optind]);
    }
    if (!(q.seconds > 0 && q.seconds <= 600)) {
        return cli_usage(cli, "--seconds must be above 0 and at most 600");
    }
    if (!cli->prints) {   /* one process measures, the others are done */
        return CLI_OK;
    }
    st = mt_ctx_new(NULL, NULL, &ctx);
    st = st < 0 ? st : measure(ctx, &q);
    if (st < 0) {
        fprintf(stderr, "motley: %s\n", mt_err_text());
    }
    mt_ctx_free(ctx);
    return st < 0 ? CLI_FAILED : CLI_OK;
}
