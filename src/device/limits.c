/* limits.c -- measures the ceilings of a device: arithmetic, memory, launches, transfers.
 *
 * Every figure is the best of several runs: what disturbs a run only makes it slower. Sizes start
 * small and grow as long as the time allows, so a simulator gets figures too, of smaller arrays.
 * Arithmetic is tried in a few forms and the best is taken: vectors in one work-item suit CPU
 * compilers, single numbers in many work-items suit GPUs. J. McCalpin's STREAM is the model of the
 * memory figures. */
#define _POSIX_C_SOURCE 200809L
#include "device/limits.h"

#include "base/ctx.h"
#include "device/buf.h"
#include "device/dev_impl.h"
#include "device/launch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MIB (UINT64_C(1) << 20)

/* Parts of the time. */
#define FOR_FMA      0.35
#define FOR_MEMORY   0.30
#define FOR_LAUNCH   0.10
#define FOR_TRANSFER 0.25

static const char *const keys[] = {
#define KEY(id, key, unit, text) key,
    MT_LIMIT_MAP(KEY)
#undef KEY
};
static const char *const units[] = {
#define UNIT(id, key, unit, text) unit,
    MT_LIMIT_MAP(UNIT)
#undef UNIT
};
static const char *const texts[] = {
#define TEXT(id, key, unit, text) text,
    MT_LIMIT_MAP(TEXT)
#undef TEXT
};

const char *mt_limit_key(enum mt_limit id)
{
    return keys[id];
}

const char *mt_limit_unit(enum mt_limit id)
{
    return units[id];
}

const char *mt_limit_text(enum mt_limit id)
{
    return texts[id];
}

/* What is measured: `once` does it and waits for the end. */
struct job {
    int (*once)(struct job *job);
    struct mt_dev *dev;
    struct mt_kernel *kernel;
    struct mt_ndrange grid;
    uint32_t n;                     /* kernels: their loop; launches: how many */
    struct mt_buf *x, *y, *z;
    struct mt_window *window;
    char *host;
    uint64_t bytes;                 /* of a transfer, of an array */
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int time_once(struct job *j, double *took)
{
    double start = now();

    MT_TRY(j->once(j));
    *took = now() - start;
    return MOTLEY_OK;
}

/* After one run that warms up: at least three, unless one alone takes all the time. */
static int best_of(struct job *j, double seconds, double *best)
{
    double end = now() + seconds, took;

    MT_TRY(time_once(j, best));
    for (int i = 0; (i < 3 && *best < seconds) || now() < end; i++) {
        MT_TRY(time_once(j, &took));
        *best = took < *best ? took : *best;
    }
    return MOTLEY_OK;
}

/* ---- arithmetic -------------------------------------------------------------------------- */

struct variant {
    int width, chains, group;
    int longer;                      /* a loop of 16 steps instead of 4 */
    const char *mad;                 /* a define: mad instead of fma */
};

/* Numbers in a vector of a work-item for this device: what a CPU's compiler says it likes. One
 * that says 1 makes its own vectors of neighbouring work-items, and may take minutes over
 * longer ones (llvmpipe, Mesa 22.3.6). */
static int cpu_width(const struct mt_dev *dev)
{
    cl_uint width = 1;

    if (dev->info.type != MT_DEV_CPU ||
        clGetDeviceInfo(dev->id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof width, &width,
                        NULL) != CL_SUCCESS) {
        return 1;
    }
    return width >= 16 ? 16 : width >= 8 ? 8 : width >= 4 ? 4 : 1;
}

static int fma_once(struct job *j)
{
    MT_TRY(mt_launch(j->dev, j->kernel, j->grid,
                     MT_ARGS(mt_b(j->y, 0), mt_u32(j->n), mt_f32(0.999f), mt_f32(0.001f))));
    return mt_dev_finish(j->dev);
}

/* Operations a second of one variant. */
static int fma_rate(struct mt_dev *dev, const struct variant *v, double seconds, double *rate)
{
    struct job j = {.once = fma_once, .dev = dev, .n = 1};
    uint64_t groups = (uint64_t)dev->info.units * (dev->info.type == MT_DEV_CPU ? 8 : 32);
    char defines[96];
    double took;
    int st;

    snprintf(defines, sizeof defines, "-DWG=%d -DW=%d -DCHAINS=%d -DLONG=%d%s", v->group,
             v->width, v->chains, v->longer, v->mad);
    MT_TRY(mt_kernel_get(dev, "limits", "limits_fma", defines, &j.kernel));
    j.grid = mt_groups(groups, (size_t)v->group);
    MT_TRY(mt_buf_new(dev, (uint64_t)j.grid.global[0] * 4, "limits", &j.y));
    MT_TRY_OR(end, fma_once(&j));
    MT_TRY_OR(end, time_once(&j, &took));
    while (took < 0.004 && took < seconds / 8 && j.n < UINT32_C(1) << 24) {
        j.n *= 4;
        MT_TRY_OR(end, time_once(&j, &took));
    }
    MT_TRY_OR(end, best_of(&j, seconds, &took));
    *rate = (v->longer ? 32.0 : 8.0) * j.n * v->chains * v->width * (double)j.grid.global[0] / took;
end:
    mt_buf_free(j.y);
    return st;
}

static int measure_fma(struct mt_dev *dev, double seconds, struct mt_limits *l)
{
    int width = cpu_width(dev), gpu = dev->info.type != MT_DEV_CPU;
    const char *mad = width > 1 ? "" : " -DMAD";
    const struct variant variants[] = {{width, 8, width > 1 ? 1 : MT_WG, gpu, ""},
                                       {width, 12, width > 1 ? 1 : MT_WG, gpu, mad},
                                       {4, 4, MT_WG, 1, ""}};   /* packed, on some GPUs */
    int n = gpu ? 3 : 2;

    for (int i = 0; i < n; i++) {
        double rate = 0.0;

        MT_TRY(fma_rate(dev, &variants[i], seconds / n, &rate));
        if (rate > l->value[MT_LIMIT_FMA]) {
            l->value[MT_LIMIT_FMA] = rate;
            snprintf(l->fma_by, sizeof l->fma_by, "vectors of %d, %d chains", variants[i].width,
                     variants[i].chains);
        }
    }
    return MOTLEY_OK;
}

/* ---- memory ------------------------------------------------------------------------------ */

static int read_once(struct job *j)
{
    MT_TRY(mt_launch(j->dev, j->kernel, j->grid,
                     MT_ARGS(mt_b(j->y, 0), mt_b(j->x, 0), mt_u32(j->n))));
    return mt_dev_finish(j->dev);
}

static int triad_once(struct job *j)
{
    MT_TRY(mt_launch(j->dev, j->kernel, j->grid,
                     MT_ARGS(mt_b(j->y, 0), mt_b(j->x, 0), mt_b(j->z, 0), mt_f32(0.5f),
                             mt_u32(j->n))));
    return mt_dev_finish(j->dev);
}

/* Arrays that no cache holds: several times the one that the device admits to. */
static uint64_t array_goal(const struct mt_dev *dev)
{
    uint64_t goal = (dev->info.type == MT_DEV_CPU ? 64 : 256) * MIB;
    cl_ulong cache = 0;

    if (clGetDeviceInfo(dev->id, CL_DEVICE_GLOBAL_MEM_CACHE_SIZE, sizeof cache, &cache, NULL) ==
            CL_SUCCESS && goal < 4 * cache) {
        goal = cache < 512 * MIB ? 4 * cache : 2048 * MIB;
    }
    while (goal > 4 * MIB && (goal > dev->info.memory_bytes / 8 ||
                              goal > dev->info.max_alloc_bytes)) {
        goal /= 2;
    }
    return goal;
}

/* Three arrays, smaller ones where there is no room. */
static int arrays(struct job *j, uint64_t goal)
{
    struct mt_buf **buf[] = {&j->x, &j->y, &j->z};
    int made = 0;

    for (j->bytes = goal; made < 3;) {
        int st = mt_buf_new(j->dev, j->bytes, "limits", buf[made]);

        if (st < 0 && j->bytes <= 4 * MIB) {
            return st;
        }
        made += st == MOTLEY_OK;
        while (st < 0 && made > 0) {
            mt_buf_free(*buf[--made]);
            *buf[made] = NULL;
        }
        j->bytes /= st < 0 ? 2 : 1;
    }
    return MOTLEY_OK;
}

/* Ones from the end of what is filled up to `bytes`. */
static int fill_to(struct job *j, uint64_t *filled, uint64_t bytes)
{
    struct mt_buf *buf[] = {j->x, j->y, j->z};

    for (int i = 0; i < 3; i++) {
        MT_TRY(mt_buf_fill(buf[i], *filled, bytes - *filled, 0x3f800000u));
    }
    *filled = bytes;
    return mt_dev_finish(j->dev);
}

/* The loop of every group for arrays of about so many bytes. Gives what that comes to. */
static double set_span(struct job *j, int width, uint64_t bytes)
{
    uint64_t wg = j->grid.local[0], groups = j->grid.global[0] / wg;
    uint64_t span = bytes / (4u * (uint64_t)width) / groups / (4 * wg) * (4 * wg);

    j->n = (uint32_t)(span > 0 ? span : 4 * wg);
    return 4.0 * width * (double)groups * j->n;
}

/* Arrays grow as long as fifteen runs of the slowest kernel, and filling them, fit the time. */
static int settle_size(struct job *j, int width, double seconds, uint64_t *size)
{
    uint64_t filled = 0, next;
    double fill, took;

    for (*size = MIB;; *size = next) {
        fill = now();
        MT_TRY(fill_to(j, &filled, *size));
        fill = now() - fill;
        set_span(j, width, *size);
        MT_TRY(j->once(j));
        MT_TRY(time_once(j, &took));
        next = *size * 4 < j->bytes ? *size * 4 : j->bytes;
        if (next == *size ||
            (took * 15 + fill) * (double)next / (double)*size > seconds) {
            return MOTLEY_OK;
        }
    }
}

static int measure_memory(struct mt_dev *dev, double seconds, struct mt_limits *l)
{
    static const struct {
        enum mt_limit id;
        const char *func;
        int (*once)(struct job *);
        int arrays;
    } kernels[] = {{MT_LIMIT_TRIAD, "limits_triad", triad_once, 3},
                   {MT_LIMIT_COPY, "limits_copy", read_once, 2},
                   {MT_LIMIT_READ, "limits_read", read_once, 1}};
    int gpu = dev->info.type != MT_DEV_CPU, width = gpu ? 4 : cpu_width(dev), st;
    size_t wg = !gpu && width > 1 ? 1 : MT_WG;
    struct job j = {.dev = dev, .grid = mt_groups((uint64_t)dev->info.units * (gpu ? 32 : 4), wg)};
    uint64_t size = MIB;
    char defines[64];
    double took;

    snprintf(defines, sizeof defines, "-DWG=%d -DW=%d", (int)wg, width);
    MT_TRY_OR(end, arrays(&j, array_goal(dev)));
    for (int i = 0; i < 3; i++) {
        MT_TRY_OR(end, mt_kernel_get(dev, "limits", kernels[i].func, defines, &j.kernel));
        j.once = kernels[i].once;
        if (i == 0) {   /* the slowest settles the size */
            MT_TRY_OR(end, settle_size(&j, width, seconds, &size));
        }
        l->array_bytes = set_span(&j, width, size);
        MT_TRY_OR(end, best_of(&j, seconds / 3, &took));
        l->value[kernels[i].id] = kernels[i].arrays * l->array_bytes / took;
    }
end:
    mt_buf_free(j.x);
    mt_buf_free(j.y);
    mt_buf_free(j.z);
    return st;
}

/* ---- launches ---------------------------------------------------------------------------- */

static int launches_once(struct job *j)
{
    for (uint32_t i = 0; i < j->n; i++) {
        MT_TRY(mt_launch(j->dev, j->kernel, j->grid, MT_ARGS(mt_u32(0))));
    }
    return mt_dev_finish(j->dev);
}

static int measure_launch(struct mt_dev *dev, double seconds, struct mt_limits *l)
{
    struct job j = {.once = launches_once, .dev = dev, .n = 1, .grid = mt_groups(1, MT_WG)};
    double took, fit;

    MT_TRY(mt_kernel_get(dev, "limits", "limits_empty", NULL, &j.kernel));
    MT_TRY(best_of(&j, seconds / 2, &l->value[MT_LIMIT_LAUNCH_WAIT]));
    fit = seconds / 20 / l->value[MT_LIMIT_LAUNCH_WAIT];
    j.n = fit < 10 ? 10 : fit > 1000 ? 1000 : (uint32_t)fit;
    MT_TRY(best_of(&j, seconds / 2, &took));
    l->value[MT_LIMIT_LAUNCH] = took / j.n;
    return MOTLEY_OK;
}

/* ---- transfers --------------------------------------------------------------------------- */

static int write_once(struct job *j)
{
    return mt_buf_write(j->x, 0, j->bytes, j->host);
}

static int from_once(struct job *j)
{
    return mt_buf_read(j->x, 0, j->bytes, j->host);
}

/* Where the window maps, somebody must look at the range, or nothing happens at all. */
static int window_once(struct job *j, unsigned mode)
{
    MT_TRY(mt_window_open(j->window, j->x, 0, j->bytes, mode));
    MT_TRY(mt_window_wait(j->window));
    if (j->dev->info.unified) {
        char *seen = mt_window_host(j->window);

        memcpy(mode == MT_WINDOW_WRITE ? seen : j->host, mode == MT_WINDOW_WRITE ? j->host : seen,
               (size_t)j->bytes);
    }
    MT_TRY(mt_window_close(j->window));
    return mt_dev_finish(j->dev);
}

static int window_to_once(struct job *j)
{
    return window_once(j, MT_WINDOW_WRITE);
}

static int window_from_once(struct job *j)
{
    return window_once(j, MT_WINDOW_READ);
}

static int measure_transfer(struct mt_dev *dev, double seconds, struct mt_limits *l)
{
    static const struct {
        enum mt_limit id;
        int (*once)(struct job *);
    } kinds[] = {{MT_LIMIT_TO, write_once},
                 {MT_LIMIT_FROM, from_once},
                 {MT_LIMIT_WINDOW_TO, window_to_once},
                 {MT_LIMIT_WINDOW_FROM, window_from_once}};
    uint64_t most = array_goal(dev) < 64 * MIB ? array_goal(dev) : 64 * MIB;
    struct job j = {.dev = dev, .once = write_once, .bytes = MIB};
    double took;
    int st;

    MT_TRY_OR(end, MT_NEW_N(dev->ctx, most, &j.host));
    memset(j.host, 1, (size_t)most);
    MT_TRY_OR(end, mt_buf_new(dev, most, "limits", &j.x));
    MT_TRY_OR(end, mt_window_new(dev, most, "limits", &j.window));
    MT_TRY_OR(end, write_once(&j));
    MT_TRY_OR(end, time_once(&j, &took));
    while (j.bytes * 4 <= most && took * 4 * 20 < seconds) {
        j.bytes *= 4;
        MT_TRY_OR(end, time_once(&j, &took));
    }
    l->transfer_bytes = (double)j.bytes;
    l->mapped = dev->info.unified;
    for (int i = 0; i < 4; i++) {
        j.once = kinds[i].once;
        MT_TRY_OR(end, best_of(&j, seconds / 5, &took));
        l->value[kinds[i].id] = (double)j.bytes / took;
    }
    j.bytes = 4;
    MT_TRY_OR(end, best_of(&j, seconds / 5, &l->value[MT_LIMIT_WINDOW_WAIT]));
end:
    mt_window_free(j.window);
    mt_buf_free(j.x);
    mt_free(dev->ctx, j.host);
    return st;
}

int mt_limits_measure(struct mt_dev *dev, double seconds, struct mt_limits *out)
{
    struct mt_limits l = {.mapped = 0};
    double start = now();

    MT_TRY(measure_memory(dev, seconds * FOR_MEMORY, &l));
    MT_TRY(measure_launch(dev, seconds * FOR_LAUNCH, &l));
    MT_TRY(measure_transfer(dev, seconds * FOR_TRANSFER, &l));
    MT_TRY(measure_fma(dev, seconds * FOR_FMA, &l));
    l.seconds = now() - start;
    *out = l;
    return MOTLEY_OK;
}
