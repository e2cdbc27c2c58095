/* folder.c -- the run folder: who may write into it, and where a resumed run begins.
 *
 *     <folder>/config.yaml       the resolved configuration
 *              metrics.jsonl     metric.h
 *              checkpoints/      ckpt.h */
#define _POSIX_C_SOURCE 200809L
#include "train/train.h"

#include "base/file.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Takes away an old run: its checkpoints, its metrics. Other files stay. */
static int remove_run(struct mt_session *s, const char *checkpoints, const char *metrics)
{
    MT_TRY(mt_ckpt_clean(s->ctx, checkpoints));
    MT_TRY(mt_ckpt_drop_after(s->ctx, checkpoints, -1));
    unlink(metrics);
    return MOTLEY_OK;
}

static int write_config(struct mt_session *s, const char *path)
{
    char *text = NULL;
    int st;

    MT_TRY(mt_config_print(s->config, &text));
    st = mt_file_write(s->ctx, path, text, strlen(text));
    mt_free(s->ctx, text);
    return st;
}

int mt_folder_open(struct mt_session *s, const struct mt_train_opt *opt, struct mt_ckpt **c)
{
    char config[PATH_MAX], metrics[PATH_MAX], checkpoints[PATH_MAX];
    int is_run;

    MT_CHECK(snprintf(checkpoints, sizeof checkpoints, "%s/checkpoints", opt->folder) <
                 PATH_MAX - 64, MOTLEY_EFILE, "%s: path is too long", opt->folder);
    snprintf(config, sizeof config, "%s/config.yaml", opt->folder);
    snprintf(metrics, sizeof metrics, "%s/metrics.jsonl", opt->folder);
    is_run = mt_file_exists(metrics) || mt_dir_exists(checkpoints);
    MT_CHECK(!is_run || opt->resume || opt->force, MOTLEY_EARG,
             "%s holds a run already: continue it with --resume, replace it with --force, or "
             "choose another folder with --folder", opt->folder);
    MT_TRY(mt_dir_make(s->ctx, checkpoints));
    if (is_run && opt->force && !opt->resume) {
        MT_TRY(remove_run(s, checkpoints, metrics));
    }
    MT_TRY(mt_ckpt_clean(s->ctx, checkpoints));
    if (opt->resume) {
        MT_TRY(mt_ckpt_newest(s->ctx, checkpoints, c));
        /* What is newer than the one to continue from is damaged. */
        MT_TRY(mt_ckpt_drop_after(s->ctx, checkpoints, *c != NULL ? (*c)->pos.step : -1));
    }
    return write_config(s, config);
}
