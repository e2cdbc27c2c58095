/* buf.h -- device memory, and windows through which the host sees a part of it for a while.
 *
 * Buffers are requested only by the memory plan, the parameter store, windows and tests; a
 * training step makes none. Offsets and lengths are in bytes. */
#ifndef MT_DEVICE_BUF_H
#define MT_DEVICE_BUF_H

#include <stddef.h>
#include <stdint.h>

struct mt_dev;
struct mt_buf;
struct mt_window;

/* what: for error messages ("parameters", "arena 0"). The limits of one allocation and of the
 * device are checked and named. Contents are undefined. Gives *buf. */
int mt_buf_new(struct mt_dev *dev, uint64_t bytes, const char *what, struct mt_buf **buf);
/* The same in memory of the caller, which stays as long as the buffer, where the device can use
 * it: then windows show the buffer there. at: begins at a page; NULL: mt_buf_new. */
int mt_buf_new_at(struct mt_dev *dev, void *at, uint64_t bytes, const char *what,
                  struct mt_buf **buf);
void mt_buf_free(struct mt_buf *buf);
uint64_t mt_buf_bytes(const struct mt_buf *buf);

/* With MOTLEY_DEBUG=guard: whether the words before and behind the buffer are as they were. Waits.
 * mt_buf_free and mt_dev_finish do it too. */
int mt_buf_check(struct mt_buf *buf);
/* Whether a range lies in the buffer; what: who asks, for the message. */
int mt_buf_inside(const struct mt_buf *buf, uint64_t off, uint64_t bytes, const char *what);

/* Blocking, after everything enqueued before: for set-up, checkpoints, tests. */
int mt_buf_write(struct mt_buf *buf, uint64_t off, uint64_t bytes, const void *src);
int mt_buf_read(struct mt_buf *buf, uint64_t off, uint64_t bytes, void *dst);

/* Enqueued in the compute queue. The pattern of fill is one 32-bit word; off and bytes are
 * multiples of 4. */
int mt_buf_fill(struct mt_buf *buf, uint64_t off, uint64_t bytes, uint32_t word);
int mt_buf_copy(struct mt_buf *dst, uint64_t dst_off, struct mt_buf *src, uint64_t src_off,
                uint64_t bytes);

/* A window lets the host read or write a range of a buffer without stopping the queues. Where
 * host and device share memory it maps; elsewhere it goes through pinned memory of its own and
 * the transfer queue. One window shows one range at a time.
 *
 *     mt_window_open(w, buf, off, bytes, MT_WINDOW_READ | MT_WINDOW_WRITE);   returns at once
 *     ... enqueue more work that does not touch the range ...
 *     mt_window_ready(w, &ready);              poll, or mt_window_wait(w)
 *     float *p = mt_window_host(w);            valid from ready until close
 *     mt_window_close(w);                      later compute commands see what the host wrote
 *
 * The range is seen as it is after all compute commands enqueued before open. Without
 * MT_WINDOW_READ its content is undefined until written. Without MT_WINDOW_WRITE changes are
 * lost. */
enum { MT_WINDOW_READ = 1, MT_WINDOW_WRITE = 2 };

/* max_bytes: the longest range it will show. Gives *w. */
int mt_window_new(struct mt_dev *dev, uint64_t max_bytes, const char *what,
                  struct mt_window **w);
void mt_window_free(struct mt_window *w);   /* waits and closes if open */
int mt_window_open(struct mt_window *w, struct mt_buf *buf, uint64_t off, uint64_t bytes,
                   unsigned mode);
int mt_window_ready(struct mt_window *w, int *ready);
int mt_window_wait(struct mt_window *w);
/* Sleeps until some window of the device became ready, or a mark was reached, since the last call,
 * or so long. */
void mt_dev_doze(struct mt_dev *dev, double seconds);
/* Marks what is enqueued so far, instead of what was marked before; whether the device has done
 * it. *done is 1 where nothing was ever marked. */
int mt_dev_mark(struct mt_dev *dev);
int mt_dev_marked(struct mt_dev *dev, int *done);
void *mt_window_host(const struct mt_window *w);
int mt_window_close(struct mt_window *w);

#endif
