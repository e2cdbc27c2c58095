/* dev.h -- what OpenCL offers on this node, which device a process takes, and the open device.
 *
 * No OpenCL type appears here; CL/cl.h is included only below device/. One process drives one
 * device with two in-order queues: compute and transfers. */
#ifndef MT_DEVICE_DEV_H
#define MT_DEVICE_DEV_H

#include <stddef.h>
#include <stdint.h>

struct mt_ctx;
struct mt_dev;

enum mt_dev_type { MT_DEV_GPU = 0, MT_DEV_ACCELERATOR, MT_DEV_CPU, MT_DEV_OTHER };

struct mt_dev_info {
    int platform, device;           /* positions as the ICD loader lists them: "platform:device" */
    enum mt_dev_type type;
    char name[128], vendor[128], driver[128], version[128];
    char platform_name[128];
    uint32_t units;                 /* compute units that this process may use */
    uint32_t all_units;             /* compute units of the whole device */
    uint32_t clock_mhz;             /* 0: unknown */
    uint64_t memory_bytes, max_alloc_bytes, local_bytes;   /* that this process may use */
    uint64_t all_memory_bytes, all_max_alloc_bytes;        /* of the whole device */
    int limited;                    /* MT_DEV_LIMIT_*: what the configuration limits */
    size_t max_group;               /* work-items in one group */
    int unified;                    /* host and device share memory: mapping copies nothing */
    int can_divide;                 /* can be partitioned by counts of compute units */
    int native_kernels;             /* CL_EXEC_NATIVE_KERNEL */
    char pci[24];                   /* "0000:3b:00.0", "" if unknown */
    char place[128];                /* near which cores and memory, "unknown" is ordinary */
};

/* All devices of all platforms, in the order in which processes take them: GPUs, accelerators,
 * CPUs; within a type by platform name, PCI address, position. Every process of a node sees the
 * same order. *n may be 0. Platforms that fail are named in a warning and left out.
 * Gives *list (mt_free). */
int mt_dev_list(struct mt_ctx *ctx, struct mt_dev_info **list, int *n);

/* What "no device" means on this machine and what to do about it, for error messages. */
void mt_dev_explain_none(struct mt_ctx *ctx, char *buf, size_t room);

/* Devices for the processes of one node. want[i] is the wish of the process with node rank i:
 * "auto", "gpu", "cpu", "platform:device" or part of a name (any case). got[i] is a position in
 * list; sharers[i] how many processes of the node got the same one. A device that is no CPU is
 * shared only if `share`. Pure: every process computes the same answer. */
int mt_dev_assign(const struct mt_dev_info *list, int n, const char *const *want, int node_size,
                  int share, int *got, int *sharers);

/* Call before the first OpenCL call of the process: a folder of its own for PoCL's cache (two
 * processes must not share one) and as many PoCL threads as the process is bound to cores.
 * Settings that the user made are kept. */
int mt_dev_prepare(struct mt_ctx *ctx);

/* Opens a device. sharers > 1 divides a CPU: the process takes its share of compute units where
 * the device can be divided. Gives *dev (mt_dev_close). */
int mt_dev_open(struct mt_ctx *ctx, const struct mt_dev_info *info, int sharers,
                struct mt_dev **dev);
void mt_dev_close(struct mt_dev *dev);

/* Limits below those of the device (device.memory, device.max_alloc); 0: those of the device. */
enum { MT_DEV_LIMIT_MEMORY = 1, MT_DEV_LIMIT_ALLOC = 2 };
void mt_dev_limit(struct mt_dev *dev, uint64_t memory_bytes, uint64_t max_alloc_bytes);
/* Where a limit comes from, for messages: "device.memory", or where the device says it. */
const char *mt_dev_memory_word(const struct mt_dev_info *info);
const char *mt_dev_alloc_word(const struct mt_dev_info *info);

const struct mt_dev_info *mt_dev_info(const struct mt_dev *dev);
struct mt_ctx *mt_dev_ctx(const struct mt_dev *dev);
const char *mt_dev_type_name(enum mt_dev_type type);
/* Elements that a work-item of elementwise kernels takes where they have both forms, V of
 * cl/motley.clh: 16 on CPUs, 1 elsewhere and with MOTLEY_DEBUG=scalar. */
int mt_dev_vector(const struct mt_dev *dev);

int mt_dev_flush(struct mt_dev *dev);    /* commands are on their way; returns at once */
int mt_dev_finish(struct mt_dev *dev);   /* waits for both queues: set-up, tests, measuring */

/* Counters, for tests and reports. */
uint64_t mt_dev_launches(const struct mt_dev *dev);   /* kernels enqueued since it was opened */
uint64_t mt_dev_allocations(const struct mt_dev *dev);   /* buffers made since it was opened */
uint64_t mt_dev_allocated_bytes(const struct mt_dev *dev);   /* live buffers */

#endif
