/* gemm_tile.c -- own matrix products for CPU devices, `tile` (f32), `narrow` (bf16, fp16), `pairs`
 * and `amx` (bf16): cl/gemm_tile.cl and the choice of its sizes.
 *
 * The kernel packs into local memory, which a CPU device keeps in the cache of the core that runs
 * the group: no scratch is needed and one launch does a product. What is chosen here: the width of
 * a vector (the device's own), which of the two operands is spread over vectors (`flip`), and how
 * rows and columns are divided into groups. The last two come from a model of the work in clock
 * cycles; its constants were measured on AVX-512 machines (docs/performance.md), only their
 * proportions matter. The division changes with the sizes of a run, the bits do not.
 *
 * Offered only where the compiler turns float4 or wider into registers of the same width
 * (CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT): implementations that run one number per lane (llvmpipe
 * says 1) take minutes to compile such a kernel and gain nothing.
 *
 * `pairs` and `amx` are the same kernel with pairs of bf16 in place of floats, multiplied by an
 * instruction of the processor (inline assembly): offered where the processor has it and the device
 * is that processor, which is so if the device can run functions of this process. Sums are f32, and
 * C is rounded once: K is not cut into blocks unless C is f32. Not native kernels
 * (clEnqueueNativeKernel): such a function has one thread, and the packing and the epilogues would
 * be there once more in C.
 *
 * `narrow` is `tile` with operands that are widened while they are packed. C is rounded once here,
 * too; a K that is too long for that is left to `tile` behind a pass that widens (gemm_half.c). */
#include "device/gemm_impl.h"

#include "base/ctx.h"
#include "device/cpu.h"
#include "device/dev_impl.h"
#include "device/launch.h"

#include <stdio.h>
#include <string.h>

#define KC     256                   /* block of K in words, if no form says so */
#define MOST_K 4096                  /* the same where K must not be cut */
#define NARROW_K 1024                /* the same in words of float */
#define BAND   16                    /* rows of a register of tiles */
#define AMX_ROWS (2 * BAND)

/* What multiplies: UNIT of the kernel. */
enum unit { FMA, DOT, AMX };

/* A division of the work, and the sizes it is for. */
struct grid {
    int64_t m, n, k;
    int64_t groups_p, groups_q;
    double cycles;
};

struct state {
    struct mt_kernel *kernel;        /* borrowed */
    enum unit unit;
    int width;                       /* VW of the kernel */
    int rows;                        /* MR */
    int panels;                      /* PANELS */
    int kc;                          /* longest block of K, in words */
    int terms;                       /* of K in a word of a packed operand */
    int tiles;                       /* TILES */
    int flip;                        /* X of the kernel is C transposed */
    struct grid grid[2];             /* as planned, and the last other one */
};

/* Panels of the kernel that fit into three quarters of local memory beside the tiles of rows, at
 * most 12 of 32 KiB: 384 columns of 256 words are 384 KiB, less than the second-level cache of the
 * machines it is for. */
static int panels_that_fit(const struct mt_dev *dev, const struct state *s)
{
    uint64_t panel = (uint64_t)s->kc * 2 * (uint64_t)s->width * sizeof(float);
    uint64_t row = (uint64_t)s->tiles * (uint64_t)(s->kc + 16) + 2 * (uint64_t)s->width;
    uint64_t own = (uint64_t)s->rows * row * sizeof(float), room = dev->info.local_bytes / 4 * 3;
    uint64_t fit = room > own ? (room - own) / panel : 0;
    uint64_t most = 12 * 256 / (uint64_t)s->kc;

    most = most > 1 ? most : 1;
    return fit > most ? (int)most : (int)fit;
}

/* Sizes of the kernel; kc: in words. */
static struct state sizes(const struct mt_dev *dev, enum unit unit, int kc, int transposed)
{
    struct state s = {.unit = unit, .width = unit != FMA ? 16 : mt_gemm_vector(dev), .kc = kc,
                      .terms = unit != FMA ? 2 : 1, .tiles = 1};

    s.rows = unit == AMX ? AMX_ROWS : mt_gemm_rows(s.width);
    if (transposed) {
        s.tiles = kc < 2048 ? 2048 / kc : 1;
        s.tiles = s.tiles < 8 ? s.tiles : 8;
        /* A row of such a tile is a line of the cache by itself: a few for the pages' sake. */
        s.tiles = unit != AMX || s.tiles < 3 ? s.tiles : 3;
    }
    s.panels = panels_that_fit(dev, &s);
    return s;
}

static int can(struct mt_dev *dev, const struct mt_gemm *g)
{
    (void)g;
    return dev->info.type == MT_DEV_CPU && mt_gemm_vector(dev) > 0 &&
           sizes(dev, FMA, KC, 1).panels > 0;
}

static int can_narrow(struct mt_dev *dev, const struct mt_gemm *g)
{
    return mt_dtype_is_half(g->in) && can(dev, g);
}

/* Whether g is of bf16, and the device this processor with vectors of 512 bits. */
static int can_unit(const struct mt_dev *dev, const struct mt_gemm *g)
{
    return g->in == MT_BF16 && dev->info.type == MT_DEV_CPU && dev->info.native_kernels &&
           mt_gemm_vector(dev) == 16;
}

static int can_pairs(struct mt_dev *dev, const struct mt_gemm *g)
{
    return can_unit(dev, g) && mt_cpu_dot();
}

static int can_amx(struct mt_dev *dev, const struct mt_gemm *g)
{
    return can_unit(dev, g) && mt_cpu_amx();
}

static void version(char *buf, size_t room)
{
    mt_gemm_kernel_version("gemm_tile", buf, room);
}

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static double max2(double a, double b)
{
    return a > b ? a : b;
}

/* Cycles of tiles of h rows by all vectors of a group, for one word of K. */
static double tile_cycles(const struct state *s, double h, double vectors, double panels)
{
    if (s->unit == AMX) {   /* 16 rows, 16 columns and 16 words take 16 cycles */
        return vectors * (h > BAND ? 2.0 : 1.0);
    }
    return max2(max2(vectors * h / 2.0, (vectors + h * panels) / 2.0), 4.0 * panels);
}

/* Cycles of a product of P x Q x K in groups_p x groups_q groups; transposed: the columns have
 * to be transposed while packing. A group packs its columns and its rows once per block of K and
 * then does all its tiles; a tile of h rows and v vectors takes h v / 2 cycles a term where two
 * multiply-adds start in one, no less than (h + v) / 2 for its loads and 4 for the latency. */
static double cycles(const struct state *s, const struct mt_dev *dev, const struct mt_gemm *g,
                     int64_t p, int64_t q, int64_t k, int64_t groups_p, int64_t groups_q)
{
    int64_t nr = 2 * s->width, group_rows = ceil_div(p, groups_p);
    int64_t group_cols = ceil_div(ceil_div(q, nr), groups_q) * nr;
    int64_t tiles = ceil_div(group_rows, s->rows), blocks = ceil_div(k, s->terms * s->kc);
    double groups = (double)(groups_p * groups_q * g->batch), units = dev->info.units;
    double cols = (double)(group_cols < q ? group_cols : q);
    double vectors = (double)ceil_div((int64_t)cols, s->width);
    double panels = (double)ceil_div((int64_t)cols, nr);
    double h = (double)group_rows / (double)tiles, terms = (double)ceil_div(k, s->terms);
    int transposed = s->flip ? !g->trans_a : g->trans_b;
    double tile = tile_cycles(s, h, vectors, panels);
    double store = s->flip ? cols * 1.5 : vectors * 3.0;
    double group = terms * vectors * s->width * (transposed ? 0.35 : 0.25) +
                   (double)tiles * terms * (tile * 1.03 + h * 0.25) +
                   (double)blocks * ((double)group_rows * store + (double)tiles * panels * 30.0) +
                   1000.0;
    int64_t rounds = ceil_div((int64_t)groups, (int64_t)units);

    /* Few groups per core: the slowest core decides, and cores are never alike. */
    return (double)rounds * group * (1.0 + 0.1 * units / max2(groups, units));
}

static void sides(const struct state *s, int64_t m, int64_t n, int64_t *p, int64_t *q)
{
    *p = s->flip ? n : m;
    *q = s->flip ? m : n;
}

/* The cheapest division that the model knows, among those whose columns fit. */
static struct grid divide(const struct state *s, const struct mt_dev *dev,
                          const struct mt_gemm *g, int64_t m, int64_t n, int64_t k)
{
    struct grid best = {.m = m, .n = n, .k = k, .cycles = -1.0};
    int64_t p, q, cols;

    sides(s, m, n, &p, &q);
    cols = ceil_div(q, 2 * s->width);
    for (int64_t each = s->panels; each >= 1; each--) {
        int64_t gq = ceil_div(cols, each), most = ceil_div(p, s->rows);

        /* 1, 2, 3, 4, 6, 8, 12, 16, ... groups of rows, up to eight per core. */
        for (int64_t gp = 1; gp <= most && gp <= 8 * (int64_t)dev->info.units;
             gp += gp < 4 ? 1 : gp & (gp - 1) ? gp / 3 : gp / 2) {
            double c = cycles(s, dev, g, p, q, k, gp, gq);

            if (best.cycles < 0.0 || c < best.cycles) {
                best.groups_p = gp;
                best.groups_q = gq;
                best.cycles = c;
            }
        }
    }
    return best;
}

static void release(struct mt_dev *dev, void *state)
{
    mt_free(mt_dev_ctx(dev), state);
}

/* What tuning tries: blocks of K, columns per group, and both sides for the vectors. */
static const char *forms(const struct mt_dev *dev, int i)
{
    static const char *const list[] = {"flip=0", "flip=1", "kc=128", "kc=384", "panels=4",
                                       "kc=128,panels=4", "ahead=0", NULL};

    (void)dev;
    return i < (int)(sizeof list / sizeof *list) ? list[i] : NULL;
}

static const char *forms_half(const struct mt_dev *dev, int i)
{
    static const char *const list[] = {"flip=0", "flip=1", "panels=4", "ahead=0", NULL};

    (void)dev;
    return i < (int)(sizeof list / sizeof *list) ? list[i] : NULL;
}

/* s: the cheaper of the two sides, or the one that flip (0, 1) asks for; *other: it is not the one
 * that is taken where flip is -1. */
static int choose_side(const struct mt_dev *dev, const struct mt_gemm *g, enum unit unit, int kc,
                       int64_t panels, int64_t flip, struct state *s, int *other)
{
    struct state side[2];
    int cheaper;

    for (int i = 0; i < 2; i++) {
        side[i] = sizes(dev, unit, kc, i == 0 ? g->trans_a : !g->trans_b);
        side[i].panels = side[i].panels < panels ? side[i].panels : (int)panels;
        side[i].flip = i;
        MT_CHECK(side[i].panels > 0, MOTLEY_EUNSUP, "local memory is too small for blocks of %d",
                 kc);
        side[i].grid[0] = divide(&side[i], dev, g, g->m, g->n, g->k);
    }
    cheaper = side[1].grid[0].cycles < side[0].grid[0].cycles;
    *s = side[flip < 0 ? cheaper : flip];
    s->grid[1] = s->grid[0];
    *other = s->flip != cheaper;
    return MOTLEY_OK;
}

/* kc: of the kernel, unless the form names one; extra: defines. */
static int prepare_with(struct mt_dev *dev, const struct mt_gemm *g, const char *form,
                        enum unit unit, int64_t kc, const char *extra, void **state)
{
    int64_t panels = 12, ahead = 8, flip = -1;
    struct state *s = NULL;
    char defines[256];
    int st, other = 0;

    mt_gemm_form_number(form, "kc", &kc);
    mt_gemm_form_number(form, "panels", &panels);
    mt_gemm_form_number(form, "ahead", &ahead);
    mt_gemm_form_number(form, "flip", &flip);
    MT_CHECK(kc >= 16 && kc <= MOST_K && kc % 16 == 0 && panels >= 1 && panels <= 64 &&
                 ahead >= 0 && ahead <= 16 && flip <= 1,
             MOTLEY_EUNSUP, "gemm provider tile has no form %s", form);
    MT_TRY(MT_NEW(mt_dev_ctx(dev), &s));
    MT_TRY_OR(fail, choose_side(dev, g, unit, (int)kc, panels, flip, s, &other));
    MT_CHECK_OR(fail, flip < 0 || strlen(form) > strlen("flip=0") || other, MOTLEY_EUNSUP,
                "form %s is what tile takes anyway", form);
    snprintf(defines, sizeof defines,
             "-DVW=%d -DMR=%d -DKC=%d -DPANELS=%d -DTILES=%d -DAHEAD=%d -DRT=%d -DST=%d -DFLIP=%d "
             "-DACT=%d -DPLUS=%d%s", s->width, s->rows, s->kc, s->panels, s->tiles, (int)ahead,
             s->flip ? !g->trans_b : g->trans_a, s->flip ? !g->trans_a : g->trans_b, s->flip,
             mt_gemm_act_define(g->act), g->after != 0, extra);
    MT_TRY_OR(fail, mt_kernel_get(dev, "gemm_tile", "gemm_tile", defines, &s->kernel));
    *state = s;
    return MOTLEY_OK;
fail:
    release(dev, s);
    return st;
}

static int prepare(struct mt_dev *dev, const struct mt_gemm *g, const char *form, void **state,
                   uint64_t *scratch_bytes)
{
    *scratch_bytes = 0;
    return prepare_with(dev, g, form, FMA, KC, "", state);
}

static int prepare_narrow(struct mt_dev *dev, const struct mt_gemm *g, const char *form,
                          void **state, uint64_t *scratch_bytes)
{
    int64_t kc = KC;
    char extra[64];

    while (g->out != MT_F32 && kc < g->k) {
        kc *= 2;
    }
    MT_CHECK(kc <= NARROW_K, MOTLEY_EUNSUP, "gemm provider narrow: a result in half width has at "
             "most %d terms", NARROW_K);
    snprintf(extra, sizeof extra, " -DNARROW=%d %s", g->in == MT_BF16 ? 1 : 2,
             g->out != MT_F32 ? mt_dtype_defines(g->out) : "");
    *scratch_bytes = 0;
    return prepare_with(dev, g, form, FMA, kc, extra, state);
}

/* model=1, for tests: plain OpenCL C in place of the instructions. */
static int prepare_unit(struct mt_dev *dev, const struct mt_gemm *g, const char *form,
                        enum unit unit, void **state)
{
    int64_t kc = KC, model = 0;
    char extra[64];
    int st;

    while (g->out != MT_F32 && 2 * kc < g->k) {
        kc *= 2;
    }
    MT_CHECK(kc <= MOST_K, MOTLEY_EUNSUP, "gemm by a unit for bf16: a result of bf16 has at most "
             "%d terms", 2 * MOST_K);
    mt_gemm_form_number(form, "model", &model);
    snprintf(extra, sizeof extra, " -DUNIT=%d -DMODEL=%d %s", (int)unit, (int)model,
             g->out != MT_F32 ? mt_dtype_defines(g->out) : "");
    st = prepare_with(dev, g, form, unit, kc, extra, state);
    /* A compiler that does not know the instruction is no reason for a word: others multiply. */
    return st < 0 && st != MOTLEY_EMEM ? MOTLEY_EUNSUP : st;
}

static int prepare_pairs(struct mt_dev *dev, const struct mt_gemm *g, const char *form,
                         void **state, uint64_t *scratch_bytes)
{
    *scratch_bytes = 0;
    return prepare_unit(dev, g, form, DOT, state);
}

static int prepare_amx(struct mt_dev *dev, const struct mt_gemm *g, const char *form,
                       void **state, uint64_t *scratch_bytes)
{
    *scratch_bytes = 0;
    return prepare_unit(dev, g, form, AMX, state);
}

static int run(struct mt_dev *dev, const struct mt_gemm *g, void *state,
               const struct mt_gemm_call *call)
{
    struct state *s = state;
    int planned = call->m == s->grid[0].m && call->n == s->grid[0].n && call->k == s->grid[0].k;
    struct grid *grid = &s->grid[planned ? 0 : 1];
    int64_t blocks = ceil_div(call->k, s->terms * s->kc), unit = s->terms * s->width;
    int64_t block = ceil_div(ceil_div(call->k, blocks), unit) * unit;
    struct mt_gemm_at at = mt_gemm_at(g, call, s->flip);

    if (call->m != grid->m || call->n != grid->n || call->k != grid->k) {
        *grid = divide(s, dev, g, call->m, call->n, call->k);
    }
    at.np = (uint32_t)grid->groups_p;
    at.nq = (uint32_t)grid->groups_q;
    at.block = (uint32_t)block;
    MT_TRY(mt_gemm_launch(dev, s->kernel,
                          (uint64_t)(grid->groups_p * grid->groups_q * g->batch), call, s->flip,
                          &at));
    return MOTLEY_OK;
}

const struct mt_gemm_provider mt_gemm_tile = {
    .name = "tile",
    .fuses = MT_GEMM_FUSE_BIAS | MT_GEMM_FUSE_ACT | MT_GEMM_FUSE_RESIDUAL,
    .version = version,
    .can = can,
    .forms = forms,
    .prepare = prepare,
    .run = run,
    .release = release,
};

const struct mt_gemm_provider mt_gemm_pairs = {
    .name = "pairs",
    .fuses = MT_GEMM_FUSE_BIAS | MT_GEMM_FUSE_ACT | MT_GEMM_FUSE_RESIDUAL | MT_GEMM_HALF,
    .version = version,
    .can = can_pairs,
    .forms = forms_half,
    .prepare = prepare_pairs,
    .run = run,
    .release = release,
};

const struct mt_gemm_provider mt_gemm_amx = {
    .name = "amx",
    .fuses = MT_GEMM_FUSE_BIAS | MT_GEMM_FUSE_ACT | MT_GEMM_FUSE_RESIDUAL | MT_GEMM_HALF,
    .version = version,
    .can = can_amx,
    .forms = forms_half,
    .prepare = prepare_amx,
    .run = run,
    .release = release,
};

const struct mt_gemm_provider mt_gemm_narrow = {
    .name = "narrow",
    .fuses = MT_GEMM_FUSE_BIAS | MT_GEMM_FUSE_ACT | MT_GEMM_FUSE_RESIDUAL | MT_GEMM_HALF,
    .version = version,
    .can = can_narrow,
    .forms = forms_half,
    .prepare = prepare_narrow,
    .run = run,
    .release = release,
};
