/* dev.c -- what OpenCL offers, and the open device.
 *
 * A device is identified by its position as the ICD loader lists it, so the same words mean the
 * same device in clinfo and here. All information is asked with OpenCL 1.2 calls. */
#define _POSIX_C_SOURCE 200809L
#include "device/dev.h"

#include "base/ctx.h"
#include "device/bell.h"
#include "device/dev_impl.h"
#include "device/devtrace.h"
#include "device/gemm_impl.h"
#include "device/place.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PLATFORMS = 32, MAX_DEVICES = 64 };

/* Implementations begin when they are first asked, and PoCL 3.1 does so without a lock of its own:
 * threads that ask for devices at the same moment crash in it. A variable of the process, because
 * what it guards is one. */
static pthread_mutex_t asking = PTHREAD_MUTEX_INITIALIZER;

/* Queries of extensions, which not every CL/cl_ext.h names. */
enum {
    PCI_BUS_NV = 0x4008, PCI_SLOT_NV = 0x4009, PCI_DOMAIN_NV = 0x400A,
    TOPOLOGY_AMD = 0x4037, PCI_INFO_KHR = 0x410F
};

const char *mt_dev_type_name(enum mt_dev_type type)
{
    static const char *const name[] = {"gpu", "accelerator", "cpu", "other"};

    return name[type];
}

/* Text of a device or platform without blanks at its ends; "" if it is not told. */
static void tidy(char *s)
{
    size_t n = strlen(s), lead = strspn(s, " \t\n");

    while (n > 0 && isspace((unsigned char)s[n - 1])) {
        s[--n] = '\0';
    }
    if (lead > 0 && lead < n) {
        memmove(s, s + lead, n - lead + 1);
    }
}

/* Reads text of any length into room bytes; what is too long is cut. */
static void device_text(cl_device_id id, cl_device_info what, char *buf, size_t room)
{
    char text[1024] = "";

    if (clGetDeviceInfo(id, what, sizeof text - 1, text, NULL) != CL_SUCCESS) {
        text[0] = '\0';
    }
    tidy(text);
    snprintf(buf, room, "%s", text);
}

static void platform_text(cl_platform_id id, cl_platform_info what, char *buf, size_t room)
{
    char text[1024] = "";

    if (clGetPlatformInfo(id, what, sizeof text - 1, text, NULL) != CL_SUCCESS) {
        text[0] = '\0';
    }
    tidy(text);
    snprintf(buf, room, "%s", text);
}

static cl_uint device_uint(cl_device_id id, cl_device_info what)
{
    cl_uint x = 0;

    return clGetDeviceInfo(id, what, sizeof x, &x, NULL) == CL_SUCCESS ? x : 0;
}

static cl_ulong device_ulong(cl_device_id id, cl_device_info what)
{
    cl_ulong x = 0;

    return clGetDeviceInfo(id, what, sizeof x, &x, NULL) == CL_SUCCESS ? x : 0;
}

/* Whether a device names an extension in its list of any length. */
static int has_extension(struct mt_ctx *ctx, cl_device_id id, const char *name)
{
    char *text = NULL;
    size_t bytes = 0, len = strlen(name);
    int found = 0;

    if (clGetDeviceInfo(id, CL_DEVICE_EXTENSIONS, 0, NULL, &bytes) != CL_SUCCESS ||
        mt_mem_get(ctx, bytes + 1, 1, (void **)&text) < 0) {
        return 0;
    }
    if (clGetDeviceInfo(id, CL_DEVICE_EXTENSIONS, bytes, text, NULL) == CL_SUCCESS) {
        for (const char *s = text; !found && (s = strstr(s, name)) != NULL; s += len) {
            found = (s == text || s[-1] == ' ') && (s[len] == ' ' || s[len] == '\0');
        }
    }
    mt_free(ctx, text);
    return found;
}

static void pci_address(struct mt_ctx *ctx, cl_device_id id, char *buf, size_t room)
{
    cl_uint khr[4];                        /* domain, bus, device, function */
    union {
        cl_uint word[6];
        struct {
            cl_uint type;
            cl_char unused[17], bus, device, function;
        } pcie;
    } amd;

    buf[0] = '\0';
    if (has_extension(ctx, id, "cl_khr_pci_bus_info") &&
        clGetDeviceInfo(id, PCI_INFO_KHR, sizeof khr, khr, NULL) == CL_SUCCESS) {
        snprintf(buf, room, "%04x:%02x:%02x.%x", (unsigned)khr[0], (unsigned)khr[1],
                 (unsigned)khr[2], (unsigned)khr[3]);
    } else if (has_extension(ctx, id, "cl_nv_device_attribute_query")) {
        cl_uint slot = device_uint(id, PCI_SLOT_NV);   /* device * 8 + function */

        snprintf(buf, room, "%04x:%02x:%02x.%x", (unsigned)device_uint(id, PCI_DOMAIN_NV),
                 (unsigned)device_uint(id, PCI_BUS_NV), (unsigned)(slot >> 3 & 31),
                 (unsigned)(slot & 7));
    } else if (has_extension(ctx, id, "cl_amd_device_attribute_query") &&
               clGetDeviceInfo(id, TOPOLOGY_AMD, sizeof amd, &amd, NULL) == CL_SUCCESS &&
               amd.pcie.type == 1) {
        snprintf(buf, room, "0000:%02x:%02x.%x", (unsigned)(cl_uchar)amd.pcie.bus,
                 (unsigned)(cl_uchar)amd.pcie.device, (unsigned)(cl_uchar)amd.pcie.function);
    }
}

static enum mt_dev_type type_of(cl_device_id id)
{
    cl_device_type type = 0;

    if (clGetDeviceInfo(id, CL_DEVICE_TYPE, sizeof type, &type, NULL) != CL_SUCCESS) {
        return MT_DEV_OTHER;
    }
    /* Oclgrind calls itself all of them; what it runs on is a CPU. */
    return type & CL_DEVICE_TYPE_CPU           ? MT_DEV_CPU
           : type & CL_DEVICE_TYPE_GPU         ? MT_DEV_GPU
           : type & CL_DEVICE_TYPE_ACCELERATOR ? MT_DEV_ACCELERATOR
                                               : MT_DEV_OTHER;
}

static int can_divide(cl_device_id id)
{
    cl_device_partition_property how[16];
    size_t bytes = 0;

    if (clGetDeviceInfo(id, CL_DEVICE_PARTITION_PROPERTIES, sizeof how, how, &bytes) !=
        CL_SUCCESS) {
        return 0;
    }
    for (size_t i = 0; i < bytes / sizeof how[0]; i++) {
        if (how[i] == CL_DEVICE_PARTITION_BY_COUNTS) {
            return 1;
        }
    }
    return 0;
}

static void describe(struct mt_ctx *ctx, cl_platform_id platform, cl_device_id id,
                     struct mt_dev_info *info)
{
    cl_device_exec_capabilities exec = 0;
    cl_bool yes = CL_FALSE;
    size_t group = 0;

    info->type = type_of(id);
    device_text(id, CL_DEVICE_NAME, info->name, sizeof info->name);
    device_text(id, CL_DEVICE_VENDOR, info->vendor, sizeof info->vendor);
    device_text(id, CL_DRIVER_VERSION, info->driver, sizeof info->driver);
    device_text(id, CL_DEVICE_VERSION, info->version, sizeof info->version);
    platform_text(platform, CL_PLATFORM_NAME, info->platform_name, sizeof info->platform_name);
    info->units = info->all_units = device_uint(id, CL_DEVICE_MAX_COMPUTE_UNITS);
    info->clock_mhz = device_uint(id, CL_DEVICE_MAX_CLOCK_FREQUENCY);
    info->memory_bytes = device_ulong(id, CL_DEVICE_GLOBAL_MEM_SIZE);
    info->max_alloc_bytes = device_ulong(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    info->all_memory_bytes = info->memory_bytes;
    info->all_max_alloc_bytes = info->max_alloc_bytes;
    info->local_bytes = device_ulong(id, CL_DEVICE_LOCAL_MEM_SIZE);
    if (clGetDeviceInfo(id, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof group, &group, NULL) ==
        CL_SUCCESS) {
        info->max_group = group;
    }
    /* Only CPUs: a GPU that shares memory may still prefer its own kind of allocation, and the
     * way through pinned memory is right everywhere. */
    if (clGetDeviceInfo(id, CL_DEVICE_HOST_UNIFIED_MEMORY, sizeof yes, &yes, NULL) ==
        CL_SUCCESS) {
        info->unified = yes == CL_TRUE && info->type == MT_DEV_CPU;
    }
    info->can_divide = can_divide(id);
    if (clGetDeviceInfo(id, CL_DEVICE_EXECUTION_CAPABILITIES, sizeof exec, &exec, NULL) ==
        CL_SUCCESS) {
        info->native_kernels = (exec & CL_EXEC_NATIVE_KERNEL) != 0;
    }
    pci_address(ctx, id, info->pci, sizeof info->pci);
    mt_place_describe(ctx, info->pci, info->type == MT_DEV_CPU, info->place,
                      sizeof info->place);
}

static int by_order(const void *pa, const void *pb)
{
    const struct mt_dev_info *a = pa, *b = pb;
    int c;

    if (a->type != b->type) {
        return a->type < b->type ? -1 : 1;
    }
    c = strcmp(a->platform_name, b->platform_name);
    c = c != 0 ? c : strcmp(a->pci, b->pci);
    c = c != 0 ? c : (a->platform > b->platform) - (a->platform < b->platform);
    return c != 0 ? c : (a->device > b->device) - (a->device < b->device);
}

/* Platforms that the loader knows; none at all is no error. */
static int platforms(cl_platform_id *id, int *n)
{
    cl_uint count = 0;
    cl_int code;

    pthread_mutex_lock(&asking);
    code = clGetPlatformIDs(MAX_PLATFORMS, id, &count);
    pthread_mutex_unlock(&asking);
    if (code == -1001) {   /* CL_PLATFORM_NOT_FOUND_KHR: the loader's word for an empty list */
        count = 0;
        code = CL_SUCCESS;
    }
    MT_CL_DID(NULL, "clGetPlatformIDs", code);
    *n = count > MAX_PLATFORMS ? MAX_PLATFORMS : (int)count;
    return MOTLEY_OK;
}

/* Devices of one platform; 0 with a message where it has none or does not work. */
static int devices(struct mt_ctx *ctx, int p, cl_platform_id platform, cl_device_id *id)
{
    cl_uint count = 0;
    cl_int code;
    char name[128];

    pthread_mutex_lock(&asking);
    code = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, MAX_DEVICES, id, &count);
    pthread_mutex_unlock(&asking);
    if (code == CL_SUCCESS && count > 0) {
        return count > MAX_DEVICES ? MAX_DEVICES : (int)count;
    }
    platform_text(platform, CL_PLATFORM_NAME, name, sizeof name);
    if (code == CL_SUCCESS || code == CL_DEVICE_NOT_FOUND) {
        mt_log(ctx, MT_LOG_DEBUG, "dev", "OpenCL platform %d (%s) has no device", p, name);
    } else {
        mt_log(ctx, MT_LOG_WARN, "dev", "OpenCL platform %d (%s) is left out: clGetDeviceIDs "
               "gives %s (%d)", p, name, mt_cl_name(code), (int)code);
    }
    return 0;
}

int mt_dev_list(struct mt_ctx *ctx, struct mt_dev_info **list, int *n)
{
    cl_platform_id platform[MAX_PLATFORMS];
    cl_device_id id[MAX_DEVICES];
    struct mt_dev_info *all = NULL;
    int nplatforms, count = 0, st;

    MT_TRY(platforms(platform, &nplatforms));
    for (int p = 0; p < nplatforms; p++) {
        int more = devices(ctx, p, platform[p], id);

        if (more == 0) {
            continue;
        }
        MT_TRY_OR(fail, MT_RESIZE(ctx, count + more, &all));
        for (int d = 0; d < more; d++, count++) {
            all[count].platform = p;
            all[count].device = d;
            describe(ctx, platform[p], id[d], &all[count]);
        }
    }
    if (count > 0) {
        qsort(all, (size_t)count, sizeof *all, by_order);
    }
    *list = all;
    *n = count;
    return MOTLEY_OK;
fail:
    mt_free(ctx, all);
    return st;
}

/* Finds the device again by its position; it must still be the same one. */
static int find(struct mt_dev *dev)
{
    const struct mt_dev_info *info = &dev->info;
    cl_platform_id platform[MAX_PLATFORMS];
    cl_device_id id[MAX_DEVICES];
    char name[sizeof info->name];
    int n;

    MT_TRY(platforms(platform, &n));
    MT_CHECK(info->platform >= 0 && info->platform < n, MOTLEY_EDEV,
             "OpenCL platform %d does not exist, there are %d", info->platform, n);
    dev->platform = platform[info->platform];
    n = devices(dev->ctx, info->platform, dev->platform, id);
    MT_CHECK(info->device >= 0 && info->device < n, MOTLEY_EDEV,
             "OpenCL device %d:%d does not exist, platform %d has %d devices", info->platform,
             info->device, info->platform, n);
    dev->id = id[info->device];
    device_text(dev->id, CL_DEVICE_NAME, name, sizeof name);
    MT_CHECK(strcmp(name, info->name) == 0, MOTLEY_EDEV,
             "OpenCL device %d:%d is now %s, it was %s", info->platform, info->device, name,
             info->name);
    platform_text(dev->platform, CL_PLATFORM_VERSION, dev->platform_version,
                  sizeof dev->platform_version);
    MT_CHECK(device_uint(dev->id, CL_DEVICE_AVAILABLE) != CL_FALSE, MOTLEY_EDEV,
             "device %d:%d %s is not available (CL_DEVICE_AVAILABLE is false)", info->platform,
             info->device, info->name);
    MT_CHECK(device_uint(dev->id, CL_DEVICE_COMPILER_AVAILABLE) != CL_FALSE, MOTLEY_EUNSUP,
             "device %d:%d %s has no OpenCL C compiler", info->platform, info->device,
             info->name);
    return MOTLEY_OK;
}

/* Takes our share of a CPU that several processes drive: cores of the machine by processes. A
 * process that is bound to so few cores, or limited by its user, has no more than that already. */
static int divide(struct mt_dev *dev, int sharers)
{
    struct mt_dev_info *info = &dev->info;
    cl_device_partition_property how[4] = {CL_DEVICE_PARTITION_BY_COUNTS, 0,
                                           CL_DEVICE_PARTITION_BY_COUNTS_LIST_END, 0};
    cl_device_id part = NULL;
    cl_uint share, got = 0;
    int bound, all;

    if (mt_place_cores(dev->ctx, &bound, &all) < 0) {
        all = (int)info->units;
    }
    share = all > sharers ? (cl_uint)(all / sharers) : 1;
    if (share >= info->units) {
        return MOTLEY_OK;
    }
    if (!info->can_divide) {
        mt_log(dev->ctx, MT_LOG_INFO, "dev", "device %d:%d %s cannot be divided: %d processes "
               "compete for its %u units", info->platform, info->device, info->name, sharers,
               (unsigned)info->units);
        return MOTLEY_OK;
    }
    how[1] = (cl_device_partition_property)share;
    MT_CL(dev, clCreateSubDevices(dev->id, how, 1, &part, &got));
    dev->id = part;
    dev->divided = 1;
    info->units = share;
    return MOTLEY_OK;
}

int mt_dev_open(struct mt_ctx *ctx, const struct mt_dev_info *info, int sharers,
                struct mt_dev **out)
{
    struct mt_dev *dev = NULL;
    cl_context_properties props[3] = {CL_CONTEXT_PLATFORM, 0, 0};
    cl_int code;
    int st;

    MT_TRY(MT_NEW(ctx, &dev));
    dev->ctx = ctx;
    dev->info = *info;
    dev->guard = mt_env_has(&ctx->env, MT_ENV_DEBUG, "guard");
    MT_TRY_OR(fail, find(dev));
    if (sharers > 1 && info->type == MT_DEV_CPU) {
        MT_TRY_OR(fail, divide(dev, sharers));
    }
    dev->base_align = device_uint(dev->id, CL_DEVICE_MEM_BASE_ADDR_ALIGN) / 8;
    props[1] = (cl_context_properties)dev->platform;
    dev->context = clCreateContext(props, 1, &dev->id, NULL, NULL, &code);
    MT_CL_DID_OR(fail, dev, "clCreateContext", code);
    for (int q = 0; q < MT_QUEUE_COUNT; q++) {
        dev->queue[q] = clCreateCommandQueue(
            dev->context, dev->id, ctx->trace != NULL ? CL_QUEUE_PROFILING_ENABLE : 0, &code);
        MT_CL_DID_OR(fail, dev, "clCreateCommandQueue", code);
    }
    MT_TRY_OR(fail, mt_bell_new(ctx, &dev->bell));
    MT_TRY_OR(fail, mt_devtrace_new(dev));
    mt_log(ctx, MT_LOG_INFO, "dev", "device %d:%d %s, driver %s: %u of %u units, %d sharing it",
           info->platform, info->device, info->name, info->driver, (unsigned)dev->info.units,
           (unsigned)info->all_units, sharers > 1 ? sharers : 1);
    *out = dev;
    return MOTLEY_OK;
fail:
    mt_dev_close(dev);
    return st;
}

void mt_dev_close(struct mt_dev *dev)
{
    if (dev == NULL) {
        return;
    }
    for (int q = 0; q < MT_QUEUE_COUNT; q++) {
        if (dev->queue[q] != NULL) {
            clFinish(dev->queue[q]);
        }
    }
    for (struct mt_buf *b = dev->bufs; b != NULL; b = b->next) {
        mt_log(dev->ctx, MT_LOG_WARN, "dev", "buffer \"%s\" outlives its device", b->what);
    }
    mt_devtrace_free(dev);
    mt_gemm_memo_free(dev);
    mt_gemm_tuning_free(dev);
    mt_prog_free_all(dev);
    if (dev->mark != NULL) {
        clReleaseEvent(dev->mark);
    }
    for (int q = MT_QUEUE_COUNT - 1; q >= 0; q--) {
        if (dev->queue[q] != NULL) {
            clReleaseCommandQueue(dev->queue[q]);
        }
    }
    mt_bell_free(dev->ctx, dev->bell);
    if (dev->context != NULL) {
        clReleaseContext(dev->context);
    }
    /* PoCL's threads still look at the device of an event that clFinish has seen ended (PoCL 3.1,
     * 2026-11: use after free under valgrind), so its part of a device stays until the process
     * ends. */
    if (dev->divided && strcmp(dev->info.platform_name, "Portable Computing Language") != 0) {
        clReleaseDevice(dev->id);
    }
    mt_free(dev->ctx, dev);
}

/* The lower of what the device has (0: it does not say) and a limit (0: none). */
static uint64_t limited(uint64_t all, uint64_t limit, int bit, int *bits)
{
    int less = limit > 0 && (all == 0 || limit < all);

    *bits = less ? *bits | bit : *bits & ~bit;
    return less ? limit : all;
}

void mt_dev_limit(struct mt_dev *dev, uint64_t memory_bytes, uint64_t max_alloc_bytes)
{
    struct mt_dev_info *i = &dev->info;

    i->memory_bytes = limited(i->all_memory_bytes, memory_bytes, MT_DEV_LIMIT_MEMORY, &i->limited);
    i->max_alloc_bytes =
        limited(i->all_max_alloc_bytes, max_alloc_bytes, MT_DEV_LIMIT_ALLOC, &i->limited);
}

const char *mt_dev_memory_word(const struct mt_dev_info *info)
{
    return info->limited & MT_DEV_LIMIT_MEMORY ? "device.memory" : "CL_DEVICE_GLOBAL_MEM_SIZE";
}

const char *mt_dev_alloc_word(const struct mt_dev_info *info)
{
    return info->limited & MT_DEV_LIMIT_ALLOC ? "device.max_alloc" : "CL_DEVICE_MAX_MEM_ALLOC_SIZE";
}

const struct mt_dev_info *mt_dev_info(const struct mt_dev *dev)
{
    return &dev->info;
}

int mt_dev_vector(const struct mt_dev *dev)
{
    return dev->info.type == MT_DEV_CPU && !mt_env_has(&dev->ctx->env, MT_ENV_DEBUG, "scalar")
               ? 16 : 1;
}

struct mt_ctx *mt_dev_ctx(const struct mt_dev *dev)
{
    return dev->ctx;
}

int mt_dev_flush(struct mt_dev *dev)
{
    for (int q = 0; q < MT_QUEUE_COUNT; q++) {
        MT_CL(dev, clFlush(dev->queue[q]));
    }
    mt_devtrace_collect(dev, 0);
    return MOTLEY_OK;
}

/* clFinish of Mesa 22.3.6 waits for what was not flushed yet, and for nothing else (2026-11). */
static int wait_marker(struct mt_dev *dev, cl_command_queue queue)
{
    cl_event marker = NULL;
    cl_int code;

    MT_CL(dev, clEnqueueMarkerWithWaitList(queue, 0, NULL, &marker));
    code = clWaitForEvents(1, &marker);
    clReleaseEvent(marker);
    MT_CL_DID(dev, "clWaitForEvents", code);
    return MOTLEY_OK;
}

int mt_dev_finish(struct mt_dev *dev)
{
    int rusticl = strcmp(dev->info.platform_name, "rusticl") == 0;

    MT_TRY(mt_dev_flush(dev));   /* each queue may wait for the other one */
    for (int q = 0; q < MT_QUEUE_COUNT; q++) {
        if (rusticl) {
            MT_TRY(wait_marker(dev, dev->queue[q]));
        }
        MT_CL(dev, clFinish(dev->queue[q]));
    }
    mt_devtrace_collect(dev, 1);
    return dev->guard ? mt_buf_check_all(dev) : MOTLEY_OK;
}

uint64_t mt_dev_launches(const struct mt_dev *dev)
{
    return dev->launches;
}

uint64_t mt_dev_allocations(const struct mt_dev *dev)
{
    return dev->allocations;
}

uint64_t mt_dev_allocated_bytes(const struct mt_dev *dev)
{
    return dev->allocated_bytes;
}
