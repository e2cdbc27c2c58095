/* config.c -- a configuration is read with its defaults and settings, printed so that it reads as
 * the same, and each wrong one is refused with its place and these words; nothing leaks when
 * memory ends at any request; the examples are good, and docs/config.md has a row for every key,
 * and no other. */
#include "base/ctx.h"
#include "base/file.h"
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

static struct mt_ctx *new_ctx(void)
{
    struct mt_ctx *ctx = NULL;

    assert_int_equal(mt_ctx_new(NULL, NULL, &ctx), MOTLEY_OK);
    return ctx;
}

static struct mt_config *load(struct mt_ctx *ctx, const char *text, const char *const *over,
                              int n)
{
    struct mt_config *c = NULL;

    if (mt_config_parse(ctx, text, "dir/net.yaml", over, n, &c) < 0) {
        fail_msg("%s", mt_err_text());
    }
    return c;
}

static const char sample[] =
    "name: digits\nseed: 0x2a\n"
    "data: {format: idx, path: \"my data\"}\n"
    "model:\n"
    "  - flatten\n"
    "  - linear: {size: 512, bias: no}\n"
    "  - relu\n"
    "  - repeat: 2\n"
    "    layers:\n"
    "      - residual: [layernorm, {linear: 1536}, gelu]\n"
    "  - linear: 10\n"
    "loss: cross_entropy\n"
    "optimizer: adam\n"
    "schedule: {type: cosine, warmup: 1e2}\n"
    "train: {batch: 128, steps: 1e4, clip_norm: 1, target_accuracy: .98, log_every: 5}\n"
    "parallel: {shares: [3, 0.5], timeout: 1e-0}\n"
    "checkpoint: {every: -1, keep: 1, init_from: runs/old}\n"
    "device: gpu\n";

static void values_and_parts(void **state)
{
    struct mt_ctx *ctx = new_ctx();
    struct mt_config *c = load(ctx, sample, NULL, 0);

    (void)state;
    assert_string_equal(c->name, "digits");
    assert_true(c->seed == 42);
    assert_string_equal(c->folder, "runs/digits");
    assert_string_equal(mt_tree_get(c->data, "path")->text, "my data");
    assert_int_equal(c->model->n, 5);
    assert_string_equal(c->loss->text, "cross_entropy");
    assert_string_equal(mt_tree_get(c->optimizer, "type")->text, "adam");
    assert_int_equal(mt_tree_get(c->optimizer, "type")->line, 13);
    assert_string_equal(mt_tree_get(c->schedule, "warmup")->text, "1e2");
    assert_int_equal(c->train.batch, 128);
    assert_int_equal(c->train.steps, 10000);
    assert_int_equal(c->train.epochs, 0);
    assert_true(c->train.clip_norm == 1 && c->train.target_accuracy == 0.98);
    assert_int_equal(c->train.log_every, 5);
    assert_int_equal(c->parallel.nshares, 2);
    assert_true(c->parallel.shares[0] == 3 && c->parallel.shares[1] == 0.5);
    assert_true(c->parallel.timeout == 1);
    assert_int_equal(c->checkpoint.every, -1);
    assert_int_equal(c->checkpoint.keep, 1);
    assert_string_equal(c->checkpoint.init_from, "runs/old");
    assert_string_equal(c->device.use, "gpu");
    assert_int_equal(c->device.share, 0);
    mt_config_free(c);
    mt_config_free(NULL);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void defaults(void **state)
{
    struct mt_ctx *ctx = new_ctx();
    struct mt_config *c = load(ctx, "model: [relu]\noptimizer:\ntrain:\n", NULL, 0);

    (void)state;
    assert_string_equal(c->name, "net");   /* of dir/net.yaml */
    assert_string_equal(c->folder, "runs/net");
    assert_true(c->seed == 1);
    assert_null(c->data);
    assert_null(c->loss);
    assert_null(c->optimizer);
    assert_null(c->schedule);
    assert_int_equal(c->train.batch, 32);
    assert_int_equal(c->train.epochs, 10);
    assert_int_equal(c->parallel.nshares, 0);
    assert_int_equal(c->checkpoint.every, 0);
    assert_int_equal(c->checkpoint.keep, 3);
    assert_null(c->checkpoint.init_from);
    assert_string_equal(c->device.use, "auto");
    mt_config_free(c);
    c = load(ctx, "train: {target_loss: 0.1}\n", NULL, 0);
    assert_int_equal(c->train.epochs, 0);   /* something else ends it */
    mt_config_free(c);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void settings_of_the_command_line(void **state)
{
    static const char *const over[] = {
        "train.batch=64", "model.1.linear.size=256", "model.2=gelu",
        "model.3.layers.0.residual.0=relu",
        "loss.cross_entropy.label_smoothing=0.1", "optimizer.lr=1e-2", "schedule=", "seed=7",
        "data={format: csv, path: x=y.csv}", "device=0:1", "device.share=yes", "name=other",
        "parallel.shares=1:0:2", "checkpoint.init_from=", "model.4.linear={size: 5}"};
    struct mt_ctx *ctx = new_ctx();
    struct mt_config *c = load(ctx, sample, over, COUNT(over));
    const struct mt_tree *t;

    (void)state;
    assert_int_equal(c->train.batch, 64);
    assert_int_equal(c->train.log_every, 5);
    t = mt_tree_get(c->model->item[1], "linear");
    assert_string_equal(mt_tree_get(t, "size")->text, "256");
    assert_string_equal(mt_tree_get(t, "size")->file, "command line: model.1.linear.size=256");
    assert_string_equal(mt_tree_get(t, "bias")->text, "no");
    assert_string_equal(c->model->item[2]->text, "gelu");
    t = mt_tree_get(mt_tree_get(c->model->item[3], "layers")->item[0], "residual");
    assert_string_equal(t->item[0]->text, "relu");
    t = mt_tree_get(mt_tree_get(c->loss, "cross_entropy"), "label_smoothing");
    assert_string_equal(t->text, "0.1");
    assert_string_equal(mt_tree_get(c->optimizer, "type")->text, "adam");
    assert_string_equal(mt_tree_get(c->optimizer, "lr")->text, "1e-2");
    assert_null(c->schedule);
    assert_true(c->seed == 7);
    assert_string_equal(mt_tree_get(c->data, "path")->text, "x=y.csv");
    assert_string_equal(c->device.use, "0:1");
    assert_int_equal(c->device.share, 1);
    assert_string_equal(c->folder, "runs/other");
    assert_int_equal(c->parallel.nshares, 3);
    assert_true(c->parallel.shares[1] == 0 && c->parallel.shares[2] == 2);
    assert_null(c->checkpoint.init_from);
    t = mt_tree_get(c->model->item[4], "linear");
    assert_string_equal(mt_tree_get(t, "size")->text, "5");
    mt_config_free(c);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void wrong_ones_are_refused_with_these_words(void **state)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "n.yaml:1:1: nothing is in it; a configuration consists of keys such as `model:` "
             "and "
             "`data:`"},
        {"- relu\n", "n.yaml:1:1: this is a list; a configuration consists of keys such as "
                     "`model:` "
                     "and `data:`"},
        {"trian: {batch: 2}\n", "n.yaml:1:1: unknown key 'trian' in the configuration; did you "
                                "mean "
                                "'train'?"},
        {"name: x\nepochs: 3\n",
         "n.yaml:2:1: unknown key 'epochs' in the configuration; known: name, seed, folder, "
         "precision, data, model, loss, optimizer, schedule, train, parallel, checkpoint, device"},
        {"train: {bach: 2}\n", "n.yaml:1:9: unknown key 'bach' in train; did you mean 'batch'?"},
        {"train: {lr: 2}\n",
         "n.yaml:1:9: unknown key 'lr' in train; known: batch, micro_batches, clip_norm, "
         "loss_scale, epochs, steps, seconds, target_loss, target_accuracy, eval_every, "
         "eval_batch, log_every"},
        {"train: {batch: 0}\n",
         "n.yaml:1:16: 'batch' of train must be an integer, 1 to 2147483647, not '0'"},
        {"train: {batch: 64.5}\n",
         "n.yaml:1:16: 'batch' of train must be an integer, 1 to 2147483647, not '64.5'"},
        {"train: {steps: }\n",
         "n.yaml:1:9: 'steps' of train has no value; expected: integer, 0 or more"},
        {"train: {steps: [1]}\n",
         "n.yaml:1:16: 'steps' of train is a list; expected: integer, 0 or more"},
        {"train: {target_accuracy: 98}\n",
         "n.yaml:1:26: 'target_accuracy' of train must be a number, 0 to 1, not '98'"},
        {"train: {epochs: 0}\n", "n.yaml:1:17: nothing ends this training; set one of epochs, "
                                 "steps, "
                                 "seconds, target_loss, target_accuracy of train"},
        {"train: {batch: 4, micro_batches: 8}\n",
         "n.yaml:1:34: 'micro_batches' of train is 8, more than the 4 samples of a batch"},
        {"train: 64\n",
         "n.yaml:1:8: train must be a map of keys, as in `train: {batch: ...}`, not '64'"},
        {"train:\n  batch:64\n",
         "n.yaml:2:3: train must be a map of keys, as in `train: {batch: ...}`, not "
         "'batch:64'; is "
         "a blank missing after a colon?"},
        {"train: [1]\n", "n.yaml:1:8: train is a list; expected a map of keys"},
        {"parallel: {shares: [0, 0]}\n",
         "n.yaml:1:20: all shares are 0; at least one rank must work"},
        {"parallel: {shares: []}\n",
         "n.yaml:1:20: all shares are 0; at least one rank must work"},
        {"parallel: {shares: [1, -1]}\n",
         "n.yaml:1:24: a share must be a number, 0 or more, not '-1'"},
        {"parallel: {shares: [1, [2]]}\n",
         "n.yaml:1:24: a share must be a number, 0 or more, not 'a list or map'"},
        {"parallel: {shares: \"3:\"}\n",
         "n.yaml:1:21: a share must be a number, 0 or more, not ''"},
        {"parallel: {shares: {a: 1}}\n",
         "n.yaml:1:20: 'shares' of parallel must be a list of numbers, as in [3, 1]"},
        {"parallel: {share: 1}\n",
         "n.yaml:1:12: unknown key 'share' in parallel; did you mean 'shares'?"},
        {"parallel: {timeout: 0}\n",
         "n.yaml:1:21: 'timeout' of parallel must be a number, 1 or more, not '0'"},
        {"checkpoint: {every: -2}\n",
         "n.yaml:1:21: 'every' of checkpoint must be an integer, -1 or more, not '-2'"},
        {"checkpoint: {keep: 0}\n",
         "n.yaml:1:20: 'keep' of checkpoint must be an integer, 1 or more, not '0'"},
        {"device: {share: maybe}\n",
         "n.yaml:1:17: 'share' of device must be true or false, not 'maybe'"},
        {"seed: -1\n",
         "n.yaml:1:7: 'seed' of the configuration must be an integer, 0 or more, not '-1'"},
        {"name: a/b\n", "n.yaml:1:7: 'name' of the configuration must be a word of letters, "
                        "digits "
                        "and . _ + - (at most 100, the first no dot), not 'a/b'"},
        {"name: ''\n", "n.yaml:1:8: 'name' of the configuration must be a word of letters, "
                       "digits "
                       "and . _ + - (at most 100, the first no dot), not ''"},
        {"folder: ''\n", "n.yaml:1:10: 'folder' of the configuration is empty"},
        {"model: relu\n",
         "n.yaml:1:8: model must be a list, with entries that begin with `- `"},
        {"model:\n  linear: 5\n",
         "n.yaml:2:3: model must be a list, with entries that begin with `- `"},
        {"model:\n  - relu\n  - linear:512\n",
         "n.yaml:3:5: 'linear:512' is no layer; write `linear: 512`, with a colon and a blank"},
        {"model: [residual: [relu, linear 512]]\n",
         "n.yaml:1:26: 'linear 512' is no layer; write `linear: 512`, with a colon and a blank"},
        {"loss: [a]\n", "n.yaml:1:7: loss must be a word, or one key with its options"},
        {"loss: mse:1\n", "n.yaml:1:7: loss must be a word, or one key with its options; is a "
                          "blank "
                          "missing after a colon?"},
        {"optimizer: [adam]\n", "n.yaml:1:12: optimizer must be a word or a map of keys, as in "
                                "`optimizer: {type: ...}`"},
        {"optimizer: type:adam\n",
         "n.yaml:1:12: optimizer is 'type:adam'; expected one word or keys, as in `optimizer: "
         "{type: "
         "...}`; is a blank missing after a colon?"},
        {"optimizer: {type: {adam: 1}}\n", "n.yaml:1:19: 'type' of optimizer must be a word"},
        {"seed: 1\nseed: 2\n", "n.yaml:2:1: key 'seed' stands here a second time (first in "
                               "line 1)"},
    };
    static const struct {
        const char *over, *message;
    } settings[] = {
        {"train.batch",
         "command line: 'train.batch' is no setting; write key=value, as in train.batch=64"},
        {"=3", "command line: '=3' is no setting; write key=value, as in train.batch=64"},
        {"train.batch=0", "command line: train.batch=0: 'batch' of train must be an integer, 1 "
                          "to "
                          "2147483647, not '0'"},
        {"train.bacth=3",
         "command line: train.bacth=3: unknown key 'bacth' in train; did you mean 'batch'?"},
        {"trian.batch=3", "command line: trian.batch=3: unknown key 'trian' in the "
                          "configuration; "
                          "did you mean 'train'?"},
        {"model.7=relu",
         "command line: model.7=relu: model is a list; its entries are 0 to 1, not '7'"},
        {"model.relu=1",
         "command line: model.relu=1: model is a list; its entries are 0 to 1, not 'relu'"},
        {"model.1.linear.bias=no", "command line: model.1.linear.bias=no: n.yaml:1:26: "
                                   "model.1.linear "
                                   "is '5', which has no key 'bias'; set all of it: "
                                   "model.1.linear={...}"},
        {"seed=[1", "command line: seed=[1: not valid YAML: flow sequence without a closing "
                    "bracket"},
        {"seed={a: 1, a: 2}", "command line: seed={a: 1, a: 2}: key 'a' stands here twice"},
        {"a..b=1", "command line: a..b=1: a word is missing in 'a..b'; write section.key=value"},
        {"train.=1", "command line: train.=1: a word is missing in 'train.'; write "
                     "section.key=value"},
        {"parallel.shares=1:-3",
         "command line: parallel.shares=1:-3: a share must be a number, 0 or more, not '-3'"},
    };
    struct mt_ctx *ctx = new_ctx();

    (void)state;
    for (int i = 0; i < COUNT(bad); i++) {
        struct mt_config *c = NULL;

        assert_int_equal(mt_config_parse(ctx, bad[i].text, "n.yaml", NULL, 0, &c),
                         MOTLEY_ECONFIG);
        assert_string_equal(mt_err_text(), bad[i].message);
        assert_null(c);
    }
    for (int i = 0; i < COUNT(settings); i++) {
        struct mt_config *c = NULL;

        assert_int_equal(mt_config_parse(ctx, "model: [relu, {'linear': 5}]\n", "n.yaml",
                                         &settings[i].over, 1, &c), MOTLEY_ECONFIG);
        assert_string_equal(mt_err_text(), settings[i].message);
    }
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void printed_reads_as_the_same(void **state)
{
    static const char *const texts[] = {sample, "model: [relu]\n", "{}\n",
                                        "train: {epochs: 0, seconds: 1e-3}\nloss: {mse: {}}\n"
                                        "checkpoint: {init_from: 'a: b'}\ndevice: 'null'\n"};
    struct mt_ctx *ctx = new_ctx();

    (void)state;
    for (int i = 0; i < COUNT(texts); i++) {
        struct mt_config *c = load(ctx, texts[i], NULL, 0), *again;
        char *first = NULL, *second = NULL;

        assert_int_equal(mt_config_print(c, &first), MOTLEY_OK);
        assert_int_equal(mt_config_parse(ctx, first, "elsewhere/x.yaml", NULL, 0, &again),
                         MOTLEY_OK);
        assert_int_equal(mt_config_print(again, &second), MOTLEY_OK);
        assert_string_equal(first, second);
        assert_string_equal(c->name, again->name);
        assert_true(c->seed == again->seed);
        assert_memory_equal(&c->train, &again->train, sizeof c->train);
        assert_memory_equal(&c->parallel, &again->parallel, sizeof c->parallel);
        assert_int_equal(c->model != NULL ? c->model->n : -1,
                         again->model != NULL ? again->model->n : -1);
        mt_config_free(c);
        mt_config_free(again);
        mt_free(ctx, first);
        mt_free(ctx, second);
    }
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void files_are_read(void **state)
{
    struct mt_ctx *ctx = new_ctx();
    struct mt_config *c = NULL;
    const char *dir = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    char path[512], want[600];

    (void)state;
    snprintf(path, sizeof path, "%s/motley-test config-%ld.yaml", dir, (long)getpid());
    assert_int_equal(mt_file_write(ctx, path, "seed: 5\n", 8), MOTLEY_OK);
    assert_int_equal(mt_config_load(ctx, path, NULL, 0, &c), MOTLEY_OK);
    assert_true(c->seed == 5);
    snprintf(want, sizeof want, "motley-test_config-%ld", (long)getpid());
    assert_string_equal(c->name, want);
    mt_config_free(c);
    assert_int_equal(mt_file_write(ctx, path, "seed: 5\0\n", 9), MOTLEY_OK);
    assert_int_equal(mt_config_load(ctx, path, NULL, 0, &c), MOTLEY_ECONFIG);
    snprintf(want, sizeof want, "%s:1:8: control character 0x00; is this a text file?", path);
    assert_string_equal(mt_err_text(), want);
    unlink(path);
    assert_int_equal(mt_config_load(ctx, path, NULL, 0, &c), MOTLEY_EFILE);
    snprintf(want, sizeof want, "%s: No such file or directory", path);
    assert_string_equal(mt_err_text(), want);
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void examples_are_read(void **state)
{
    static const char *const names[] = {"digits-mlp", "mnist-mlp", "wine"};
    const char *top = getenv("top_srcdir");
    struct mt_ctx *ctx = new_ctx();

    (void)state;
    for (int i = 0; i < COUNT(names); i++) {
        struct mt_config *c = NULL;
        char path[4096];

        snprintf(path, sizeof path, "%s/examples/%s/%s.yaml", top != NULL ? top : ".", names[i],
                 names[i]);
        if (mt_config_load(ctx, path, NULL, 0, &c) < 0) {
            fail_msg("%s", mt_err_text());
        }
        assert_string_equal(c->name, names[i]);
        assert_true(c->model != NULL && c->data != NULL && c->loss != NULL);
        mt_config_free(c);
    }
    assert_int_equal(ctx->mem.live, 0);
    mt_ctx_free(ctx);
}

static void memory_may_end_anywhere(void **state)
{
    static const char *const over[] = {"train.batch=64", "loss.cross_entropy.label_smoothing=0.1",
                                       "data=digits"};
    struct mt_ctx *ctx = new_ctx();
    int failures = 0;

    (void)state;
    for (int n = 1;; n++) {
        struct mt_config *c = NULL;
        char *text = NULL;
        int st;

        ctx->mem.fail_at = ctx->mem.requests + n;
        st = mt_config_parse(ctx, sample, "net.yaml", over, COUNT(over), &c);
        if (st == MOTLEY_OK) {
            st = mt_config_print(c, &text);
        }
        mt_free(ctx, text);
        mt_config_free(c);
        assert_int_equal(ctx->mem.live, 0);
        if (st == MOTLEY_OK) {
            break;
        }
        assert_int_equal(st, MOTLEY_EMEM);
        failures++;
    }
    assert_true(failures > 100);
    mt_ctx_free(ctx);
}

/* ---- docs/config.md ----------------------------------------------------------------------- */

struct manual {
    const char *text;
    int keys;
};

static void find_row(void *arg, const char *path, const char *allowed, const char *def,
                     const char *doc)
{
    struct manual *m = arg;
    char row[1024];

    m->keys++;
    snprintf(row, sizeof row, "\n| `%s` | %s | %s | %s |\n", path, allowed, def, doc);
    if (strstr(m->text, row) == NULL) {
        fail_msg("docs/config.md has no such row:%s", row);
    }
}

static void manual_has_every_key(void **state)
{
    const char *top = getenv("top_srcdir");
    struct mt_ctx *ctx = new_ctx();
    struct manual m = {NULL, 0};
    char path[4096], *text = NULL, *end;
    size_t bytes = 0;
    int rows = 0;

    (void)state;
    snprintf(path, sizeof path, "%s/docs/config.md", top != NULL ? top : ".");
    if (mt_file_read(ctx, path, &text, &bytes) < 0) {
        fail_msg("%s", mt_err_text());
    }
    end = strstr(text, "<!-- end of the keys of the schema -->");
    assert_non_null(end);
    *end = '\0';
    m.text = text;
    mt_config_keys(find_row, &m);
    for (const char *s = strstr(text, "\n| `"); s != NULL; s = strstr(s + 1, "\n| `")) {
        rows++;
    }
    assert_int_equal(rows, m.keys);   /* no row of a key that is gone */
    mt_free(ctx, text);
    mt_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_and_parts),
        cmocka_unit_test(defaults),
        cmocka_unit_test(settings_of_the_command_line),
        cmocka_unit_test(wrong_ones_are_refused_with_these_words),
        cmocka_unit_test(printed_reads_as_the_same),
        cmocka_unit_test(files_are_read),
        cmocka_unit_test(examples_are_read),
        cmocka_unit_test(memory_may_end_anywhere),
        cmocka_unit_test(manual_has_every_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
