/* gemm_tile.c -- own matrix product for CPU devices: cl/gemm_tile.cl and the choice of its sizes.
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
 * says 1) take minutes to compile such a kernel and gain nothing. */
#include "device/gemm_impl.h"

#include "base/ctx.h"
#include "device/dev_impl.h"
#include "device/launch.h"

#include <stdio.h>
#include <string.h>

#define KC    256                    /* block of K, unless the form says: a panel is 32 KiB */
#define TILES 8                      /* as in the kernel */

/* A division of the work, and the sizes it is for. */
struct grid {
    int64_t m, n, k;
    int64_t groups_p, groups_q;
    double cycles;
};

struct state {
    struct mt_kernel *kernel;        /* borrowed */
    int width;                       /* VW of the kernel */
    int rows;                        /* MR */
    int panels;                      /* PANELS */
    int kc;                          /* longest block of K */
    int flip;                        /* X of the kernel is C transposed */
    struct grid grid[2];             /* as planned, and the last other one */
};

/* Panels of the kernel that fit into three quarters of local memory beside TILES tiles of rows, at
 * most 12: 384 columns of 256 terms are 384 KiB, less than the second-level cache of the machines
 * it is for. */
static int panels_that_fit(const struct mt_dev *dev, int width, int rows, int kc)
{
    uint64_t panel = (uint64_t)kc * 2 * (uint64_t)width * sizeof(float);
    uint64_t own = (uint64_t)rows * (TILES * (uint64_t)kc + 2 * (uint64_t)width) * sizeof(float);
    uint64_t room = dev->info.local_bytes / 4 * 3;
    uint64_t fit = room > own ? (room - own) / panel : 0;

    return fit > 12 ? 12 : (int)fit;
}

static int can(struct mt_dev *dev, const struct mt_gemm *g)
{
    int width;

    (void)g;
    if (dev->info.type != MT_DEV_CPU) {
        return 0;
    }
    width = mt_gemm_vector(dev);
    return width > 0 && panels_that_fit(dev, width, mt_gemm_rows(width), KC) > 0;
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

/* Cycles of a product of P x Q x K in groups_p x groups_q groups; transposed: the columns have
 * to be transposed while packing. A group packs its columns and its rows once per block of K and
 * then does all its tiles; a tile of h rows and v vectors takes h v / 2 cycles a term where two
 * multiply-adds start in one, no less than (h + v) / 2 for its loads and 4 for the latency. */
static double cycles(const struct state *s, const struct mt_dev *dev, const struct mt_gemm *g,
                     int64_t p, int64_t q, int64_t k, int64_t groups_p, int64_t groups_q)
{
    int64_t nr = 2 * s->width, group_rows = ceil_div(p, groups_p);
    int64_t group_cols = ceil_div(ceil_div(q, nr), groups_q) * nr;
    int64_t tiles = ceil_div(group_rows, s->rows), blocks = ceil_div(k, s->kc);
    double groups = (double)(groups_p * groups_q * g->batch), units = dev->info.units;
    double cols = (double)(group_cols < q ? group_cols : q);
    double vectors = (double)ceil_div((int64_t)cols, s->width);
    double panels = (double)ceil_div((int64_t)cols, nr);
    double h = (double)group_rows / (double)tiles, terms = (double)k;
    int transposed = s->flip ? !g->trans_a : g->trans_b;
    double tile = max2(max2(vectors * h / 2.0, (vectors + h * panels) / 2.0), 4.0 * panels);
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

static int prepare(struct mt_dev *dev, const struct mt_gemm *g, const char *form, void **state,
                   uint64_t *scratch_bytes)
{
    struct state *s = NULL, other;
    int64_t kc = KC, panels = 12, ahead = 8, flip = -1;
    char defines[160];
    int st;

    mt_gemm_form_number(form, "kc", &kc);
    mt_gemm_form_number(form, "panels", &panels);
    mt_gemm_form_number(form, "ahead", &ahead);
    mt_gemm_form_number(form, "flip", &flip);
    MT_CHECK(kc >= 16 && kc <= 1024 && kc % 16 == 0 && panels >= 1 && panels <= 64 && ahead >= 0 &&
                 ahead <= 16 && flip <= 1,
             MOTLEY_EUNSUP, "gemm provider tile has no form %s", form);
    MT_TRY(MT_NEW(mt_dev_ctx(dev), &s));
    s->width = mt_gemm_vector(dev);
    s->rows = mt_gemm_rows(s->width);
    s->kc = (int)kc;
    s->panels = panels_that_fit(dev, s->width, s->rows, s->kc);
    s->panels = s->panels < panels ? s->panels : (int)panels;
    MT_CHECK_OR(fail, s->panels > 0, MOTLEY_EUNSUP, "form %s: local memory is too small", form);
    s->grid[0] = divide(s, dev, g, g->m, g->n, g->k);
    other = *s;
    other.flip = 1;
    other.grid[0] = divide(&other, dev, g, g->m, g->n, g->k);
    MT_CHECK_OR(fail, flip < 0 || strlen(form) > strlen("flip=0") ||
                          flip != (other.grid[0].cycles < s->grid[0].cycles),
                MOTLEY_EUNSUP, "form %s is what tile takes anyway", form);
    if (flip > 0 || (flip < 0 && other.grid[0].cycles < s->grid[0].cycles)) {
        *s = other;
    }
    s->grid[1] = s->grid[0];
    snprintf(defines, sizeof defines,
             "-DVW=%d -DMR=%d -DKC=%d -DPANELS=%d -DAHEAD=%d -DRT=%d -DST=%d -DFLIP=%d "
             "-DACT=%d", s->width,
             s->rows, s->kc, s->panels, (int)ahead, s->flip ? !g->trans_b : g->trans_a,
             s->flip ? !g->trans_a : g->trans_b, s->flip, mt_gemm_act_define(g->act));
    MT_TRY_OR(fail, mt_kernel_get(dev, "gemm_tile", "gemm_tile", defines, &s->kernel));
    *state = s;
    *scratch_bytes = 0;
    return MOTLEY_OK;
fail:
    release(dev, s);
    return st;
}

static int run(struct mt_dev *dev, const struct mt_gemm *g, void *state,
               const struct mt_gemm_call *call)
{
    struct state *s = state;
    int planned = call->m == s->grid[0].m && call->n == s->grid[0].n && call->k == s->grid[0].k;
    struct grid *grid = &s->grid[planned ? 0 : 1];
    int64_t blocks = ceil_div(call->k, s->kc);
    int64_t block = ceil_div(ceil_div(call->k, blocks), s->width) * s->width;
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
    .fuses = MT_GEMM_FUSE_BIAS | MT_GEMM_FUSE_ACT,
    .version = version,
    .can = can,
    .forms = forms,
    .prepare = prepare,
    .run = run,
    .release = release,
};
