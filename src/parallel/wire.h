/* wire.h -- the one place where a process waits during a step: whatever is under way with other
 * ranks (sums, activations, gradients of activations) makes progress together.
 *
 * Nothing here runs by itself: progress is made when a step kind that communicates runs, while one
 * waits, and while an executor idles. Steps between only enqueue work and take no time. */
#ifndef MT_PARALLEL_WIRE_H
#define MT_PARALLEL_WIRE_H

#include "comm/comm.h"

struct mt_dev;
struct mt_wire;

/* Makes what progress it can without waiting; *peer (-1 before): a rank that it waits for;
 * MT_WIRE_OWN: the own device has work to do, whose end is told by mt_dev_doze; until then this
 * process has nothing to do, and nothing that it sends is under way; MT_WIRE_BOTH: the own device
 * has, and something that it sends is. Looking takes the device's own core where that is a
 * processor, 20 us a time on a virtual machine. */
#define MT_WIRE_OWN  (-2)
#define MT_WIRE_BOTH (-3)
typedef int mt_wire_fn(void *arg, int *peer);

/* dev: whose windows are waited for. Gives *out. */
int mt_wire_new(struct mt_ctx *ctx, struct mt_comm *comm, struct mt_dev *dev,
                struct mt_wire **out);
void mt_wire_free(struct mt_wire *w);
/* This process computes nothing (it is left out): its waits sleep a quarter of what they have
 * lasted, so that others have its processor, and what hangs on it comes little later. */
void mt_wire_spare(struct mt_wire *w);
/* fn is called by every progress from now on, in the order of joining. */
int mt_wire_join(struct mt_wire *w, mt_wire_fn *fn, void *arg);

int mt_wire_progress(struct mt_wire *w);
/* Until done says so; the time limit of mt_comm_watch counts while a peer is waited for. */
int mt_wire_wait(struct mt_wire *w, int (*done)(const void *arg), const void *arg);
/* Seconds, ever, in which a wait was for a peer and not for the own device. */
double mt_wire_late(const struct mt_wire *w);
/* So many seconds, with progress. */
int mt_wire_idle(struct mt_wire *w, double seconds);

#endif
