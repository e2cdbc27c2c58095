/* loader.c -- reading ahead: one thread fills the caller's blocks in the order of the requests.
 *
 * Requests lie in a ring of `depth`; a ticket is the number of its request, so its place in the
 * ring is ticket % depth and tickets count up for ever. One thread is enough: a sample costs far
 * less than its training step; several would have to share the host with the device's own
 * threads where the device is a CPU. The error record is per thread, so the text of a failure
 * travels in the slot and is raised again where the request is waited for. */
#define _POSIX_C_SOURCE 200809L
#include "data/data.h"

#include "base/ctx.h"
#include "base/trace.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define CHUNK 16   /* samples between two looks at `stop` */

struct slot {
    struct mt_fetch load;
    int code;
    char text[1024];
};

struct mt_loader {
    struct mt_ctx *ctx;
    int depth;
    struct slot *slot;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t asked, filled;
    int have_lock, have_asked, have_filled, running;

    /* Under lock: requests [waited, filled_n) are ready, [filled_n, asked_n) are to do. */
    uint64_t asked_n, filled_n, waited_n;
    int stop;
};

static int stopped(struct mt_loader *l)
{
    int stop;

    pthread_mutex_lock(&l->lock);
    stop = l->stop;
    pthread_mutex_unlock(&l->lock);
    return stop;
}

static int fill(struct mt_loader *l, const struct mt_fetch *r)
{
    const struct mt_set *s = r->set;
    size_t y_bytes = s->sample.classes > 0 ? sizeof(int32_t)
                                           : (size_t)s->sample.y_size * sizeof(float);

    for (int64_t k = 0; k < r->count; k++) {
        int64_t i = mt_data_order(r->seed, r->epoch, r->first + k, s->n, r->shuffle);

        if (k % CHUNK == 0 && stopped(l)) {
            return MOTLEY_OK;   /* nobody will wait for it */
        }
        MT_TRY(s->fetch(s, i, r->x != NULL ? r->x + k * s->sample.x_size : NULL,
                        r->y != NULL ? (char *)r->y + (size_t)k * y_bytes : NULL));
    }
    return MOTLEY_OK;
}

static int fill_traced(struct mt_loader *l, const struct mt_fetch *r)
{
    int64_t from = mt_trace_now();
    char samples[48];
    int code = fill(l, r);

    snprintf(samples, sizeof samples, "%lld samples", (long long)r->count);
    mt_trace_add(l->ctx, MT_LANE_INPUT, "load", samples, from, mt_trace_now());
    return code;
}

static void *work(void *arg)
{
    struct mt_loader *l = arg;

    pthread_mutex_lock(&l->lock);
    for (;;) {
        struct slot *s;

        while (!l->stop && l->filled_n == l->asked_n) {
            pthread_cond_wait(&l->asked, &l->lock);
        }
        if (l->stop) {
            break;
        }
        s = &l->slot[l->filled_n % (uint64_t)l->depth];
        pthread_mutex_unlock(&l->lock);
        s->code = l->ctx->trace != NULL ? fill_traced(l, &s->load) : fill(l, &s->load);
        if (s->code < 0) {
            snprintf(s->text, sizeof s->text, "%s", mt_err_text());
        }
        pthread_mutex_lock(&l->lock);
        l->filled_n++;
        pthread_cond_broadcast(&l->filled);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* Signals stay with the thread that made the loader: a handler must interrupt the training loop,
 * not this one. */
static int start(struct mt_loader *l)
{
    sigset_t all, old;
    int why;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    why = pthread_create(&l->thread, NULL, work, l);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    MT_CHECK(why == 0, MOTLEY_EMEM, "cannot start the thread that reads data ahead: %s",
             strerror(why));
    l->running = 1;
    return MOTLEY_OK;
}

int mt_loader_new(struct mt_ctx *ctx, int depth, struct mt_loader **out)
{
    struct mt_loader *l = NULL;
    int st = MOTLEY_OK;

    MT_CHECK(depth >= 1, MOTLEY_EARG, "reading ahead: depth is %d, must be 1 or more", depth);
    MT_TRY(MT_NEW(ctx, &l));
    l->ctx = ctx;
    l->depth = depth;
    MT_TRY_OR(fail, MT_NEW_N(ctx, depth, &l->slot));
    l->have_lock = pthread_mutex_init(&l->lock, NULL) == 0;
    l->have_asked = pthread_cond_init(&l->asked, NULL) == 0;
    l->have_filled = pthread_cond_init(&l->filled, NULL) == 0;
    MT_CHECK_OR(fail, l->have_lock && l->have_asked && l->have_filled, MOTLEY_EMEM,
                "cannot make the locks for reading ahead");
    MT_TRY_OR(fail, start(l));
    *out = l;
    return MOTLEY_OK;
fail:
    mt_loader_free(l);
    return st;
}

void mt_loader_free(struct mt_loader *l)
{
    if (l == NULL) {
        return;
    }
    if (l->running) {
        pthread_mutex_lock(&l->lock);
        l->stop = 1;
        pthread_cond_broadcast(&l->asked);
        pthread_mutex_unlock(&l->lock);
        pthread_join(l->thread, NULL);
    }
    if (l->have_filled) {
        pthread_cond_destroy(&l->filled);
    }
    if (l->have_asked) {
        pthread_cond_destroy(&l->asked);
    }
    if (l->have_lock) {
        pthread_mutex_destroy(&l->lock);
    }
    mt_free(l->ctx, l->slot);
    mt_free(l->ctx, l);
}

int mt_loader_ask(struct mt_loader *l, const struct mt_fetch *load, uint64_t *ticket)
{
    int full;

    MT_CHECK(load->first >= 0 && load->count >= 0 && load->first <= load->set->n &&
                 load->count <= load->set->n - load->first,
             MOTLEY_EARG, "reading ahead: positions %lld to %lld of a set of %lld samples",
             (long long)load->first, (long long)(load->first + load->count - 1),
             (long long)load->set->n);
    pthread_mutex_lock(&l->lock);
    full = l->asked_n - l->waited_n == (uint64_t)l->depth;
    if (!full) {
        struct slot *s = &l->slot[l->asked_n % (uint64_t)l->depth];

        s->load = *load;
        s->code = MOTLEY_OK;
        *ticket = l->asked_n++;
        pthread_cond_signal(&l->asked);
    }
    pthread_mutex_unlock(&l->lock);
    MT_CHECK(!full, MOTLEY_EARG, "reading ahead: %d requests are open, no more fit", l->depth);
    return MOTLEY_OK;
}

int mt_loader_wait(struct mt_loader *l, uint64_t ticket)
{
    struct slot *s = &l->slot[ticket % (uint64_t)l->depth];
    char text[sizeof s->text];
    int code = MOTLEY_OK, known;

    text[0] = '\0';
    pthread_mutex_lock(&l->lock);
    known = ticket == l->waited_n && ticket < l->asked_n;
    if (known) {
        while (l->filled_n <= ticket) {
            pthread_cond_wait(&l->filled, &l->lock);
        }
        l->waited_n++;
        code = s->code;
        memcpy(text, s->text, sizeof text);
    }
    pthread_mutex_unlock(&l->lock);
    MT_CHECK(known, MOTLEY_EARG, "reading ahead: ticket %llu is not the next to wait for",
             (unsigned long long)ticket);
    MT_CHECK(code >= 0, code, "%s", text);
    return MOTLEY_OK;
}
