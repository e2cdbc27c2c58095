/* assign.c -- which process of a node takes which device.
 *
 * Wishes are served from the most to the least particular, and by node rank within a kind:
 * "platform:device", part of a name, "gpu" or "cpu", "auto". So an "auto" never takes what another
 * process asked for by name.
 *
 * auto  GPUs, then accelerators, one each, in the order of the list; then, if sharing is allowed,
 *       the GPU with the fewest processes; otherwise the CPU.
 * cpu   all share one CPU device even where several platforms offer the same cores: PoCL, else
 *       whatever else there is, else the software rasteriser llvmpipe, which is far slower.
 *
 * A GPU that two platforms offer (same PCI address) is one device. */
#include "device/dev.h"

#include "base/err.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum wish { WISH_POSITION = 0, WISH_NAME, WISH_TYPE, WISH_AUTO, WISH_COUNT };

struct hall {
    const struct mt_dev_info *list;
    int n;
    const char *const *want;
    int size;                  /* processes of the node */
    int share;
    int *got;                  /* of each process; -1: none yet */
};

static int position(const char *want, int *platform, int *device)
{
    int used = 0;

    return sscanf(want, "%d:%d%n", platform, device, &used) == 2 && want[used] == '\0' &&
           isdigit((unsigned char)want[0]);
}

static enum wish kind_of(const char *want)
{
    int p, d;

    if (want == NULL || *want == '\0' || strcasecmp(want, "auto") == 0) {
        return WISH_AUTO;
    }
    if (strcasecmp(want, "gpu") == 0 || strcasecmp(want, "cpu") == 0) {
        return WISH_TYPE;
    }
    return position(want, &p, &d) ? WISH_POSITION : WISH_NAME;
}

static int contains(const char *text, const char *part)
{
    size_t len = strlen(part);

    for (; *text != '\0'; text++) {
        if (strncasecmp(text, part, len) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Platform names are searched too, so "rusticl" or "portable" choose an implementation; version
 * texts for "pocl", which calls itself so nowhere else. */
static int named(const struct mt_dev_info *d, const char *part)
{
    return contains(d->name, part) || contains(d->vendor, part) ||
           contains(d->platform_name, part) || contains(d->version, part);
}

static int same(const struct mt_dev_info *a, const struct mt_dev_info *b)
{
    return a == b || (a->pci[0] != '\0' && strcmp(a->pci, b->pci) == 0 && a->type == b->type);
}

/* Processes that have this device; *first is one of them. */
static int holders(const struct hall *h, int d, int *first)
{
    int n = 0;

    for (int i = h->size - 1; i >= 0; i--) {
        if (h->got[i] >= 0 && same(&h->list[h->got[i]], &h->list[d])) {
            n++;
            *first = i;
        }
    }
    return n;
}

static int is_free(const struct hall *h, int d)
{
    int first;

    return h->list[d].type == MT_DEV_CPU || holders(h, d, &first) == 0;
}

/* 0: best. */
static int cpu_order(const struct mt_dev_info *d)
{
    return contains(d->version, "pocl")                                      ? 0
           : contains(d->name, "llvmpipe") || contains(d->name, "softpipe") ? 2
                                                                            : 1;
}

static int best_cpu(const struct hall *h)
{
    int best = -1;

    for (int d = 0; d < h->n; d++) {
        if (h->list[d].type == MT_DEV_CPU &&
            (best < 0 || cpu_order(&h->list[d]) < cpu_order(&h->list[best]))) {
            best = d;
        }
    }
    return best;
}

/* Whether device d is what a process asks for. */
static int fits(const struct hall *h, int d, const char *want, enum wish kind)
{
    const struct mt_dev_info *info = &h->list[d];
    int platform, device;

    switch (kind) {
    case WISH_POSITION:
        return position(want, &platform, &device) && info->platform == platform &&
               info->device == device;
    case WISH_NAME:
        return info->type != MT_DEV_OTHER && named(info, want);
    case WISH_TYPE:
        return strcasecmp(want, "gpu") == 0 ? info->type == MT_DEV_GPU : d == best_cpu(h);
    default:
        return info->type == MT_DEV_GPU || info->type == MT_DEV_ACCELERATOR;
    }
}

static void print_device(const struct mt_dev_info *d, char *buf, size_t room)
{
    snprintf(buf, room, "%d:%d %s", d->platform, d->device, d->name);
}

/* No device at all fits the wish of process i. */
static int refuse_missing(const struct hall *h, int i)
{
    char list[1024] = "";
    size_t used = 0;

    for (int d = 0; d < h->n && used + 160 < sizeof list; d++) {
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%d:%d %s (%s, %s)",
                                 d > 0 ? "; " : "", h->list[d].platform, h->list[d].device,
                                 h->list[d].name, mt_dev_type_name(h->list[d].type),
                                 h->list[d].platform_name);
    }
    MT_FAIL(MOTLEY_EDEV, "no device fits \"%s\", which process %d of this node asks for; there "
            "%s: %s", h->want[i] != NULL ? h->want[i] : "auto", i, h->n == 1 ? "is" : "are",
            h->n > 0 ? list : "none");
}

/* All devices that fit the wish of process i are taken; d is the first of them. */
static int refuse_taken(const struct hall *h, int i, int d)
{
    char name[192];
    int first = 0, fit = 0;
    enum wish kind = kind_of(h->want[i]);

    holders(h, d, &first);
    for (int k = 0; k < h->n; k++) {
        fit += fits(h, k, h->want[i], kind);
    }
    print_device(&h->list[d], name, sizeof name);
    MT_FAIL(MOTLEY_EDEV, "processes %d and %d of this node would share device %s (%d process%s, "
            "%d device%s that fit%s \"%s\"): start fewer processes per node, name another device, "
            "or allow it with device.share=true", first < i ? first : i, first < i ? i : first,
            name, h->size, h->size == 1 ? "" : "es", fit, fit == 1 ? "" : "s",
            fit == 1 ? "s" : "", h->want[i] != NULL ? h->want[i] : "auto");
}

/* Finds a device for process i. */
static int serve(struct hall *h, int i, enum wish kind)
{
    const char *want = h->want[i];
    int taken = -1, least = 0, first;

    for (int d = 0; d < h->n; d++) {
        int count;

        if (!fits(h, d, want, kind)) {
            continue;
        }
        if (is_free(h, d)) {
            h->got[i] = d;
            return MOTLEY_OK;
        }
        count = holders(h, d, &first);
        if (taken < 0 || count < least) {
            taken = d;
            least = count;
        }
    }
    if (taken >= 0 && h->share) {
        h->got[i] = taken;
        return MOTLEY_OK;
    }
    if (kind == WISH_AUTO && best_cpu(h) >= 0) {
        h->got[i] = best_cpu(h);
        return MOTLEY_OK;
    }
    if (taken >= 0) {
        return refuse_taken(h, i, taken);
    }
    return refuse_missing(h, i);
}

int mt_dev_assign(const struct mt_dev_info *list, int n, const char *const *want, int node_size,
                  int share, int *got, int *sharers)
{
    struct hall h = {.list = list, .n = n, .want = want, .size = node_size, .share = share,
                     .got = got};
    int first;

    for (int i = 0; i < node_size; i++) {
        got[i] = -1;
    }
    for (int kind = 0; kind < WISH_COUNT; kind++) {
        for (int i = 0; i < node_size; i++) {
            if ((int)kind_of(want[i]) == kind) {
                MT_TRY(serve(&h, i, (enum wish)kind));
            }
        }
    }
    for (int i = 0; i < node_size; i++) {
        sharers[i] = holders(&h, got[i], &first);
    }
    return MOTLEY_OK;
}
