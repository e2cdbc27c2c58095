/* place.h -- where things sit, as hwloc tells it; "unknown" is an ordinary answer. */
#ifndef MT_DEVICE_PLACE_H
#define MT_DEVICE_PLACE_H

#include <stddef.h>
#include <stdint.h>

struct mt_ctx;

/* Cores (not hardware threads) that this process may use: its binding, or the whole machine. */
int mt_place_cores(struct mt_ctx *ctx, int *bound, int *all);

/* The processors (hardware threads, as the system numbers them) that this process may use: bit
 * i % 64 of word[i / 64]; none above 64 n. All bits 0: unknown. */
void mt_place_processors(uint64_t *word, int n);

/* "cores 0-15, NUMA node 0, 64 GiB" for a device by PCI address ("0000:3b:00.0"); pci "" with
 * cpu set describes what the process is bound to. "unknown" if hwloc does not know. */
void mt_place_describe(struct mt_ctx *ctx, const char *pci, int cpu, char *buf, size_t room);

#endif
