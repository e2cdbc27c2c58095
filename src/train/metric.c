/* metric.c -- see metric.h. A line is one write, so a reader never sees half of one for long. */
#define _POSIX_C_SOURCE 200809L
#include "train/metric.h"

#include "base/ctx.h"
#include "base/file.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct mt_metric {
    struct mt_ctx *ctx;
    char *path;
    int fd;
};

/* The step that a line speaks of; -1 if it is no whole line of ours. */
static int64_t step_of(struct mt_ctx *ctx, const char *line, size_t bytes)
{
    struct mt_tree *t = NULL;
    int64_t step = -1;

    if (mt_json_parse(ctx, line, bytes, "metrics", &t) < 0 || mt_tree_int(t, "step", &step) < 0) {
        step = -1;
    }
    mt_tree_free(ctx, t);
    return step;
}

static int keep_until(struct mt_ctx *ctx, const char *path, int64_t step)
{
    char *text = NULL, *from, *to;
    size_t bytes = 0;
    int st = MOTLEY_OK;

    if (!mt_file_exists(path)) {
        return MOTLEY_OK;
    }
    MT_TRY(mt_file_read(ctx, path, &text, &bytes));
    for (from = to = text; *from != '\0';) {
        size_t n = strcspn(from, "\n");
        int64_t at = from[n] == '\n' ? step_of(ctx, from, n) : -1;

        if (at >= 0 && at <= step) {
            memmove(to, from, n + 1);
            to += n + 1;
        }
        from += n + (from[n] == '\n');
    }
    MT_TRY_OR(done, mt_file_write(ctx, path, text, (size_t)(to - text)));
done:
    mt_free(ctx, text);
    return st;
}

int mt_metric_open(struct mt_ctx *ctx, const char *path, int64_t step, struct mt_metric **out)
{
    struct mt_metric *m = NULL;
    int st = MOTLEY_OK;

    MT_TRY(keep_until(ctx, path, step));
    MT_TRY(MT_NEW(ctx, &m));
    m->ctx = ctx;
    m->fd = -1;
    MT_TRY_OR(fail, mt_mem_strdup(ctx, path, &m->path));
    m->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    MT_CHECK_OR(fail, m->fd >= 0, MOTLEY_EFILE, "%s: cannot be written: %s", path,
                strerror(errno));
    *out = m;
    return MOTLEY_OK;
fail:
    mt_metric_close(m);
    return st;
}

void mt_metric_close(struct mt_metric *m)
{
    if (m == NULL) {
        return;
    }
    if (m->fd >= 0) {
        close(m->fd);
    }
    mt_free(m->ctx, m->path);
    mt_free(m->ctx, m);
}

static const char *event_name(int event)
{
    static const char *const name[] = {"start", "train", "eval", "checkpoint", "end"};

    return event >= 0 && event <= MOTLEY_AT_END ? name[event] : "other";
}

/* Takes the object as one line. */
static int write_line(struct mt_metric *m, struct mt_json *j)
{
    char *text = NULL;
    ssize_t done;
    size_t len;

    MT_TRY(mt_json_take(j, &text));
    len = strlen(text);
    text[len] = '\n';   /* in place of its end */
    do {
        done = write(m->fd, text, len + 1);
    } while (done < 0 && errno == EINTR);
    mt_free(m->ctx, text);
    MT_CHECK(done == (ssize_t)len + 1, MOTLEY_EFILE, "%s: cannot be written: %s", m->path,
             done < 0 ? strerror(errno) : "no room");
    return MOTLEY_OK;
}

int mt_metric_write(struct mt_metric *m, const motley_progress *p)
{
    struct mt_json j;

    mt_json_init(&j, m->ctx, 0);
    mt_json_map(&j, NULL);
    mt_json_text(&j, "event", event_name(p->event));
    mt_json_int(&j, "step", p->step);
    mt_json_int(&j, "epoch", p->epoch);
    if (p->event == MOTLEY_AT_STEP || p->event == MOTLEY_AT_EVAL) {
        mt_json_num(&j, "loss", p->loss);
        if (p->accuracy >= 0) {
            mt_json_num(&j, "accuracy", p->accuracy);
        }
    }
    if (p->event == MOTLEY_AT_STEP) {
        mt_json_num(&j, "lr", p->lr);
        if (p->grad_norm > 0) {
            mt_json_num(&j, "grad_norm", p->grad_norm);
        }
        if (p->loss_scale > 0) {
            mt_json_num(&j, "loss_scale", p->loss_scale);
            mt_json_int(&j, "skipped", p->skipped);
        }
        mt_json_num(&j, "samples_per_second", p->samples_per_second);
    }
    mt_json_num(&j, "seconds", p->seconds);
    if (p->path != NULL) {
        mt_json_text(&j, "path", p->path);
    }
    if (p->reason != NULL) {
        mt_json_text(&j, "reason", p->reason);
    }
    mt_json_end(&j);
    return write_line(m, &j);
}

int mt_metric_shares(struct mt_metric *m, const motley_progress *p, const int64_t *rows, int n)
{
    struct mt_json j;

    mt_json_init(&j, m->ctx, 0);
    mt_json_map(&j, NULL);
    mt_json_text(&j, "event", "shares");
    mt_json_int(&j, "step", p->step);
    mt_json_int(&j, "epoch", p->epoch);
    mt_json_num(&j, "seconds", p->seconds);
    mt_json_list(&j, "rows");
    for (int i = 0; i < n; i++) {
        mt_json_int(&j, NULL, rows[i]);
    }
    mt_json_end(&j);
    mt_json_end(&j);
    return write_line(m, &j);
}
