/* cmd_info.c -- motley info: what this build has, read off the library's own tables. */
#include "cli/cli.h"

#include <string.h>

static const char help[] =
    "motley info [--libraries] [--ops] [--optimizers] [--schedules] [--readers] [--gemm] [--keys]\n"
    "            [--env]\n"
    "\n"
    "Without an option: libraries, then names of everything, then the environment.\n";

static const struct part {
    const char *option, *title;
    int what;
} parts[] = {{"libraries", "Build", MOTLEY_LIST_LIBRARIES},
             {"ops", "Operations", MOTLEY_LIST_OPERATIONS},
             {"optimizers", "Optimizers", MOTLEY_LIST_OPTIMIZERS},
             {"schedules", "Schedules", MOTLEY_LIST_SCHEDULES},
             {"readers", "Data formats", MOTLEY_LIST_READERS},
             {"gemm", "Matrix products", MOTLEY_LIST_GEMMS},
             {"keys", "Keys of the configuration", MOTLEY_LIST_KEYS},
             {"env", "Environment", MOTLEY_LIST_ENVIRONMENT}};

#define PARTS ((int)(sizeof parts / sizeof *parts))

struct view {
    int what, brief;
};

static void print(void *arg, const motley_entry *e)
{
    const struct view *v = arg;

    if (v->what == MOTLEY_LIST_LIBRARIES) {
        printf("  %-10s %s\n", e->name, e->doc);
    } else if (v->what == MOTLEY_LIST_ENVIRONMENT) {
        printf("  %-18s %s%s%s\n", e->name, e->doc, e->def != NULL ? "; now: " : "",
               e->def != NULL ? e->def : "");
    } else if (e->in == NULL) {
        printf("  %-22s %s", e->name, e->doc != NULL ? e->doc : "");
        if (!v->brief && e->allowed != NULL) {
            printf(" (%s; default %s)", e->allowed, e->def != NULL ? e->def : "none");
        }
        printf("\n");
    } else if (!v->brief) {
        printf("      %-18s %s (%s; %s%s)\n", e->name, e->doc != NULL ? e->doc : "", e->allowed,
               e->def != NULL ? "default " : "required", e->def != NULL ? e->def : "");
    }
}

static int print_part(struct cli *cli, const struct part *p, int brief)
{
    struct view v = {p->what, brief};
    int status = MOTLEY_OK;

    if (cli->prints) {
        printf("%s:\n", p->title);
        status = motley_list(cli->ctx, p->what, print, &v);
    }
    return status;
}

int cli_info(struct cli *cli, int argc, char **argv)
{
    struct option options[PARTS + 2];
    int c, status = MOTLEY_OK, asked = 0;

    memset(options, 0, sizeof options);
    for (int i = 0; i < PARTS; i++) {
        options[i].name = parts[i].option;
        options[i].val = 256 + i;
    }
    options[PARTS] = (struct option){"help", no_argument, NULL, 'h'};
    opterr = cli->prints;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'h') {
            cli_say(cli, "%s", help);
            return CLI_OK;
        }
        if (c < 256) {
            return CLI_USAGE;
        }
        asked = 1;
        status = status == MOTLEY_OK ? print_part(cli, &parts[c - 256], 0) : status;
    }
    if (optind < argc) {
        return cli_usage(cli, "'%s' is not known", argv[optind]);
    }
    for (int i = 0; i < PARTS && !asked; i++) {
        if (parts[i].what != MOTLEY_LIST_KEYS) {
            status = status == MOTLEY_OK ? print_part(cli, &parts[i], 1) : status;
        }
    }
    return status < 0 ? cli_fail(cli, status) : CLI_OK;
}
