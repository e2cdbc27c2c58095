/* gemm_tune.c -- the file of measured choices: gemm_tune.h.
 *
 *     motley gemm tuning 2
 *     device ... / driver ... / version ... / platform ... / units N
 *     form PROVIDER FORM
 *     product IN OUT TA TB BATCH M N K PROVIDER FORM|- SECONDS
 *     digest 32 hexadecimal digits of all that is before
 *
 * IN and OUT are numbers of enum mt_dtype; M, N, K stand for their class, in steps of half a power
 * of two. The providers' versions are not
 * in it: a form that a new version cannot build, or that fails its check, is passed over when it is
 * taken. */
#include "device/gemm_tune.h"

#include "base/ctx.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/num.h"
#include "base/text.h"
#include "device/dev_impl.h"
#include "device/gemm_impl.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4096, MOST_FORMS = 8 };   /* more in a file is damage */

struct class {
    int in, out;                     /* enum mt_dtype */
    int trans_a, trans_b, batch, m, n, k;
};

struct entry {
    struct class of;
    struct mt_gemm_choice choice;
};

struct mt_gemm_tuning {
    int n, room, nform, hidden;
    struct entry *entry;
    struct mt_gemm_choice form[MOST_FORMS];
};

static int half_steps(int64_t x)
{
    return (int)floor(2.0 * log2((double)x) + 0.5);
}

static struct class class_of(const struct mt_gemm *g)
{
    return (struct class){.in = (int)g->in, .out = (int)g->out,
                          .trans_a = g->trans_a != 0, .trans_b = g->trans_b != 0,
                          .batch = g->batch > 1, .m = half_steps(g->m), .n = half_steps(g->n),
                          .k = half_steps(g->k)};
}

static int same(const struct class *a, const struct class *b)
{
    return a->in == b->in && a->out == b->out && a->trans_a == b->trans_a &&
           a->trans_b == b->trans_b && a->batch == b->batch && a->m == b->m && a->n == b->n &&
           a->k == b->k;
}

static int head(const struct mt_dev *dev, char *buf, size_t room)
{
    return snprintf(buf, room,
                    "motley gemm tuning 2\ndevice %s\ndriver %s\nversion %s\nplatform %s\n"
                    "units %u\n",
                    dev->info.name, dev->info.driver, dev->info.version, dev->info.platform_name,
                    (unsigned)dev->info.units);
}

static int file_path(struct mt_dev *dev, char *path, size_t room)
{
    char text[1024], key[MT_HASH_TEXT];

    head(dev, text, sizeof text);
    mt_hash_block(text, strlen(text), key);
    return mt_gemm_cache_path(dev, "tune", key, path, room);
}

/* ---- in memory --------------------------------------------------------------------------- */

static int add_entry(struct mt_dev *dev, const struct class *of,
                     const struct mt_gemm_choice *choice)
{
    struct mt_gemm_tuning *t = dev->gemm_tuning;

    for (int i = 0; i < t->n; i++) {
        if (same(&t->entry[i].of, of)) {
            t->entry[i].choice = *choice;
            return MOTLEY_OK;
        }
    }
    if (t->n == t->room) {
        int room = t->room > 0 ? 2 * t->room : 16;
        struct entry *more = NULL;

        MT_TRY(MT_NEW_N(dev->ctx, room, &more));
        if (t->n > 0) {
            memcpy(more, t->entry, (size_t)t->n * sizeof *more);
        }
        mt_free(dev->ctx, t->entry);
        t->entry = more;
        t->room = room;
    }
    t->entry[t->n++] = (struct entry){.of = *of, .choice = *choice};
    return MOTLEY_OK;
}

static int add_form(struct mt_gemm_tuning *t, const char *provider, const char *form)
{
    int i = 0;

    while (i < t->nform && strcmp(t->form[i].provider, provider) != 0) {
        i++;
    }
    MT_CHECK(i < MOST_FORMS, MOTLEY_EARG, "gemm tuning: forms of more than %d providers",
             MOST_FORMS);
    snprintf(t->form[i].provider, sizeof t->form[i].provider, "%s", provider);
    snprintf(t->form[i].form, sizeof t->form[i].form, "%s", form);
    t->nform += i == t->nform;
    return MOTLEY_OK;
}

/* ---- reading ----------------------------------------------------------------------------- */

static int read_line(struct mt_dev *dev, const char *line)
{
    struct mt_gemm_choice c = {.seconds = 0};
    struct class of;
    char seconds[MT_NUM_ROOM];

    if (sscanf(line, "form %15s %255s", c.provider, c.form) == 2) {
        return add_form(dev->gemm_tuning, c.provider, c.form);
    }
    MT_CHECK(sscanf(line, "product %d %d %d %d %d %d %d %d %15s %255s %31s", &of.in, &of.out,
                    &of.trans_a, &of.trans_b, &of.batch, &of.m, &of.n, &of.k, c.provider, c.form,
                    seconds) == 11 &&
                 mt_num_real(seconds, &c.seconds) && dev->gemm_tuning->n < MOST,
             MOTLEY_EFILE, "gemm tuning: cannot read \"%.80s\"", line);
    if (strcmp(c.form, "-") == 0) {
        c.form[0] = '\0';
    }
    return add_entry(dev, &of, &c);
}

/* text: of the file, ends in a zero byte; is cut into lines. */
static int parse(struct mt_dev *dev, char *text)
{
    char want[1024], digest[MT_HASH_TEXT], *end = strstr(text, "\ndigest "), *line;
    size_t n = (size_t)head(dev, want, sizeof want);

    MT_CHECK(strncmp(text, want, n) == 0, MOTLEY_EFILE,
             "begins in another way than this version of motley writes for this device");
    MT_CHECK(end != NULL, MOTLEY_EFILE, "its end is missing");
    mt_hash_block(text, (size_t)(end + 1 - text), digest);
    MT_CHECK(strncmp(end + 8, digest, MT_HASH_TEXT - 1) == 0, MOTLEY_EFILE,
             "its contents do not have the digest at its end");
    *end = '\0';
    line = end > text + n ? text + n : NULL;
    while (line != NULL) {
        char *next = strchr(line, '\n');

        if (next != NULL) {
            *next++ = '\0';
        }
        MT_TRY(read_line(dev, line));
        line = next;
    }
    return MOTLEY_OK;
}

static int empty(struct mt_dev *dev)
{
    mt_gemm_tuning_free(dev);
    MT_TRY(MT_NEW(dev->ctx, &dev->gemm_tuning));
    return MOTLEY_OK;
}

/* Once per device. */
static int load(struct mt_dev *dev)
{
    char path[3200], *text = NULL;
    size_t bytes;
    int st = MOTLEY_OK;

    if (dev->gemm_tuning != NULL) {
        return MOTLEY_OK;
    }
    MT_TRY(MT_NEW(dev->ctx, &dev->gemm_tuning));
    if (!file_path(dev, path, sizeof path) || !mt_file_exists(path)) {
        return MOTLEY_OK;
    }
    if (mt_file_read(dev->ctx, path, &text, &bytes) < 0 || parse(dev, text) < 0) {
        mt_log(dev->ctx, MT_LOG_WARN, "dev",
               "%s is ignored: %s; `motley tune` writes it anew", path, mt_err_text());
        st = empty(dev);
    }
    mt_free(dev->ctx, text);
    return st;
}

int mt_gemm_tuned(struct mt_dev *dev, const struct mt_gemm *g,
                  const struct mt_gemm_choice **choice)
{
    struct class of = class_of(g);
    const struct mt_gemm_tuning *t;

    MT_TRY(load(dev));
    t = dev->gemm_tuning;
    *choice = NULL;
    for (int i = 0; i < t->n && !t->hidden; i++) {
        if (same(&t->entry[i].of, &of)) {
            *choice = &t->entry[i].choice;
        }
    }
    return MOTLEY_OK;
}

int mt_gemm_tuned_form(struct mt_dev *dev, const char *provider, const char **form)
{
    const struct mt_gemm_tuning *t;

    MT_TRY(load(dev));
    t = dev->gemm_tuning;
    *form = "";
    for (int i = 0; i < t->nform && !t->hidden; i++) {
        if (strcmp(t->form[i].provider, provider) == 0) {
            *form = t->form[i].form;
        }
    }
    return MOTLEY_OK;
}

/* ---- writing ----------------------------------------------------------------------------- */

int mt_gemm_tune_set(struct mt_dev *dev, const struct mt_gemm *g,
                     const struct mt_gemm_choice *choice)
{
    struct class of = class_of(g);

    MT_TRY(load(dev));
    MT_TRY(add_entry(dev, &of, choice));
    return MOTLEY_OK;
}

int mt_gemm_tune_form(struct mt_dev *dev, const char *provider, const char *form)
{
    MT_TRY(load(dev));
    MT_TRY(add_form(dev->gemm_tuning, provider, form));
    return MOTLEY_OK;
}

int mt_gemm_tune_hide(struct mt_dev *dev, int forget)
{
    MT_TRY(forget ? empty(dev) : load(dev));
    dev->gemm_tuning->hidden = 1;
    return MOTLEY_OK;
}

int mt_gemm_tune_save(struct mt_dev *dev, char *path, size_t room)
{
    const struct mt_gemm_tuning *t;
    char text[1024], digest[MT_HASH_TEXT], *all = NULL, folder[3200];
    struct mt_text out;
    int st;

    MT_TRY(load(dev));
    t = dev->gemm_tuning;
    *path = '\0';
    if (!file_path(dev, path, room)) {
        return MOTLEY_OK;
    }
    mt_text_init(&out, dev->ctx);
    head(dev, text, sizeof text);
    mt_text_add(&out, "%s", text);
    for (int i = 0; i < t->nform; i++) {
        if (t->form[i].form[0] != '\0') {
            mt_text_add(&out, "form %s %s\n", t->form[i].provider, t->form[i].form);
        }
    }
    for (int i = 0; i < t->n; i++) {
        const struct entry *e = &t->entry[i];
        char seconds[MT_NUM_ROOM];

        mt_num_print(e->choice.seconds, seconds, sizeof seconds);
        mt_text_add(&out, "product %d %d %d %d %d %d %d %d %s %s %s\n", e->of.in, e->of.out,
                    e->of.trans_a, e->of.trans_b, e->of.batch, e->of.m, e->of.n, e->of.k,
                    e->choice.provider, e->choice.form[0] != '\0' ? e->choice.form : "-", seconds);
    }
    MT_TRY(mt_text_take(&out, &all));
    mt_hash_block(all, strlen(all), digest);
    mt_text_init(&out, dev->ctx);
    mt_text_add(&out, "%sdigest %s\n", all, digest);
    mt_free(dev->ctx, all);
    MT_TRY(mt_text_take(&out, &all));
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    MT_TRY_OR(done, mt_dir_make(dev->ctx, folder));
    MT_TRY_OR(done, mt_file_write(dev->ctx, path, all, strlen(all)));
done:
    mt_free(dev->ctx, all);
    return st;
}

void mt_gemm_tuning_free(struct mt_dev *dev)
{
    if (dev->gemm_tuning != NULL) {
        mt_free(dev->ctx, dev->gemm_tuning->entry);
        mt_free(dev->ctx, dev->gemm_tuning);
        dev->gemm_tuning = NULL;
    }
}

int mt_gemm_form_number(const char *form, const char *key, int64_t *value)
{
    size_t n = strlen(key);

    for (const char *at = form; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, key, n) == 0 && at[n] == '=') {
            *value = strtoll(at + n + 1, NULL, 10);
            return 1;
        }
    }
    return 0;
}
