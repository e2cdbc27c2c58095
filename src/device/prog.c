/* prog.c -- from a kernel file and its defines to a built program; binaries kept between runs.
 *
 * text    = motley.clh + the file, embedded or from MOTLEY_CL_DIR
 * options = -cl-std=CL1.2, the defines, MOTLEY_CL_FLAGS; a device that needs a define of its own
 *           would get it in prog_get and nowhere else
 * A binary lies in the cache folder under the digest of everything that it depends on. It is
 * written to another name and renamed, and carries its own digest: whatever goes wrong with a
 * cache file costs a build from the text, never a failure. Many processes may do so at once. */
#define _POSIX_C_SOURCE 200809L
#include "base/ctx.h"
#include "base/file.h"
#include "base/hash.h"
#include "device/dev_impl.h"
#include "device/embedded.h"
#include "device/launch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_FORMAT "motley-cl-1"   /* part of the key and start of each file */
#define HEAD_BYTES   (sizeof CACHE_FORMAT + MT_HASH_TEXT)
#define PRELUDE      "motley.clh"

enum { LOG_LINES = 12, LOG_CHARS = 1200 };

struct mt_prog {
    struct mt_prog *next;
    char *file, *options;
    cl_program program;
};

/* ---- text ---- */

static const struct mt_embedded *embedded(const char *name)
{
    for (const struct mt_embedded *e = mt_embedded; e->name != NULL; e++) {
        if (strcmp(e->name, name) == 0) {
            return e;
        }
    }
    return NULL;
}

const char *mt_kernel_file(int i)
{
    for (const struct mt_embedded *e = mt_embedded; e->name != NULL; e++) {
        if (strchr(e->name, '.') == NULL && i-- == 0) {
            return e->name;
        }
    }
    return NULL;
}

/* name: "relu" or "motley.clh". Gives *text, ended by a zero byte. */
static int read_text(struct mt_ctx *ctx, const char *name, char **text)
{
    const char *dir = ctx->env.value[MT_ENV_CL_DIR];
    const struct mt_embedded *e;
    size_t bytes;
    char path[4096];

    if (dir != NULL) {
        snprintf(path, sizeof path, "%s/%s%s", dir, name, strchr(name, '.') ? "" : ".cl");
        return mt_file_read(ctx, path, text, &bytes);
    }
    e = embedded(name);
    MT_CHECK(e != NULL, MOTLEY_EARG, "there is no kernel file cl/%s%s", name,
             strchr(name, '.') ? "" : ".cl");
    MT_TRY(mt_mem_get(ctx, e->bytes + 1, 1, (void **)text));
    memcpy(*text, e->text, e->bytes);
    return MOTLEY_OK;
}

/* Whether a kernel file begins a line with #include "NAME": then NAME, which the compiler could
 * not find. One file may include one other. */
static int included(const char *body, char *name, size_t room)
{
    const char *at = strstr(body, "\n#include \"");
    size_t n = at != NULL ? strcspn(at + 11, "\"\n") : 0;

    if (n == 0 || n >= room) {
        return 0;
    }
    snprintf(name, room, "%.*s", (int)n, at + 11);
    return 1;
}

/* The whole text of a program: prelude, what the file includes, the file. Lines are counted from
 * the start of each, so that the compiler's messages lead there. */
static int program_text(struct mt_ctx *ctx, const char *file, char **text)
{
    char *head = NULL, *more = NULL, *body = NULL, name[64] = "";
    int st;

    MT_TRY_OR(done, read_text(ctx, PRELUDE, &head));
    MT_TRY_OR(done, read_text(ctx, file, &body));
    if (included(body, name, sizeof name)) {
        MT_TRY_OR(done, read_text(ctx, name, &more));
        memcpy(strstr(body, "\n#include \""), "\n//", 3);
    }
    MT_TRY_OR(done, mt_mem_printf(ctx, text,
                                  "#line 1 \"%s\"\n%s\n#line 1 \"%s\"\n%s\n"
                                  "#line 1 \"%s.cl\"\n%s\n",
                                  PRELUDE, head, name, more != NULL ? more : "", file, body));
done:
    mt_free(ctx, head);
    mt_free(ctx, more);
    mt_free(ctx, body);
    return st;
}

/* ---- cache ---- */

int mt_prog_cache_dir(struct mt_ctx *ctx, char *buf, size_t room)
{
    const char *own = ctx->env.value[MT_ENV_CACHE];
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n;

    if (own != NULL) {
        n = strcmp(own, "off") == 0 ? 0 : snprintf(buf, room, "%s", own);
    } else if (xdg != NULL && xdg[0] == '/') {
        n = snprintf(buf, room, "%s/motley", xdg);
    } else if (home != NULL && home[0] == '/') {
        n = snprintf(buf, room, "%s/.cache/motley", home);
    } else {
        n = 0;
    }
    return n > 0 && (size_t)n < room;
}

/* Path of the binary of (device, text, options) into buf; 0 if there is no cache. */
static int cache_path(struct mt_dev *dev, const char *text, const char *options, char *buf,
                      size_t room)
{
    struct mt_hash *h = NULL;
    char dir[3072], key[MT_HASH_TEXT];

    if (!mt_prog_cache_dir(dev->ctx, dir, sizeof dir) || mt_hash_new(dev->ctx, &h) < 0) {
        return 0;
    }
    mt_hash_add_text(h, CACHE_FORMAT);
    mt_hash_add_text(h, text);
    mt_hash_add_text(h, options);
    mt_hash_add_text(h, dev->info.platform_name);
    mt_hash_add_text(h, dev->platform_version);
    mt_hash_add_text(h, dev->info.name);
    mt_hash_add_text(h, dev->info.version);
    mt_hash_add_text(h, dev->info.driver);
    mt_hash_text(h, key);
    mt_hash_free(h);
    return snprintf(buf, room, "%s/cl/%s", dir, key) < (int)room;
}

/* From a cache file: CACHE_FORMAT\0 digest\0 binary. NULL where that does not work out, for
 * whatever reason. */
static cl_program from_cache(struct mt_dev *dev, const char *path, const char *options)
{
    struct mt_ctx *ctx = dev->ctx;
    cl_program p = NULL;
    char *data = NULL, digest[MT_HASH_TEXT];
    const unsigned char *binary;
    size_t bytes = 0;
    cl_int code = CL_SUCCESS, status = CL_SUCCESS;

    if (!mt_file_exists(path) || mt_file_read(ctx, path, &data, &bytes) < 0) {
        return NULL;
    }
    if (bytes > HEAD_BYTES && memcmp(data, CACHE_FORMAT, sizeof CACHE_FORMAT) == 0) {
        mt_hash_block(data + HEAD_BYTES, bytes - HEAD_BYTES, digest);
        if (memcmp(data + sizeof CACHE_FORMAT, digest, sizeof digest) == 0) {
            binary = (const unsigned char *)data + HEAD_BYTES;
            bytes -= HEAD_BYTES;
            p = clCreateProgramWithBinary(dev->context, 1, &dev->id, &bytes, &binary, &status,
                                          &code);
        }
    }
    mt_free(ctx, data);
    if (p != NULL && (code != CL_SUCCESS || status != CL_SUCCESS ||
                      clBuildProgram(p, 1, &dev->id, options, NULL, NULL) != CL_SUCCESS)) {
        clReleaseProgram(p);
        p = NULL;
    }
    if (p == NULL) {
        mt_log(ctx, MT_LOG_DEBUG, "dev", "%s: damaged or refused by the driver, building from "
               "the text", path);
    }
    return p;
}

static int write_binary(struct mt_dev *dev, cl_program p, const char *path)
{
    struct mt_ctx *ctx = dev->ctx;
    size_t bytes = 0;
    char *data = NULL, dir[3200];
    unsigned char *binary;
    int st;

    MT_CL(dev, clGetProgramInfo(p, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes, NULL));
    MT_CHECK(bytes > 0, MOTLEY_EUNSUP, "the driver gives no binary");
    MT_TRY(mt_mem_get(ctx, HEAD_BYTES + bytes, 1, (void **)&data));
    binary = (unsigned char *)data + HEAD_BYTES;
    MT_CL_OR(done, dev, clGetProgramInfo(p, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL));
    memcpy(data, CACHE_FORMAT, sizeof CACHE_FORMAT);
    mt_hash_block(binary, bytes, data + sizeof CACHE_FORMAT);
    snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(path, '/') - path), path);
    MT_TRY_OR(done, mt_dir_make(ctx, dir));
    MT_TRY_OR(done, mt_file_write(ctx, path, data, HEAD_BYTES + bytes));
done:
    mt_free(ctx, data);
    return st;
}

/* ---- build ---- */

/* The first lines of the build log into buf. */
static void first_lines(struct mt_dev *dev, cl_program p, char *buf, size_t room)
{
    char *log = NULL;
    size_t bytes = 0, n = 0;
    int lines = 0;

    buf[0] = '\0';
    if (clGetProgramBuildInfo(p, dev->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes) != CL_SUCCESS ||
        mt_mem_get(dev->ctx, bytes + 1, 1, (void **)&log) < 0) {
        return;
    }
    if (clGetProgramBuildInfo(p, dev->id, CL_PROGRAM_BUILD_LOG, bytes, log, NULL) ==
        CL_SUCCESS) {
        while (log[n] != '\0' && n < LOG_CHARS && n + 1 < room && lines < LOG_LINES) {
            lines += log[n++] == '\n';
        }
        while (n > 0 && log[n - 1] == '\n') {
            n--;
        }
        snprintf(buf, room, "%.*s", (int)n, log);
    }
    mt_free(dev->ctx, log);
}

static int from_text(struct mt_dev *dev, const char *file, const char *text,
                     const char *options, cl_program *out)
{
    cl_program p;
    cl_int code;
    char log[LOG_CHARS + 1], where[320];

    p = clCreateProgramWithSource(dev->context, 1, &text, NULL, &code);
    MT_CL_DID(dev, "clCreateProgramWithSource", code);
    code = clBuildProgram(p, 1, &dev->id, options, NULL, NULL);
    if (code != CL_SUCCESS) {
        first_lines(dev, p, log, sizeof log);
        clReleaseProgram(p);
        MT_FAIL(MOTLEY_EDEV, "cl/%s.cl does not build on %s with options \"%s\": %s (%d)\n%s",
                file, mt_cl_device(dev, where, sizeof where), options, mt_cl_name(code),
                (int)code, log);
    }
    *out = p;
    return MOTLEY_OK;
}

static int build(struct mt_dev *dev, const char *file, const char *options, cl_program *out)
{
    struct mt_ctx *ctx = dev->ctx;
    char *text = NULL, path[4096];
    cl_program p = NULL;
    int cached, st = MOTLEY_OK;

    MT_TRY(program_text(ctx, file, &text));
    cached = cache_path(dev, text, options, path, sizeof path);
    if (cached) {
        p = from_cache(dev, path, options);
    }
    if (p == NULL) {
        MT_TRY_OR(done, from_text(dev, file, text, options, &p));
        if (cached && write_binary(dev, p, path) < 0) {
            mt_log(ctx, MT_LOG_DEBUG, "dev", "binary of cl/%s.cl is not kept: %s", file,
                   mt_err_text());
        }
    } else {
        mt_log(ctx, MT_LOG_DEBUG, "dev", "cl/%s.cl: binary taken from %s", file, path);
    }
    *out = p;
done:
    mt_free(ctx, text);
    return st;
}

static void prog_free(struct mt_dev *dev, struct mt_prog *p)
{
    if (p->program != NULL) {
        clReleaseProgram(p->program);
    }
    mt_free(dev->ctx, p->file);
    mt_free(dev->ctx, p->options);
    mt_free(dev->ctx, p);
}

/* The program of a file and options, built at the first request. */
static int prog_get(struct mt_dev *dev, const char *file, const char *defines,
                    struct mt_prog **out)
{
    struct mt_ctx *ctx = dev->ctx;
    const char *flags = ctx->env.value[MT_ENV_CL_FLAGS];
    struct mt_prog *p = NULL;
    char *options = NULL;
    int st;

    MT_TRY(mt_mem_printf(ctx, &options, "-cl-std=CL1.2%s%s%s%s",
                         defines != NULL && *defines != '\0' ? " " : "",
                         defines != NULL ? defines : "", flags != NULL ? " " : "",
                         flags != NULL ? flags : ""));
    for (p = dev->progs; p != NULL; p = p->next) {
        if (strcmp(p->file, file) == 0 && strcmp(p->options, options) == 0) {
            mt_free(ctx, options);
            *out = p;
            return MOTLEY_OK;
        }
    }
    MT_TRY_OR(fail, MT_NEW(ctx, &p));
    p->options = options;
    options = NULL;
    MT_TRY_OR(fail, mt_mem_strdup(ctx, file, &p->file));
    MT_TRY_OR(fail, build(dev, file, p->options, &p->program));
    p->next = dev->progs;
    dev->progs = p;
    *out = p;
    return MOTLEY_OK;
fail:
    mt_free(ctx, options);
    if (p != NULL) {
        prog_free(dev, p);
    }
    return st;
}

int mt_kernel_build(struct mt_dev *dev, const char *file, const char *defines)
{
    struct mt_prog *prog = NULL;

    return prog_get(dev, file, defines, &prog);
}

static void kernel_free(struct mt_dev *dev, struct mt_kernel *k)
{
    if (k->kernel != NULL) {
        clReleaseKernel(k->kernel);
    }
    mt_free(dev->ctx, k->func);
    mt_free(dev->ctx, k);
}

static int kernel_new(struct mt_dev *dev, struct mt_prog *prog, const char *func,
                      struct mt_kernel **out)
{
    struct mt_kernel *k = NULL;
    cl_int code;
    int st;

    MT_TRY(MT_NEW(dev->ctx, &k));
    k->prog = prog;
    k->file = prog->file;
    MT_TRY_OR(fail, mt_mem_strdup(dev->ctx, func, &k->func));
    k->kernel = clCreateKernel(prog->program, func, &code);
    MT_CL_DID_OR(fail, dev, "clCreateKernel", code);
    MT_CL_OR(fail, dev, clGetKernelInfo(k->kernel, CL_KERNEL_NUM_ARGS, sizeof k->args, &k->args,
                                        NULL));
    MT_CL_OR(fail, dev, clGetKernelWorkGroupInfo(k->kernel, dev->id, CL_KERNEL_WORK_GROUP_SIZE,
                                                 sizeof k->max_group, &k->max_group, NULL));
    if (strcmp(dev->info.platform_name, "rusticl") == 0) {
        /* Mesa 22.3.6 (2026-11) tells 32 for every kernel and runs groups of any size. */
        k->max_group = dev->info.max_group;
    }
    *out = k;
    return MOTLEY_OK;
fail:
    kernel_free(dev, k);
    mt_err_prefix("kernel %s of cl/%s.cl: ", func, prog->file);
    return st;
}

int mt_kernel_get(struct mt_dev *dev, const char *file, const char *func, const char *defines,
                  struct mt_kernel **kernel)
{
    struct mt_prog *prog = NULL;
    struct mt_kernel *k;

    MT_TRY(prog_get(dev, file, defines, &prog));
    for (k = dev->kernels; k != NULL; k = k->next) {
        if (k->prog == prog && strcmp(k->func, func) == 0) {
            *kernel = k;
            return MOTLEY_OK;
        }
    }
    MT_TRY(kernel_new(dev, prog, func, &k));
    k->next = dev->kernels;
    dev->kernels = k;
    *kernel = k;
    return MOTLEY_OK;
}

void mt_prog_free_all(struct mt_dev *dev)
{
    while (dev->kernels != NULL) {
        struct mt_kernel *k = dev->kernels;

        dev->kernels = k->next;
        kernel_free(dev, k);
    }
    while (dev->progs != NULL) {
        struct mt_prog *p = dev->progs;

        dev->progs = p->next;
        prog_free(dev, p);
    }
}
