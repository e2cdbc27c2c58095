/* optest.c -- runs the numerical suites on a device: all of them, or those named.
 *
 *     tests/optest [--list] [--small] [--seed N] [--device WISH] [SUITE...]
 *
 * Exit code 0: passed; 1: a check failed; 2: wrong command line; 77: there is no OpenCL device;
 * 99: the device cannot be opened. On failure the command that repeats the failing suites is
 * printed. The first time most of the time goes into compiling kernels.
 * Time: 1200 */
#include "tests/runner.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void to_stderr(void *arg, int level, const char *category, const char *text)
{
    (void)arg;
    if (level == MT_LOG_WARN) {
        fprintf(stderr, "warning: %s: %s\n", category, text);
    }
}

static void print_repeat(const struct mt_report *r, const char *program, const char *device,
                         const struct mt_check_opt *opt)
{
    printf("repeat with: %s%s --seed %" PRIu64, program, opt->small ? " --small" : "",
           opt->seed);
    if (device != NULL) {
        printf(" --device '%s'", device);
    }
    for (const struct mt_suite *const *s = mt_suites; *s != NULL; s++) {
        for (int i = 0; i < r->n; i++) {
            if (!r->item[i].pass && strcmp(r->item[i].suite, (*s)->name) == 0) {
                printf(" %s", (*s)->name);
                break;
            }
        }
    }
    printf("\n");
}

static int run(struct mt_ctx *ctx, const char *device, char **name, int n, const char *program,
               const struct mt_check_opt *opt)
{
    struct mt_dev *dev = NULL;
    struct mt_report report;
    int found = 0, st;

    if (mt_runner_open(ctx, device, &dev, &found) < 0) {
        fprintf(stderr, "%s\n", mt_err_text());
        return found == 0 ? 77 : 99;
    }
    printf("%s, %s\n", mt_dev_info(dev)->name, mt_dev_info(dev)->platform_name);
    mt_report_init(&report, ctx);
    st = mt_runner_check(dev, name, n, opt, &report, stdout);
    if (st < 0) {
        fprintf(stderr, "%s\n%s", mt_err_text(), mt_err_trace_text());
    }
    mt_report_summary(&report, stdout);
    if (report.failed > 0) {
        print_repeat(&report, program, device, opt);
    }
    st = st < 0 ? 99 : report.failed > 0;
    mt_report_fini(&report);
    mt_dev_close(dev);
    return st;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"list", no_argument, NULL, 'l'},
                                          {"small", no_argument, NULL, 's'},
                                          {"seed", required_argument, NULL, 'r'},
                                          {"device", required_argument, NULL, 'd'},
                                          {NULL, 0, NULL, 0}};
    struct mt_check_opt opt = {.seed = 1};
    struct mt_ctx *ctx = NULL;
    const char *device = NULL;
    int c, code;

    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case 'l':
            for (const struct mt_suite *const *s = mt_suites; *s != NULL; s++) {
                printf("%s\n", (*s)->name);
            }
            return 0;
        case 's':
            opt.small = 1;
            break;
        case 'r':
            opt.seed = strtoull(optarg, NULL, 10);
            break;
        case 'd':
            device = optarg;
            break;
        default:
            return 2;
        }
    }
    for (int i = optind; i < argc; i++) {
        if (mt_suite_find(argv[i]) == NULL) {
            fprintf(stderr, "there is no suite '%s'; --list shows them\n", argv[i]);
            return 2;
        }
    }
    if (mt_ctx_new(to_stderr, NULL, &ctx) < 0) {
        fprintf(stderr, "%s\n", mt_err_text());
        return 99;
    }
    code = run(ctx, device, argv + optind, argc - optind, argv[0], &opt);
    mt_ctx_free(ctx);
    return code;
}
