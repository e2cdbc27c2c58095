/* place.h -- where things sit, as hwloc tells it; "unknown" is an ordinary answer. */
#ifndef MT_DEVICE_PLACE_H
#define MT_DEVICE_PLACE_H

#include <stddef.h>

struct mt_ctx;

/* Cores (not hardware threads) that this process may use: its binding, or the whole machine. */
int mt_place_cores(struct mt_ctx *ctx, int *bound, int *all);

/* "cores 0-15, NUMA node 0, 64 GiB" for a device by PCI address ("0000:3b:00.0"); pci "" with
 * cpu set describes what the process is bound to. "unknown" if hwloc does not know. */
void mt_place_describe(struct mt_ctx *ctx, const char *pci, int cpu, char *buf, size_t room);

#endif
