/* loss_parts.c -- proves cross entropy over classes that several processes have (here: one after
 * the other, their figures put together by the test) against the definition in double: loss, hits
 * and the gradient of every part's columns, for parts of one class, of more than a work-group,
 * without any; sequences, label smoothing, ties between classes of different parts, values of 1e4;
 * labels that are no class; infinite and undefined inputs. Loss, count and hits are the same bits
 * on all parts. Inputs and gradients stored as f32, bf16, fp16; with fp16 gradients are multiplied.
 *
 * Bound: that of tests/ops/cross_entropy.c, and for each part its factor exp(m_p - m) (exp 6
 * half-ulps, its argument 1, product and sum 2), the shift of its sum of differences (3). In half
 * width a gradient is rounded once more. Devices may flush what is below FLT_MIN. */
#include "base/half.h"
#include "base/rng.h"
#include "device/buf.h"
#include "device/cast.h"
#include "ops/cross_entropy_parts.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "devkit.h"

enum { MAXPARTS = 4, R = 24, MAXC = 400, FIGURES = 6 };

#define SCALE 4.0f   /* of losses, with fp16 */

struct trial {
    const char *name;
    int parts, width[MAXPARTS];
    double smoothing, scale;
    int whole;                  /* inputs are small whole numbers: many ties */
    int odd;                    /* some labels are no class, some inputs no number */
};

static const struct trial trials[] = {
    {"one part", 1, {10}, 0, 3, 0, 0},
    {"5:5", 2, {5, 5}, 0, 3, 0, 0},
    {"7:1:2, smoothed", 3, {7, 1, 2}, 0.1, 3, 0, 0},
    {"parts without classes", 4, {0, 3, 0, 1}, 0.1, 2, 0, 0},
    {"many classes", 3, {130, 70, 200}, 0.1, 4, 0, 0},
    {"ties", 4, {2, 1, 3, 2}, 0, 1, 1, 0},
    {"ties of many", 2, {100, 90}, 0, 1, 1, 0},
    {"large values", 2, {20, 9}, 0, 1e4, 0, 0},
    {"all smoothing", 2, {3, 4}, 1, 2, 0, 0},
    {"no class, no number", 3, {4, 70, 6}, 0, 2, 0, 1},
};

static void ok(int st)
{
    if (st < 0) {
        fprintf(stderr, "%s\n%s\n", mt_err_text(), mt_err_trace_text());
    }
    assert_int_equal(st, MOTLEY_OK);
}

static struct mt_tensor tensor(struct mt_spec spec)
{
    struct mt_tensor t = {.spec = spec};
    uint64_t bytes = (mt_spec_bytes(&spec) + 7) / 4 * 4;

    ok(mt_buf_new(dev, bytes, "test", &t.buf));
    t.off = 1;
    ok(mt_buf_fill(t.buf, 0, bytes, 0x7fc07fc0u));
    return t;
}

static void put(struct mt_tensor *t, const void *from)
{
    ok(mt_buf_write(t->buf, t->off * (uint64_t)mt_dtype_bytes(t->spec.dtype),
                    mt_spec_bytes(&t->spec), from));
}

static void get(const struct mt_tensor *t, void *to)
{
    ok(mt_buf_read(t->buf, t->off * (uint64_t)mt_dtype_bytes(t->spec.dtype),
                   mt_spec_bytes(&t->spec), to));
}

static uint16_t narrow(enum mt_dtype dtype, float v)
{
    return dtype == MT_BF16 ? mt_half_to_bf16(v) : mt_half_to_fp16(v);
}

static float stored(enum mt_dtype dtype, float v)
{
    return dtype == MT_F32    ? v
           : dtype == MT_BF16 ? mt_half_from_bf16(narrow(dtype, v))
                              : mt_half_from_fp16(narrow(dtype, v));
}

/* Real numbers, as the tensor stores them. */
static void put_reals(struct mt_tensor *t, const float *from)
{
    uint16_t half[R * MAXC];

    for (int64_t i = 0; i < mt_spec_count(&t->spec) && t->spec.dtype != MT_F32; i++) {
        half[i] = narrow(t->spec.dtype, from[i]);
    }
    put(t, t->spec.dtype == MT_F32 ? (const void *)from : half);
}

/* A sequence of samples: (R / 4, 4, columns). */
static struct mt_spec rows_of(enum mt_dtype dtype, int columns)
{
    return mt_spec_new(dtype, 1, columns > 0 ? 3 : 2, (int64_t[]){R / 4, 4, columns});
}

static void set_up(struct mt_node *n, const struct mt_op *op, const struct trial *t, int part)
{
    memset(n, 0, sizeof *n);
    n->op = op;
    n->name = op->name;
    n->attr[MT_CE_SMOOTHING].f = t->smoothing;
    n->attr[MT_CE_COUNT].i = t->width[part];
    for (int p = 0; p < t->parts; p++) {
        n->attr[MT_CE_FIRST].i += p < part ? t->width[p] : 0;
        n->attr[MT_CE_CLASSES].i += t->width[p];
    }
}

static void infer(struct mt_node *n, struct mt_io *io, int nin)
{
    n->nin = nin;
    for (int i = 0; i < nin; i++) {
        n->in[i] = io->in[i].spec;
    }
    ok(mt_node_infer(n));
    ok(mt_node_bind(n, dev));
    io->dev = dev;
    io->out[0] = tensor(n->out[0]);
    for (int i = 0; i < n->nsaved; i++) {
        io->saved[i] = tensor(n->saved[i]);
    }
    if (n->scratch_bytes > 0) {
        io->scratch =
            tensor(mt_spec_new(MT_F32, 0, 1, (int64_t[]){(int64_t)n->scratch_bytes / 4}));
    }
}

/* What the host sees of one trial. */
struct result {
    float x[R * MAXC], dx[R * MAXC];      /* (R, C) */
    int32_t label[R];
    float stats[MAXPARTS][MT_STATS];
};

/* Columns of one part; a part without any gets one that means nothing. */
static struct mt_tensor own_columns(const struct result *s, enum mt_dtype dtype, int C, int first,
                                    int count)
{
    int w = count > 0 ? count : 1;
    struct mt_tensor t = tensor(rows_of(dtype, w));
    float own[R * MAXC];

    for (int r = 0; r < R; r++) {
        for (int c = 0; c < w; c++) {
            own[r * w + c] = count > 0 ? s->x[r * C + first + c] : 1e9f;
        }
    }
    put_reals(&t, own);
    return t;
}

static void run_parts(const struct trial *t, enum mt_dtype dtype, int C, struct result *s)
{
    struct mt_tensor scale = tensor(mt_spec_new(MT_F32, 0, 1, (int64_t[]){1}));
    struct mt_node figures[MAXPARTS], judge[MAXPARTS];
    struct mt_io io[MAXPARTS], verdict[MAXPARTS];
    static float part[R * FIGURES], all[R * FIGURES * MAXPARTS], d[R * MAXC];

    put(&scale, &(float){SCALE});
    memset(io, 0, sizeof io);
    memset(verdict, 0, sizeof verdict);
    for (int p = 0; p < t->parts; p++) {
        set_up(&figures[p], &mt_cross_entropy_figures, t, p);
        io[p].in[0] = own_columns(s, dtype, C, (int)mt_attr_int(&figures[p], MT_CE_FIRST),
                                  t->width[p]);
        io[p].in[1] = tensor(rows_of(MT_I32, 0));
        put(&io[p].in[1], s->label);
        infer(&figures[p], &io[p], 2);
        ok(figures[p].op->fwd(&figures[p], &io[p]));
        get(&io[p].out[0], part);
        for (int r = 0; r < R; r++) {
            memcpy(all + (r * t->parts + p) * FIGURES, part + r * FIGURES, FIGURES * 4);
        }
    }
    for (int p = 0; p < t->parts; p++) {
        struct mt_io *v = &verdict[p];
        int first, w = t->width[p];

        set_up(&judge[p], &mt_cross_entropy_judge, t, p);
        first = (int)mt_attr_int(&judge[p], MT_CE_FIRST);
        v->in[0] = io[p].in[0];
        v->in[1] = io[p].in[1];
        v->in[2] = tensor(rows_of(MT_F32, FIGURES * t->parts));
        put(&v->in[2], all);
        infer(&judge[p], v, 3);
        v->want = MT_WANT_DATA;
        v->loss_scale = scale;
        v->din[0] = tensor(v->in[0].spec);
        ok(judge[p].op->fwd(&judge[p], v));
        ok(judge[p].op->bwd(&judge[p], v));
        get(&v->out[0], s->stats[p]);
        ok(mt_cast_read(ctx, &v->din[0], d));
        for (int r = 0; r < R; r++) {
            for (int c = 0; c < w; c++) {
                s->dx[r * C + first + c] = d[r * w + c] / (dtype == MT_FP16 ? SCALE : 1);
            }
            assert_true(w > 0 || d[r] == 0);
        }
        for (int i = 0; i < 3; i++) {
            mt_buf_free(v->saved[i].buf);
        }
        mt_buf_free(v->scratch.buf);
        mt_buf_free(v->din[0].buf);
        mt_buf_free(v->out[0].buf);
        mt_buf_free(v->in[2].buf);
        mt_buf_free(io[p].out[0].buf);
        mt_buf_free(io[p].in[1].buf);
        mt_buf_free(io[p].in[0].buf);
        mt_node_unbind(&judge[p]);
        mt_node_unbind(&figures[p]);
    }
    mt_buf_free(scale.buf);
}

static void draw(const struct trial *t, enum mt_dtype dtype, int C, struct result *s)
{
    struct mt_rng_key key = mt_rng_key(7, MT_RNG_TEST, mt_rng_stream(t->name));

    for (int i = 0; i < R * C; i++) {
        s->x[i] = t->whole ? (float)(mt_rng_u32(key, (uint64_t)i) % 4)
                           : stored(dtype, (float)(t->scale * mt_rng_normal(key, (uint64_t)i)));
    }
    for (int r = 0; r < R; r++) {
        s->label[r] = (int32_t)(mt_rng_u32(key, 100000 + (uint64_t)r) % (uint32_t)C);
    }
    if (t->odd) {
        s->label[0] = -1;
        s->label[1] = C;
        s->label[2] = INT32_MAX;
        s->label[3] = INT32_MIN;
        s->x[4 * C + (s->label[4] + 1) % C] = NAN;
        s->x[5 * C + s->label[5]] = NAN;
        s->x[6 * C + (s->label[6] + C / 2) % C] = INFINITY;
        s->x[7 * C + s->label[7]] = -INFINITY;
    }
}

/* The definition; half-ulps as above. Rows that are not finite are so on the device. */
static void compare(const struct trial *t, enum mt_dtype dtype, int C, const struct result *s)
{
    const double u = ldexp(1, -24), e = t->smoothing;
    const double once = dtype == MT_BF16 ? 0x1p-8 : dtype == MT_FP16 ? 0x1p-11 : 0;
    const double least = dtype == MT_FP16 ? 0x1p-25 / (double)SCALE : (double)FLT_MIN;
    double loss = 0, mag = 0, hits = 0;
    double sum = 7 + (C <= 64 ? C : C / 64 + 7) + 12 * t->parts;

    for (int r = 0; r < R; r++) {
        const float *x = s->x + r * C, *dx = s->dx + r * C;
        double m = -INFINITY, z = 0, mean = 0, spread = 0, at = NAN;
        int hit = s->label[r] >= 0 && s->label[r] < C;

        at = hit ? (double)x[s->label[r]] : NAN;
        for (int c = 0; c < C; c++) {
            m = fmax(m, (double)x[c]);
            hit = hit && (x[c] < at || (x[c] == at && c >= s->label[r]));
        }
        for (int c = 0; c < C; c++) {
            z += exp(x[c] - m);
            mean += (x[c] - m) / C;
            spread += fabs(x[c] - m) / C;
        }
        hits += hit;
        for (int c = 0; c < C; c++) {
            double p = exp(x[c] - m) / z, q = e / C + (c == s->label[r] ? 1 - e : 0);

            if (isnan(at - z)) {
                assert_true(isnan(dx[c]));
                continue;
            }
            if (fabs(dx[c] - (p - q)) >
                (8 + sum + 11) * u * (p + q) * (1 + once) + once * fabs(p - q) + least) {
                fail_msg("%s, %s: row %d, class %d: gradient %.9g, not %.9g", t->name,
                         mt_dtype_name(dtype), r, c, (double)dx[c], p - q);
            }
        }
        loss += log(z) - (1 - e) * (at - m) - e * mean;
        mag += log(z) + fabs(at - m) + e * spread + 1;
    }
    if (!(isnan(loss) ? isnan(s->stats[0][MT_STAT_LOSS])
                      : fabs(s->stats[0][MT_STAT_LOSS] - loss) <= (sum + 14 + 9) * u * mag)) {
        fail_msg("%s: loss %.9g, not %.9g", t->name, (double)s->stats[0][MT_STAT_LOSS], loss);
    }
    assert_float_equal(s->stats[0][MT_STAT_COUNT], R, 0);
    assert_float_equal(s->stats[0][MT_STAT_HITS], hits, 0);
    for (int p = 1; p < t->parts; p++) {
        assert_memory_equal(s->stats[p], s->stats[0], sizeof s->stats[0]);
    }
}

static void all_trials(void **state)
{
    struct result *s = calloc(1, sizeof *s);

    (void)state;
    assert_non_null(s);
    for (size_t i = 0; i < sizeof trials / sizeof *trials; i++) {
        int C = 0;

        for (int p = 0; p < trials[i].parts; p++) {
            C += trials[i].width[p];
        }
        for (int k = 0; k < 3; k++) {
            draw(&trials[i], mt_dtype_of(k), C, s);
            run_parts(&trials[i], mt_dtype_of(k), C, s);
            compare(&trials[i], mt_dtype_of(k), C, s);
        }
    }
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_trials)};
    int code = devkit_open();

    return code != 0 ? code : devkit_close(cmocka_run_group_tests(tests, NULL, NULL));
}
