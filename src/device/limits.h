/* limits.h -- what a device can do at best, measured by kernels that do nothing else: the figures
 * against which all others are read. Kept in a file per device and driver in the cache folder.
 *
 * A figure is the best of several runs. The ceiling is that of OpenCL C on this device, with the
 * compiler that is there; hardware beyond the language (matrix units) is not in it. */
#ifndef MT_DEVICE_LIMITS_H
#define MT_DEVICE_LIMITS_H

#include <stddef.h>

struct mt_ctx;
struct mt_dev;

/* id, key in the file, unit, text. Memory traffic is what the kernel asks for: an array that is
 * written counts once, as in STREAM, though a cache may read it first. "to" and "from" are seen
 * from the host. */
#define MT_LIMIT_MAP(X)                                                                       \
    X(FMA, "fma", "FLOP/s", "multiply-add fp32, registers")                                   \
    X(READ, "memory_read", "B/s", "memory, read")                                             \
    X(COPY, "memory_copy", "B/s", "memory, copy")                                             \
    X(TRIAD, "memory_triad", "B/s", "memory, triad")                                          \
    X(LAUNCH, "launch", "s", "launch, one of many")                                           \
    X(LAUNCH_WAIT, "launch_wait", "s", "launch and wait for it")                              \
    X(TO, "pageable_to_device", "B/s", "host to device, pageable")                            \
    X(FROM, "pageable_from_device", "B/s", "device to host, pageable")                        \
    X(WINDOW_TO, "window_to_device", "B/s", "host to device, window")                         \
    X(WINDOW_FROM, "window_from_device", "B/s", "device to host, window")                     \
    X(WINDOW_WAIT, "window_wait", "s", "window of 4 bytes, read")

enum mt_limit {
#define MT_LIMIT_ID(id, key, unit, text) MT_LIMIT_##id,
    MT_LIMIT_MAP(MT_LIMIT_ID)
#undef MT_LIMIT_ID
    MT_LIMITS
};

struct mt_limits {
    double value[MT_LIMITS];     /* positive, in the unit of the map */
    char fma_by[48];             /* the best of the variants: "vectors of 16, 12 chains" */
    double array_bytes;          /* of one array in the memory figures */
    double transfer_bytes;       /* of one transfer */
    int mapped;                  /* windows map: their figures are of the host's copying */
    double seconds;              /* that measuring took */
};

const char *mt_limit_key(enum mt_limit id);
const char *mt_limit_unit(enum mt_limit id);
const char *mt_limit_text(enum mt_limit id);

/* Takes about `seconds`, and the time to build the kernels if they are not in the cache. */
int mt_limits_measure(struct mt_dev *dev, double seconds, struct mt_limits *out);

/* limits_file.c: what is kept; *found is 0 where nothing valid is. */
int mt_limits_load(struct mt_dev *dev, struct mt_limits *out, int *found);
/* Gives *path (mt_free), NULL where nothing is kept: no cache folder, or kernels being edited. */
int mt_limits_save(struct mt_dev *dev, const struct mt_limits *l, char **path);
/* The content of the file. Gives *out (mt_free). */
int mt_limits_json(struct mt_dev *dev, const struct mt_limits *l, char **out);

/* As kept, else measured (in about two seconds) and kept. */
int mt_limits_get(struct mt_dev *dev, struct mt_limits *out);

/* Least time for a work of that many operations and bytes of memory traffic. */
double mt_limits_bound(const struct mt_limits *l, double flop, double bytes);

#endif
