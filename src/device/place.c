/* place.c -- cores and memory by hwloc; the only file that includes it.
 *
 * hwloc skips CPU devices of OpenCL and knows the place of a GPU only by its PCI address, which
 * not every driver tells: "unknown" is an ordinary answer. Without hwloc the
 * processors that the system lets this process use are counted instead. */
#define _GNU_SOURCE   /* sched_getaffinity */
#include "config.h"
#include "device/place.h"

#include "base/ctx.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int online(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    return n > 0 ? (int)n : 1;
}

#ifdef CPU_COUNT
void mt_place_processors(uint64_t *word, int n)
{
    cpu_set_t set;

    memset(word, 0, (size_t)n * sizeof *word);
    for (int i = 0; sched_getaffinity(0, sizeof set, &set) == 0 && i < 64 * n && i < CPU_SETSIZE;
         i++) {
        word[i / 64] |= (uint64_t)(CPU_ISSET(i, &set) != 0) << i % 64;
    }
}
#else
void mt_place_processors(uint64_t *word, int n)
{
    memset(word, 0, (size_t)n * sizeof *word);
}
#endif

#if MOTLEY_HAVE_HWLOC
#include <hwloc.h>

/* A topology, with PCI devices or without. Reading it takes milliseconds: set-up only. hwloc's own
 * look at OpenCL is switched off: it would be the first OpenCL call of the process, which
 * mt_dev_prepare must come before; its other libraries for devices only cost time. */
static int load(int pci, hwloc_topology_t *out)
{
    static const char *const off[] = {"opencl", "cuda", "nvml", "rsmi", "levelzero", "gl"};
    hwloc_topology_t topo;

    if (hwloc_topology_init(&topo) != 0) {
        return 0;
    }
#if HWLOC_API_VERSION >= 0x00020100
    for (size_t i = 0; i < sizeof off / sizeof off[0]; i++) {
        hwloc_topology_set_components(topo, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, off[i]);
    }
#else
    (void)off;
    pci = 0;
#endif
    if (pci) {
        hwloc_topology_set_io_types_filter(topo, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
    }
    if (hwloc_topology_load(topo) != 0) {
        hwloc_topology_destroy(topo);
        return 0;
    }
    *out = topo;
    return 1;
}

/* Processors that the calling thread may use; threads that it starts inherit them. */
static int bound_set(hwloc_topology_t topo, hwloc_bitmap_t set)
{
    if (hwloc_get_cpubind(topo, set, HWLOC_CPUBIND_THREAD) != 0) {
        hwloc_bitmap_copy(set, hwloc_topology_get_allowed_cpuset(topo));
    }
    hwloc_bitmap_and(set, set, hwloc_topology_get_topology_cpuset(topo));
    return !hwloc_bitmap_iszero(set);
}

static int cores_in(hwloc_topology_t topo, hwloc_const_bitmap_t set)
{
    int n = 0;

    for (hwloc_obj_t c = NULL;
         (c = hwloc_get_next_obj_by_type(topo, HWLOC_OBJ_CORE, c)) != NULL;) {
        n += hwloc_bitmap_intersects(c->cpuset, set);
    }
    return n > 0 ? n : hwloc_bitmap_weight(set);   /* some machines tell no cores */
}

int mt_place_cores(struct mt_ctx *ctx, int *bound, int *all)
{
    hwloc_topology_t topo;
    hwloc_bitmap_t set;

    (void)ctx;
    if (!load(0, &topo)) {
        *bound = *all = online();
        return MOTLEY_OK;
    }
    set = hwloc_bitmap_alloc();
    *all = cores_in(topo, hwloc_topology_get_topology_cpuset(topo));
    *bound = set != NULL && bound_set(topo, set) ? cores_in(topo, set) : *all;
    hwloc_bitmap_free(set);
    hwloc_topology_destroy(topo);
    return MOTLEY_OK;
}

/* "cores 0-3,8, NUMA node 0, 64 GiB" for a set of processors. */
static void describe_set(hwloc_topology_t topo, hwloc_const_bitmap_t set, char *buf, size_t room)
{
    hwloc_bitmap_t cores = hwloc_bitmap_alloc(), nodes = hwloc_bitmap_alloc();
    char core_text[48] = "", node_text[32] = "";
    double bytes = 0;

    if (cores != NULL && nodes != NULL) {
        for (hwloc_obj_t c = NULL;
             (c = hwloc_get_next_obj_by_type(topo, HWLOC_OBJ_CORE, c)) != NULL;) {
            if (hwloc_bitmap_intersects(c->cpuset, set)) {
                hwloc_bitmap_set(cores, c->logical_index);
            }
        }
        for (hwloc_obj_t m = NULL;
             (m = hwloc_get_next_obj_by_type(topo, HWLOC_OBJ_NUMANODE, m)) != NULL;) {
            if (hwloc_bitmap_intersects(m->cpuset, set)) {
                hwloc_bitmap_set(nodes, m->logical_index);
                bytes += (double)m->attr->numanode.local_memory;
            }
        }
        hwloc_bitmap_list_snprintf(core_text, sizeof core_text, cores);
        hwloc_bitmap_list_snprintf(node_text, sizeof node_text, nodes);
    }
    if (core_text[0] != '\0') {
        snprintf(buf, room, "cores %s, NUMA node %s, %.1f GiB", core_text,
                 node_text[0] != '\0' ? node_text : "unknown", bytes / 1073741824.0);
    }
    hwloc_bitmap_free(nodes);
    hwloc_bitmap_free(cores);
}

void mt_place_describe(struct mt_ctx *ctx, const char *pci, int cpu, char *buf, size_t room)
{
    hwloc_topology_t topo;
    hwloc_bitmap_t set;

    (void)ctx;
    snprintf(buf, room, "unknown");
    if ((pci[0] == '\0' && !cpu) || !load(pci[0] != '\0', &topo)) {
        return;
    }
    set = hwloc_bitmap_alloc();
    if (pci[0] != '\0') {
        hwloc_obj_t dev = hwloc_get_pcidev_by_busidstring(topo, pci);
        hwloc_obj_t near = dev != NULL ? hwloc_get_non_io_ancestor_obj(topo, dev) : NULL;

        if (near != NULL && near->cpuset != NULL) {
            describe_set(topo, near->cpuset, buf, room);
        }
    } else if (set != NULL && bound_set(topo, set)) {
        describe_set(topo, set, buf, room);
    }
    hwloc_bitmap_free(set);
    hwloc_topology_destroy(topo);
}

#else

int mt_place_cores(struct mt_ctx *ctx, int *bound, int *all)
{
    cpu_set_t set;

    (void)ctx;
    *all = online();
    *bound = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : *all;
    return MOTLEY_OK;
}

void mt_place_describe(struct mt_ctx *ctx, const char *pci, int cpu, char *buf, size_t room)
{
    (void)ctx;
    (void)pci;
    (void)cpu;
    snprintf(buf, room, "unknown");
}

#endif
