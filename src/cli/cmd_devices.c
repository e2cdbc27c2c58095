/* cmd_devices.c -- motley devices: what OpenCL offers here; under mpirun, who takes what. */
#include "cli/cli.h"

#include <inttypes.h>

static const char help[] =
    "motley devices [--json]\n"
    "\n"
    "All OpenCL devices of this node, in the order in which processes take them. Under mpirun:\n"
    "one line per rank with the device it gets, its cores, memory and share.\n";

static void json_seats(const motley_seat *seat, int n)
{
    printf("[");
    for (int i = 0; i < n; i++) {
        printf("%s\n{\"rank\":%d,\"host\":", i > 0 ? "," : "", seat[i].rank);
        cli_json_text(stdout, seat[i].host);
        printf(",\"cores\":%d,\"sharers\":%d,\"device\":\"%d:%d\",\"memory_bytes\":%" PRIu64
               ",\"name\":", seat[i].cores, seat[i].sharers, seat[i].device.platform,
               seat[i].device.device, seat[i].device.memory_bytes);
        cli_json_text(stdout, seat[i].device.name);
        printf("}");
    }
    printf("\n]\n");
}

static void print_seats(const motley_seat *seat, int n)
{
    printf("%-5s %-16s %-7s %-5s %-9s %-7s %s\n", "rank", "host", "device", "cores", "memory",
           "share", "name");
    for (int i = 0; i < n; i++) {
        char id[32], memory[32], share[16];

        snprintf(id, sizeof id, "%d:%d", seat[i].device.platform, seat[i].device.device);
        snprintf(memory, sizeof memory, "%.1f GiB",
                 (double)seat[i].device.memory_bytes / (1u << 30));
        snprintf(share, sizeof share, "1/%d", seat[i].sharers);
        printf("%-5d %-16s %-7s %-5d %-9s %-7s %s\n", seat[i].rank, seat[i].host, id,
               seat[i].cores, memory, share, seat[i].device.name);
    }
}

static int show_seats(struct cli *cli, int json)
{
    const motley_seat *seat = NULL;
    int n = 0, status = motley_seats(cli->ctx, &seat, &n);

    if (status < 0) {
        return cli_fail(cli, status);
    }
    if (cli->prints) {
        (json ? json_seats : print_seats)(seat, n);
    }
    return CLI_OK;
}

int cli_devices(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    const motley_device *list = NULL;
    int c, n = 0, json = 0, status;

    opterr = cli->prints;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (c == 'j') {
            json = 1;
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
    if (motley_size(cli->ctx) > 1) {
        return show_seats(cli, json);
    }
    status = motley_devices_print(cli->ctx, json, cli_line, cli);
    status = status == MOTLEY_OK ? motley_devices(cli->ctx, &list, &n) : status;
    if (status < 0) {
        return cli_fail(cli, status);
    }
    return n > 0 ? CLI_OK : CLI_FAILED;
}
