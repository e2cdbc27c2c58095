/* api_impl.h -- what the files of the public functions share: what the opaque types are, and
 * structs that begin with their size. */
#ifndef MT_API_IMPL_H
#define MT_API_IMPL_H

#include "train/list.h"
#include "train/train.h"

struct motley_ctx {
    struct mt_job *job;
    struct mt_dev_info *devices;     /* behind motley_devices */
    motley_device *device;
    struct mt_seat *seats;           /* behind motley_seats */
    motley_seat *seat;
};

struct motley_config {
    motley_ctx *ctx;
    struct mt_config *config;
};

#define NOT_NULL(p) MT_CHECK((p) != NULL, MOTLEY_EARG, "%s: " #p " is NULL", __func__)

/* The caller's option struct, of whatever version, as ours. */
int mt_api_take(void *ours, size_t our_size, const void *theirs, const char *what);

#endif
