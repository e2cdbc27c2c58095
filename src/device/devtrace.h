/* devtrace.h -- device times of commands, for the timeline; for src/device only.
 *
 * Every command is enqueued with mt_devtrace_slot() as its event: NULL without a timeline. */
#ifndef MT_DEVICE_DEVTRACE_H
#define MT_DEVICE_DEVTRACE_H

#include "base/trace.h"
#include "device/dev_impl.h"

/* With a timeline in the context: room for the events of commands under way, and the distance of
 * the device's clock from the host's. Call with the queues there. */
int mt_devtrace_new(struct mt_dev *dev);
void mt_devtrace_free(struct mt_dev *dev);

/* Where the next command puts its event; name: borrowed until the device is closed. */
cl_event *mt_devtrace_slot(struct mt_dev *dev, enum mt_lane lane, const char *name);

/* For a command whose event somebody else keeps, after it was enqueued. */
void mt_devtrace_note(struct mt_dev *dev, enum mt_lane lane, const char *name, cl_event event);

/* Moves ended commands to the timeline; wait 1: all of them. */
void mt_devtrace_collect(struct mt_dev *dev, int wait);

#endif
