/* cmd_check.c -- motley check: every operation on a device against double precision; or exactly
 * the shapes that a configuration uses.
 *
 * The suites are those of the tests (tests/ops), built into the program: an installed motley
 * can be asked whether the machine it runs on computes right. */
#include "cli/cli.h"

#include "tests/runner.h"

#include <stdlib.h>

static const char help[] =
    "motley check [options] [OPERATION ...]\n"
    "motley check [options] CONFIG [key=value ...]\n"
    "\n"
    "Compares operations on a device with references in double precision: forward, gradients,\n"
    "partial batches, repeated runs, memory around every tensor. Prints for each case the\n"
    "largest error of an element, its bound and its position. With a configuration: exactly\n"
    "the shapes that it uses, its matrix products by every provider. Exit code 1 if a check\n"
    "failed.\n"
    "\n"
    "  --device WISH   platform:device, gpu, cpu or part of a name\n"
    "  --all           every device, one after the other\n"
    "  --suite NAME    only this suite; may be given several times; --list shows them\n"
    "  --small         small cases only: for slow devices and simulators\n"
    "  --seed N        of the random inputs (1)\n"
    "  --json FILE     all results as JSON\n"
    "  --junit FILE    all results as JUnit XML\n";

enum { MAX_NAMES = 64, MAX_DEVICES = 64 };

struct request {
    const char *device, *json, *junit;
    char *name[MAX_NAMES];
    int names, all;
    struct mt_check_opt opt;
    struct mt_net *net;
    struct mt_report report[MAX_DEVICES];
    int reports;
};

static void log_warning(void *arg, int level, const char *category, const char *text)
{
    (void)arg;
    if (level == MT_LOG_WARN) {
        fprintf(stderr, "motley: warning: %s: %s\n", category, text);
    }
}

/* All checks on the device of one wish. */
static int check_device(struct mt_ctx *ctx, struct request *q, const char *wish)
{
    struct mt_report *r = &q->report[q->reports];
    const struct mt_dev_info *info;
    struct mt_dev *dev = NULL;
    int st;

    MT_TRY(mt_runner_open(ctx, wish, &dev, NULL));
    info = mt_dev_info(dev);
    mt_report_init(r, ctx);
    q->reports++;
    snprintf(r->device, sizeof r->device, "%d:%d %.60s, %.60s", info->platform, info->device,
             info->name, info->platform_name);
    printf("%s\n", r->device);
    if (q->net != NULL) {
        st = mt_net_check(q->net, dev, &q->opt, r, stdout);
    } else {
        st = mt_runner_check(dev, q->name, q->names, &q->opt, r, stdout);
    }
    mt_report_summary(r, stdout);
    mt_dev_close(dev);
    return st;
}

static int check_all(struct mt_ctx *ctx, struct request *q)
{
    struct mt_dev_info *list = NULL;
    int n = 0, st = MOTLEY_OK;

    if (!q->all) {
        return check_device(ctx, q, q->device);
    }
    MT_TRY(mt_dev_prepare(ctx));
    MT_TRY(mt_dev_list(ctx, &list, &n));
    MT_CHECK_OR(out, n > 0, MOTLEY_EDEV, "there is no OpenCL device; `motley devices` says why");
    for (int i = 0; i < n && i < MAX_DEVICES; i++) {
        char wish[32];

        snprintf(wish, sizeof wish, "%d:%d", list[i].platform, list[i].device);
        MT_TRY_OR(out, check_device(ctx, q, wish));
    }
out:
    mt_free(ctx, list);
    return st;
}

static int write_files(const struct request *q)
{
    if (q->json != NULL) {
        MT_TRY(mt_report_json(q->report, q->reports, q->json));
    }
    if (q->junit != NULL) {
        MT_TRY(mt_report_junit(q->report, q->reports, q->junit));
    }
    return MOTLEY_OK;
}

int cli_net(struct cli *cli, struct mt_ctx *ctx, int argc, char **argv, int first,
            struct mt_net **net, const char **device)
{
    const char *path, *const *over;
    int n, code = cli_config_words(cli, argc, argv, first, &path, &over, &n);

    if (code != CLI_OK) {
        return code;
    }
    if (mt_net_open(ctx, path, over, n, net) < 0) {
        fprintf(stderr, "motley: %s\n", mt_err_text());
        return CLI_USAGE;
    }
    *device = *device != NULL ? *device : mt_net_device(*net);
    return CLI_OK;
}

/* Words after the options: suites, or a configuration with its settings. */
static int read_words(struct cli *cli, struct mt_ctx *ctx, int argc, char **argv,
                      struct request *q)
{
    if (optind < argc && mt_suite_find(argv[optind]) == NULL) {
        int code = cli_no_suite(cli, argv[optind]);

        return code == CLI_OK ? cli_net(cli, ctx, argc, argv, optind, &q->net, &q->device) : code;
    }
    for (int i = optind; i < argc && q->names < MAX_NAMES; i++) {
        q->name[q->names++] = argv[i];
    }
    for (int i = 0; i < q->names; i++) {
        if (mt_suite_find(q->name[i]) == NULL) {
            return cli_usage(cli, "there is no suite '%s'; --list shows them", q->name[i]);
        }
    }
    return CLI_OK;
}

static int read_options(struct cli *cli, int argc, char **argv, struct request *q, int *done)
{
    static const struct option options[] = {{"device", required_argument, NULL, 'd'},
                                            {"all", no_argument, NULL, 'a'},
                                            {"suite", required_argument, NULL, 's'},
                                            {"list", no_argument, NULL, 'l'},
                                            {"small", no_argument, NULL, 'm'},
                                            {"seed", required_argument, NULL, 'r'},
                                            {"json", required_argument, NULL, 'j'},
                                            {"junit", required_argument, NULL, 'u'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int c;

    q->opt.seed = 1;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'd') {
            q->device = optarg;
        } else if (c == 'a') {
            q->all = 1;
        } else if (c == 's' && q->names < MAX_NAMES) {
            q->name[q->names++] = optarg;
        } else if (c == 'm') {
            q->opt.small = 1;
        } else if (c == 'r') {
            q->opt.seed = strtoull(optarg, NULL, 10);
        } else if (c == 'j') {
            q->json = optarg;
        } else if (c == 'u') {
            q->junit = optarg;
        } else if (c == 'h' || c == 'l') {
            for (const struct mt_suite *const *s = mt_suites; c == 'l' && *s != NULL; s++) {
                cli_say(cli, "%s\n", (*s)->name);
            }
            cli_say(cli, "%s", c == 'h' ? help : "");
            *done = 1;
            return CLI_OK;
        } else {
            return CLI_USAGE;
        }
    }
    return CLI_OK;
}

static int run(struct mt_ctx *ctx, struct request *q)
{
    int failed = 0, st = check_all(ctx, q);

    if (st < 0) {
        fprintf(stderr, "motley: %s\n", mt_err_text());
        failed = 1;
    }
    if (write_files(q) < 0) {
        fprintf(stderr, "motley: %s\n", mt_err_text());
        failed = 1;
    }
    for (int i = 0; i < q->reports; i++) {
        failed |= q->report[i].failed > 0 || q->report[i].n == 0;
        mt_report_fini(&q->report[i]);
    }
    return failed ? CLI_FAILED : CLI_OK;
}

int cli_check(struct cli *cli, int argc, char **argv)
{
    struct request *q;
    struct mt_ctx *ctx = NULL;
    int code, done = 0;

    opterr = cli->prints;
    if (mt_ctx_new(log_warning, NULL, &ctx) < 0 || MT_NEW(ctx, &q) < 0) {
        fprintf(stderr, "motley: %s\n", mt_err_text());
        mt_ctx_free(ctx);
        return CLI_FAILED;
    }
    code = read_options(cli, argc, argv, q, &done);
    if (code == CLI_OK && !done && cli->prints) {   /* one process of a job checks */
        code = read_words(cli, ctx, argc, argv, q);
        code = code == CLI_OK ? run(ctx, q) : code;
    }
    mt_net_close(q->net);
    mt_free(ctx, q);
    mt_ctx_free(ctx);
    return code;
}
