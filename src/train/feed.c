/* feed.c -- see feed.h. Life of a place: free, opening (the windows wait for the step that read
 * it), asked (the loader writes), taken (windows closed, a step reads it), free again when that
 * step has been enqueued. */
#include "train/feed.h"

#include "base/ctx.h"
#include "base/trace.h"
#include "device/buf.h"
#include "device/dev.h"

#include <string.h>

#define AHEAD  2              /* places that the loader has been given and no step has taken */
#define PLACES (AHEAD + 3)    /* with one that a step reads, one opening behind it, one open */

enum state { FREE, OPENING, ASKED, TAKEN };

/* The two parts of a sample. */
enum { X, Y, PARTS };

struct place {
    enum state state;
    struct mt_buf *buf[PARTS];            /* NULL: not wanted */
    struct mt_window *window[PARTS];
    int64_t rows;
    struct mt_fetch load;         /* what to read, when the windows are open */
    uint64_t ticket;
};

struct mt_feed {
    struct mt_ctx *ctx;
    const struct mt_set *set;
    struct mt_loader *loader;
    struct mt_spec spec[PARTS];
    int64_t size[PARTS];         /* numbers of one sample; 0: not wanted */
    struct place place[PLACES];
    int head, asked;             /* oldest asked place; how many are asked */
    int taken;                   /* the place that steps read; -1: none */
    double waited;
};

static void sizes(const struct mt_sample *s, unsigned want, int64_t *size)
{
    size[X] = want & MT_FEED_X ? s->x_size : 0;
    size[Y] = want & MT_FEED_Y ? (s->classes > 0 ? 1 : s->y_size) : 0;
}

uint64_t mt_feed_bytes(const struct mt_sample *sample, int64_t rows, unsigned want)
{
    int64_t size[PARTS];

    sizes(sample, want, size);
    return (uint64_t)PLACES * 4 * (uint64_t)rows * (uint64_t)(size[X] + size[Y]);
}

int mt_feed_new(struct mt_dev *dev, const struct mt_set *set, const struct mt_sample *sample,
                const struct mt_spec *x, const struct mt_spec *y, unsigned want,
                struct mt_feed **out)
{
    static const char *const name[PARTS] = {"samples", "targets"};
    struct mt_ctx *ctx = mt_dev_ctx(dev);
    struct mt_feed *f = NULL;
    int st;

    MT_TRY(MT_NEW(ctx, &f));
    f->ctx = ctx;
    f->set = set;
    f->spec[X] = *x;
    f->spec[Y] = *y;
    sizes(sample, want, f->size);
    f->taken = -1;
    for (int i = 0; i < PLACES * PARTS; i++) {
        struct place *p = &f->place[i / PARTS];
        int k = i % PARTS;
        uint64_t bytes = 4 * (uint64_t)(x->dim[0] * f->size[k]);

        if (f->size[k] > 0) {
            MT_TRY_OR(fail, mt_buf_new(dev, bytes, name[k], &p->buf[k]));
            MT_TRY_OR(fail, mt_window_new(dev, bytes, name[k], &p->window[k]));
        }
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
    for (int i = PLACES * PARTS - 1; i >= 0; i--) {
        mt_window_free(f->place[i / PARTS].window[i % PARTS]);
        mt_buf_free(f->place[i / PARTS].buf[i % PARTS]);
    }
    mt_free(f->ctx, f);
}

int mt_feed_room(const struct mt_feed *f)
{
    return f->place[(f->head + f->asked) % PLACES].state == FREE;
}

/* Whether a place has something to read for part k. */
static int has(const struct mt_feed *f, const struct place *p, int k)
{
    return p->rows > 0 && f->size[k] > 0;
}

static int has_any(const struct mt_feed *f, const struct place *p)
{
    return has(f, p, X) || has(f, p, Y);
}

/* Opens the windows of a place for `rows` samples. */
static int open_place(struct mt_feed *f, struct place *p, int64_t rows)
{
    p->rows = rows;
    for (int k = 0; k < PARTS; k++) {
        if (has(f, p, k)) {
            MT_TRY(mt_window_open(p->window[k], p->buf[k], 0, 4 * (uint64_t)(rows * f->size[k]),
                                  MT_WINDOW_WRITE));
        }
    }
    return MOTLEY_OK;
}

static int wait_open(const struct mt_feed *f, struct place *p)
{
    for (int k = 0; k < PARTS; k++) {
        if (has(f, p, k)) {
            MT_TRY(mt_window_wait(p->window[k]));
        }
    }
    return MOTLEY_OK;
}

static int close_place(const struct mt_feed *f, struct place *p)
{
    for (int k = 0; k < PARTS; k++) {
        if (has(f, p, k)) {
            MT_TRY(mt_window_close(p->window[k]));
        }
    }
    return MOTLEY_OK;
}

static void *host_of(const struct mt_feed *f, struct place *p, int k)
{
    return has(f, p, k) ? mt_window_host(p->window[k]) : NULL;
}

/* Gives a place to the loader if its windows are open, or, wait 1, when they are. */
static int hand_over(struct mt_feed *f, struct place *p, int wait)
{
    int ready = 1;

    if (p->state != OPENING) {
        return MOTLEY_OK;
    }
    if (wait) {
        MT_TRY(wait_open(f, p));
    }
    for (int k = 0; k < PARTS && ready && !wait; k++) {
        if (has(f, p, k)) {
            MT_TRY(mt_window_ready(p->window[k], &ready));
        }
    }
    if (ready) {
        if (has_any(f, p)) {
            p->load.x = host_of(f, p, X);
            p->load.y = host_of(f, p, Y);
            MT_TRY(mt_loader_ask(f->loader, &p->load, &p->ticket));
        }
        p->state = ASKED;
    }
    return MOTLEY_OK;
}

/* In the order in which they were asked for: tickets are waited for in that order. No more than
 * AHEAD, so that each step, by taking one, has one loaded: where loader and device share a core, a
 * rank that loads two batches in one step and none in the next is waited for by the others in the
 * first, and waits for them in the second. */
static int hand_over_ready(struct mt_feed *f)
{
    for (int i = 0; i < f->asked && i < AHEAD; i++) {
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

    MT_BUG_IF(p->state != FREE || ask->rows > f->spec[X].dim[0]);
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
    *x = (struct mt_tensor){.spec = f->spec[X], .buf = p->buf[X]};
    *y = (struct mt_tensor){.spec = f->spec[Y], .buf = p->buf[Y]};
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
    if (has_any(f, p)) {
        int64_t from = mt_trace_now(), to;

        MT_TRY(mt_loader_wait(f->loader, p->ticket));
        to = mt_trace_now();
        f->waited += 1e-9 * (double)(to - from);
        mt_trace_add(f->ctx, MT_LANE_HOST, "wait for input", NULL, from, to);
    }
    MT_TRY(close_place(f, p));
    give_tensors(f, p, x, y);
    take_place(f, f->head);
    f->asked--;
    return hand_over_ready(f);
}

int mt_feed_put(struct mt_feed *f, const float *x, const void *y, int64_t rows,
                struct mt_tensor *tx, struct mt_tensor *ty)
{
    struct place *p = &f->place[f->head];

    MT_BUG_IF(f->asked != 0 || p->state != FREE || rows > f->spec[X].dim[0]);
    MT_TRY(open_place(f, p, rows));
    MT_TRY(wait_open(f, p));
    if (has(f, p, X)) {
        memcpy(mt_window_host(p->window[X]), x, 4 * (size_t)(rows * f->size[X]));
    }
    if (has(f, p, Y) && y != NULL) {
        memcpy(mt_window_host(p->window[Y]), y, 4 * (size_t)(rows * f->size[Y]));
    } else if (has(f, p, Y)) {
        memset(mt_window_host(p->window[Y]), 0, 4 * (size_t)(rows * f->size[Y]));
    }
    MT_TRY(close_place(f, p));
    give_tensors(f, p, tx, ty);
    take_place(f, f->head);
    return MOTLEY_OK;
}

int mt_feed_reset(struct mt_feed *f)
{
    int first = MOTLEY_OK;

    while (f->asked > 0) {
        struct place *p = &f->place[f->head];
        int st = wait_open(f, p);

        if (p->state == ASKED && has_any(f, p)) {
            st = mt_loader_wait(f->loader, p->ticket);
        }
        first = first < 0 ? first : st;
        st = close_place(f, p);
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
