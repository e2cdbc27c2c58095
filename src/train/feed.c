/* feed.c -- see feed.h. Life of a place: free, opening (the windows wait for the step that read
 * it), asked (the loader writes), taken (windows closed, a step reads it), free again when that
 * step has been enqueued. */
#include "train/feed.h"

#include "base/ctx.h"
#include "base/trace.h"
#include "device/buf.h"
#include "device/dev.h"

#include <string.h>

#define PLACES 4   /* one that a step reads, one opening behind it, two ahead */

enum state { FREE, OPENING, ASKED, TAKEN };

struct place {
    enum state state;
    struct mt_buf *x, *y;
    struct mt_window *wx, *wy;
    int64_t rows;
    struct mt_fetch load;         /* what to read, when the windows are open */
    uint64_t ticket;
};

struct mt_feed {
    struct mt_ctx *ctx;
    const struct mt_set *set;
    struct mt_loader *loader;
    struct mt_spec x, y;
    int64_t x_size, y_size;      /* numbers of one sample */
    struct place place[PLACES];
    int head, asked;             /* oldest asked place; how many are asked */
    int taken;                   /* the place that steps read; -1: none */
    double waited;
};

static int64_t targets(const struct mt_sample *s)
{
    return s->classes > 0 ? 1 : s->y_size;
}

uint64_t mt_feed_bytes(const struct mt_sample *sample, int64_t rows)
{
    return (uint64_t)PLACES * 4 * (uint64_t)rows * (uint64_t)(sample->x_size + targets(sample));
}

int mt_feed_new(struct mt_dev *dev, const struct mt_set *set, const struct mt_sample *sample,
                const struct mt_spec *x, const struct mt_spec *y, struct mt_feed **out)
{
    struct mt_ctx *ctx = mt_dev_ctx(dev);
    struct mt_feed *f = NULL;
    uint64_t x_bytes, y_bytes;
    int st;

    MT_TRY(MT_NEW(ctx, &f));
    f->ctx = ctx;
    f->set = set;
    f->x = *x;
    f->y = *y;
    f->x_size = sample->x_size;
    f->y_size = targets(sample);
    f->taken = -1;
    x_bytes = 4 * (uint64_t)(x->dim[0] * f->x_size);
    y_bytes = 4 * (uint64_t)(x->dim[0] * f->y_size);
    for (int i = 0; i < PLACES; i++) {
        struct place *p = &f->place[i];

        MT_TRY_OR(fail, mt_buf_new(dev, x_bytes, "samples", &p->x));
        MT_TRY_OR(fail, mt_buf_new(dev, y_bytes, "targets", &p->y));
        MT_TRY_OR(fail, mt_window_new(dev, x_bytes, "samples", &p->wx));
        MT_TRY_OR(fail, mt_window_new(dev, y_bytes, "targets", &p->wy));
    }
    if (set != NULL) {
        MT_TRY_OR(fail, mt_loader_new(ctx, PLACES, &f->loader));
    }
    *out = f;
    return MOTLEY_OK;
fail:
    mt_feed_free(f);
    return st;
}

void mt_feed_free(struct mt_feed *f)
{
    if (f == NULL) {
        return;
    }
    mt_loader_free(f->loader);   /* first: its thread writes into the windows */
    for (int i = PLACES - 1; i >= 0; i--) {
        mt_window_free(f->place[i].wy);
        mt_window_free(f->place[i].wx);
        mt_buf_free(f->place[i].y);
        mt_buf_free(f->place[i].x);
    }
    mt_free(f->ctx, f);
}

int mt_feed_room(const struct mt_feed *f)
{
    return f->place[(f->head + f->asked) % PLACES].state == FREE;
}

/* Opens the windows of a place for `rows` samples. */
static int open_place(struct mt_feed *f, struct place *p, int64_t rows)
{
    p->rows = rows;
    if (rows == 0) {
        return MOTLEY_OK;
    }
    MT_TRY(mt_window_open(p->wx, p->x, 0, 4 * (uint64_t)(rows * f->x_size), MT_WINDOW_WRITE));
    return mt_window_open(p->wy, p->y, 0, 4 * (uint64_t)(rows * f->y_size), MT_WINDOW_WRITE);
}

static int wait_open(struct place *p)
{
    if (p->rows == 0) {
        return MOTLEY_OK;
    }
    MT_TRY(mt_window_wait(p->wx));
    return mt_window_wait(p->wy);
}

static int close_place(struct place *p)
{
    if (p->rows == 0) {
        return MOTLEY_OK;
    }
    MT_TRY(mt_window_close(p->wx));
    return mt_window_close(p->wy);
}

/* Gives a place to the loader if its windows are open, or, wait 1, when they are. */
static int hand_over(struct mt_feed *f, struct place *p, int wait)
{
    int x_ready = 1, y_ready = 1;

    if (p->state != OPENING) {
        return MOTLEY_OK;
    }
    if (wait) {
        MT_TRY(wait_open(p));
    } else if (p->rows > 0) {
        MT_TRY(mt_window_ready(p->wx, &x_ready));
        MT_TRY(mt_window_ready(p->wy, &y_ready));
    }
    if (x_ready && y_ready) {
        if (p->rows > 0) {
            p->load.x = mt_window_host(p->wx);
            p->load.y = mt_window_host(p->wy);
            MT_TRY(mt_loader_ask(f->loader, &p->load, &p->ticket));
        }
        p->state = ASKED;
    }
    return MOTLEY_OK;
}

/* In the order in which they were asked for: tickets are waited for in that order. */
static int hand_over_ready(struct mt_feed *f)
{
    for (int i = 0; i < f->asked; i++) {
        struct place *p = &f->place[(f->head + i) % PLACES];

        MT_TRY(hand_over(f, p, 0));
        if (p->state == OPENING) {
            break;
        }
    }
    return MOTLEY_OK;
}

int mt_feed_ask(struct mt_feed *f, const struct mt_feed_ask *ask)
{
    struct place *p = &f->place[(f->head + f->asked) % PLACES];

    MT_BUG_IF(p->state != FREE || ask->rows > f->x.dim[0]);
    MT_TRY(open_place(f, p, ask->rows));
    p->load = (struct mt_fetch){.set = f->set, .seed = ask->seed, .epoch = ask->epoch,
                               .first = ask->first, .count = ask->rows,
                               .shuffle = ask->shuffle};
    p->state = OPENING;
    f->asked++;
    return hand_over_ready(f);
}

static void give_tensors(const struct mt_feed *f, const struct place *p, struct mt_tensor *x,
                         struct mt_tensor *y)
{
    *x = (struct mt_tensor){.spec = f->x, .buf = p->x};
    *y = (struct mt_tensor){.spec = f->y, .buf = p->y};
    x->spec.dim[0] = y->spec.dim[0] = p->rows;
}

void mt_feed_done(struct mt_feed *f)
{
    if (f->taken >= 0) {
        f->place[f->taken].state = FREE;
        f->taken = -1;
    }
}

static void take_place(struct mt_feed *f, int i)
{
    mt_feed_done(f);
    f->place[i].state = TAKEN;
    f->taken = i;
    f->head = (i + 1) % PLACES;
}

int mt_feed_take(struct mt_feed *f, struct mt_tensor *x, struct mt_tensor *y)
{
    struct place *p = &f->place[f->head];

    MT_BUG_IF(f->asked == 0);
    MT_TRY(hand_over(f, p, 1));
    MT_TRY(hand_over_ready(f));
    if (p->rows > 0) {
        int64_t from = mt_trace_now(), to;

        MT_TRY(mt_loader_wait(f->loader, p->ticket));
        to = mt_trace_now();
        f->waited += 1e-9 * (double)(to - from);
        mt_trace_add(f->ctx, MT_LANE_HOST, "wait for input", NULL, from, to);
    }
    MT_TRY(close_place(p));
    give_tensors(f, p, x, y);
    take_place(f, f->head);
    f->asked--;
    return MOTLEY_OK;
}

int mt_feed_put(struct mt_feed *f, const float *x, const void *y, int64_t rows,
                struct mt_tensor *tx, struct mt_tensor *ty)
{
    struct place *p = &f->place[f->head];

    MT_BUG_IF(f->asked != 0 || p->state != FREE || rows > f->x.dim[0]);
    MT_TRY(open_place(f, p, rows));
    MT_TRY(wait_open(p));
    if (rows > 0) {
        memcpy(mt_window_host(p->wx), x, 4 * (size_t)(rows * f->x_size));
        if (y != NULL) {
            memcpy(mt_window_host(p->wy), y, 4 * (size_t)(rows * f->y_size));
        } else {
            memset(mt_window_host(p->wy), 0, 4 * (size_t)(rows * f->y_size));
        }
    }
    MT_TRY(close_place(p));
    give_tensors(f, p, tx, ty);
    take_place(f, f->head);
    return MOTLEY_OK;
}

int mt_feed_reset(struct mt_feed *f)
{
    int first = MOTLEY_OK;

    while (f->asked > 0) {
        struct place *p = &f->place[f->head];
        int st = wait_open(p);

        if (p->state == ASKED && p->rows > 0) {
            st = mt_loader_wait(f->loader, p->ticket);
        }
        first = first < 0 ? first : st;
        st = close_place(p);
        first = first < 0 ? first : st;
        p->state = FREE;
        f->head = (f->head + 1) % PLACES;
        f->asked--;
    }
    return first;
}

double mt_feed_waited(struct mt_feed *f)
{
    double w = f->waited;

    f->waited = 0;
    return w;
}
