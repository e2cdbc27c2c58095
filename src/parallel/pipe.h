/* pipe.h -- between pipe_order.c, which makes the list of a stage, and pipe.c, which runs its
 * messages.
 *
 *     recv    the memory is free from here on: the device shows it to the host, the message is
 *             received straight into it
 *     arrive  the host waits for that message; what is enqueued from here on sees it
 *     send    the device shows the value as it is here to the host, then the message leaves
 *     sent    the host waits until it has left: the memory may be reused
 *
 * A ticket is a window and what belongs to it: from recv to arrive, or from send to sent. */
#ifndef MT_PARALLEL_PIPE_H
#define MT_PARALLEL_PIPE_H

#include "graph/step.h"

#define MT_PIPE_TAGS 8000   /* messages of a step take the tags 0.. of mt_comm_send, around */

enum mt_move { MT_SEND = 0, MT_SENT, MT_RECV, MT_ARRIVE, MT_MOVES };

/* [0]: values; [1]: their gradients, whose names begin with "d". */
extern const struct mt_step_kind mt_move_kind[2][MT_MOVES];

#endif
