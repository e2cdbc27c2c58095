/* report.c -- devices for people and for programs.
 *
 * For people: a block per device, because a table with driver and place in it is wider than any
 * terminal; the first lines are a short table to choose from. */
#include "device/report.h"

#include "base/ctx.h"
#include "base/json.h"
#include "base/text.h"
#include "device/dev.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { EXPLANATION_ROOM = 4096 };

/* "7.5 GiB", "32 KiB" into buf, which is returned. */
static const char *size_text(uint64_t bytes, char *buf, size_t room)
{
    static const char *const unit[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double x = (double)bytes;
    size_t u = 0;

    while (x >= 1024.0 && u + 1 < sizeof unit / sizeof unit[0]) {
        x /= 1024.0;
        u++;
    }
    snprintf(buf, room, "%.*f %s", x < 10.0 && u > 0 && x != (double)(int)x ? 1 : 0, x, unit[u]);
    return buf;
}

/* What one should know before choosing this device: adds notes, separated by "; ". */
static void notes(const struct mt_dev_info *d, struct mt_text *t)
{
    const char *between = "";

    if (d->unified) {
        mt_text_add(t, "shares memory with the host");
        between = "; ";
    }
    if (d->type == MT_DEV_CPU && !d->can_divide) {
        mt_text_add(t, "%scannot be divided among processes", between);
        between = "; ";
    }
    if (strstr(d->name, "llvmpipe") != NULL) {
        mt_text_add(t, "%sa software rasteriser, far slower than PoCL", between);
        between = "; ";
    }
    if (d->type == MT_DEV_OTHER) {
        mt_text_add(t, "%sruns no OpenCL C, not used", between);
        between = "; ";
    }
    if (*between == '\0') {
        mt_text_add(t, "none");
    }
}

static void add_device(struct mt_text *t, const struct mt_dev_info *d)
{
    char memory[32], alloc[32], local[32];

    mt_text_add(t, "\n%d:%d  %s\n", d->platform, d->device, d->name);
    mt_text_add(t, "  type            %s, %s\n", mt_dev_type_name(d->type), d->vendor);
    mt_text_add(t, "  platform        %s\n", d->platform_name);
    mt_text_add(t, "  driver          %s (%s)\n", d->driver, d->version);
    mt_text_add(t, "  compute units   %" PRIu32, d->units);
    if (d->clock_mhz > 0) {
        mt_text_add(t, " at up to %" PRIu32 " MHz", d->clock_mhz);
    }
    mt_text_add(t, "\n  memory          %s, largest allocation %s\n",
                size_text(d->memory_bytes, memory, sizeof memory),
                size_text(d->max_alloc_bytes, alloc, sizeof alloc));
    mt_text_add(t, "  local memory    %s, work-groups up to %zu\n",
                size_text(d->local_bytes, local, sizeof local), d->max_group);
    if (d->pci[0] != '\0') {
        mt_text_add(t, "  PCI address     %s\n", d->pci);
    }
    mt_text_add(t, "  place           %s\n", d->place);
    mt_text_add(t, "  notes           ");
    notes(d, t);
    mt_text_add(t, "\n");
}

static int as_text(struct mt_ctx *ctx, const struct mt_dev_info *list, int n, const char *why,
                   char **out)
{
    struct mt_text t;

    mt_text_init(&t, ctx);
    if (n == 0) {
        mt_text_add(&t, "%s\n", why);
        return mt_text_take(&t, out);
    }
    mt_text_add(&t, "%-7s %-12s %5s %10s  %s\n", "device", "type", "units", "memory", "name");
    for (int i = 0; i < n; i++) {
        const struct mt_dev_info *d = &list[i];
        char id[32], memory[32];

        snprintf(id, sizeof id, "%d:%d", d->platform, d->device);
        mt_text_add(&t, "%-7s %-12s %5" PRIu32 " %10s  %s\n", id, mt_dev_type_name(d->type),
                    d->units, size_text(d->memory_bytes, memory, sizeof memory), d->name);
    }
    for (int i = 0; i < n; i++) {
        add_device(&t, &list[i]);
    }
    return mt_text_take(&t, out);
}

static void add_json(struct mt_json *j, struct mt_ctx *ctx, const struct mt_dev_info *d)
{
    char id[32], *said = NULL;
    struct mt_text t;

    snprintf(id, sizeof id, "%d:%d", d->platform, d->device);
    mt_json_map(j, NULL);
    mt_json_text(j, "id", id);
    mt_json_text(j, "name", d->name);
    mt_json_text(j, "type", mt_dev_type_name(d->type));
    mt_json_text(j, "vendor", d->vendor);
    mt_json_text(j, "platform", d->platform_name);
    mt_json_text(j, "driver", d->driver);
    mt_json_text(j, "version", d->version);
    mt_json_int(j, "units", d->units);
    mt_json_int(j, "clock_mhz", d->clock_mhz);
    mt_json_int(j, "memory_bytes", (int64_t)d->memory_bytes);
    mt_json_int(j, "max_alloc_bytes", (int64_t)d->max_alloc_bytes);
    mt_json_int(j, "local_bytes", (int64_t)d->local_bytes);
    mt_json_int(j, "max_group", (int64_t)d->max_group);
    mt_json_bool(j, "unified", d->unified);
    mt_json_bool(j, "can_divide", d->can_divide);
    mt_json_bool(j, "native_kernels", d->native_kernels);
    mt_json_text(j, "pci", d->pci[0] != '\0' ? d->pci : NULL);
    mt_json_text(j, "place", d->place);
    mt_text_init(&t, ctx);
    notes(d, &t);
    if (mt_text_take(&t, &said) == MOTLEY_OK) {
        mt_json_text(j, "notes", said);
        mt_free(ctx, said);
    }
    mt_json_end(j);
}

static int as_json(struct mt_ctx *ctx, const struct mt_dev_info *list, int n, const char *why,
                   char **out)
{
    struct mt_json j;

    mt_json_init(&j, ctx, 2);
    mt_json_map(&j, NULL);
    mt_json_list(&j, "devices");
    for (int i = 0; i < n; i++) {
        add_json(&j, ctx, &list[i]);
    }
    mt_json_end(&j);
    mt_json_text(&j, "explanation", n == 0 ? why : NULL);
    mt_json_end(&j);
    return mt_json_take(&j, out);
}

int mt_dev_report(struct mt_ctx *ctx, enum mt_report_form form, char **out)
{
    struct mt_dev_info *list = NULL;
    char why[EXPLANATION_ROOM] = "";
    int n = 0, st;

    MT_TRY(mt_dev_list(ctx, &list, &n));
    if (n == 0) {
        mt_dev_explain_none(ctx, why, sizeof why);
    }
    MT_TRY_OR(done, form == MT_REPORT_JSON ? as_json(ctx, list, n, why, out)
                                           : as_text(ctx, list, n, why, out));
done:
    mt_free(ctx, list);
    return st;
}
