/* bell.h -- inside src/device: the host is woken when a window is shown; see bell.c. */
#ifndef MT_DEVICE_BELL_H
#define MT_DEVICE_BELL_H

#include "device/clerr.h"

struct mt_bell;
struct mt_ctx;

int mt_bell_new(struct mt_ctx *ctx, struct mt_bell **out);
void mt_bell_free(struct mt_ctx *ctx, struct mt_bell *b);   /* waits for callbacks */
void mt_bell_await(struct mt_bell *b, cl_event event);      /* rings when the event is done */

#endif
