/* assign.c -- proves which device each process of a node gets, or which words the refusal has, by a
 * table of made-up machines and wishes. Needs no device. */
#include "base/ctx.h"
#include "device/dev.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define GPU(p, d, n, a)                                                                       \
    {.platform = (p), .device = (d), .type = MT_DEV_GPU, .name = n, .platform_name = "Vendor", \
     .vendor = "Vendor", .pci = a}
#define POCL(p)                                                                               \
    {.platform = (p), .type = MT_DEV_CPU, .name = "pthread-x", .version = "OpenCL 3.0 PoCL",  \
     .platform_name = "Portable Computing Language"}
#define PIPE(p)                                                                               \
    {.platform = (p), .type = MT_DEV_CPU, .name = "llvmpipe (LLVM 15)",                       \
     .platform_name = "rusticl"}
#define INTEL(p)                                                                              \
    {.platform = (p), .type = MT_DEV_CPU, .name = "Xeon", .vendor = "Intel",                  \
     .platform_name = "Intel(R) OpenCL"}

static const struct mt_dev_info two_gpus[] = {GPU(0, 0, "Alpha 9", "0000:01:00.0"),
                                              GPU(0, 1, "Beta 7", "0000:02:00.0"), POCL(1)};
static const struct mt_dev_info gpus_only[] = {GPU(0, 0, "Alpha 9", ""), GPU(0, 1, "Beta 7", "")};
static const struct mt_dev_info cpus[] = {INTEL(2), PIPE(1), POCL(0)};
static const struct mt_dev_info no_pocl[] = {PIPE(0), INTEL(1)};
/* One GPU that two platforms offer, and another one. */
static const struct mt_dev_info twice[] = {GPU(0, 0, "Alpha 9", "0000:01:00.0"),
                                           GPU(1, 0, "Alpha 9 (rusticl)", "0000:01:00.0"),
                                           GPU(1, 1, "Beta 7", "0000:02:00.0")};
static const struct mt_dev_info mixed[] = {
    GPU(0, 0, "Alpha 9", ""),
    {.platform = 3, .type = MT_DEV_ACCELERATOR, .name = "Board", .platform_name = "FPGA"},
    POCL(1),
    {.platform = 4, .type = MT_DEV_OTHER, .name = "Fixed", .platform_name = "Custom"}};

#define ON(list) list, (int)(sizeof list / sizeof list[0])

enum { MOST = 5 };

static const struct row {
    const char *what;
    const struct mt_dev_info *list;
    int n;
    const char *want[MOST];
    int size, share;
    int got[MOST], sharers[MOST];
    const char *words[6];          /* of the refusal; NULL: there is none */
} rows[] = {
    {"one takes the first GPU", ON(two_gpus), {"auto"}, 1, 0, {0}, {1}, {NULL}},
    {"no wish is auto", ON(two_gpus), {NULL, ""}, 2, 0, {0, 1}, {1, 1}, {NULL}},
    {"the CPU is for whom no GPU is left", ON(two_gpus), {"auto", "auto", "auto", "auto"}, 4, 0,
     {0, 1, 2, 2}, {1, 1, 2, 2}, {NULL}},
    {"sharing that is asked for shares GPUs", ON(two_gpus), {"auto", "auto", "auto", "auto"}, 4,
     1, {0, 1, 0, 1}, {2, 2, 2, 2}, {NULL}},
    {"accelerators come behind GPUs", ON(mixed), {"auto", "auto", "auto"}, 3, 0, {0, 1, 2},
     {1, 1, 1}, {NULL}},
    {"names are served before auto", ON(two_gpus), {"auto", "alpha"}, 2, 0, {1, 0}, {1, 1},
     {NULL}},
    {"positions before names", ON(two_gpus), {"VENDOR", "0:0"}, 2, 0, {1, 0}, {1, 1}, {NULL}},
    {"types before auto", ON(two_gpus), {"auto", "gpu", "GPU"}, 3, 0, {2, 0, 1}, {1, 1, 1},
     {NULL}},
    {"a CPU is shared without being asked", ON(cpus), {"auto", "auto", "cpu"}, 3, 0, {2, 2, 2},
     {3, 3, 3}, {NULL}},
    {"another CPU before the rasteriser", ON(no_pocl), {"auto", "cpu"}, 2, 0, {1, 1}, {2, 2},
     {NULL}},
    {"pocl by the word that people use", ON(cpus), {"pocl", "rusticl", "llvmpipe", "xeon"}, 4, 0,
     {2, 1, 1, 0}, {1, 2, 2, 1}, {NULL}},
    {"two platforms at once", ON(cpus), {"0:0", "1:0"}, 2, 0, {2, 1}, {1, 1}, {NULL}},
    {"a GPU with two drivers is one", ON(twice), {"auto", "auto"}, 2, 0, {0, 2}, {1, 1}, {NULL}},
    {"also by position", ON(twice), {"0:0", "1:0"}, 2, 0, {0}, {0},
     {"processes 0 and 1", "share", "1:0 Alpha 9 (rusticl)", NULL}},
    {"no GPU left and no CPU", ON(gpus_only), {"auto", "auto", "auto"}, 3, 0, {0}, {0},
     {"processes 0 and 2", "0:0 Alpha 9", "3 processes", "2 devices", "device.share=true"}},
    {"one GPU named twice", ON(two_gpus), {"0:1", "beta"}, 2, 0, {0}, {0},
     {"processes 0 and 1", "0:1 Beta 7", "\"beta\"", "fewer processes", NULL}},
    {"one GPU named twice, allowed", ON(two_gpus), {"0:1", "beta"}, 2, 1, {1, 1}, {2, 2}, {NULL}},
    {"position that is not there", ON(two_gpus), {"auto", "7:0"}, 2, 0, {0}, {0},
     {"\"7:0\"", "process 1", "0:0 Alpha 9 (gpu, Vendor)", "1:0 pthread-x", NULL}},
    {"name that is not there", ON(two_gpus), {"gamma"}, 1, 0, {0}, {0}, {"\"gamma\"", NULL}},
    {"no GPU here", ON(cpus), {"gpu"}, 1, 0, {0}, {0}, {"\"gpu\"", "Xeon", NULL}},
    {"no CPU here", ON(gpus_only), {"cpu"}, 1, 0, {0}, {0}, {"\"cpu\"", NULL}},
    {"a fixed-function device is never taken", &mixed[3], 1, {"auto"}, 1, 0, {0}, {0},
     {"\"auto\"", "Fixed (other, Custom)", NULL}},
    {"nothing at all", NULL, 0, {"auto"}, 1, 0, {0}, {0}, {"\"auto\"", "none", NULL}},
};

static void table(void **state)
{
    (void)state;
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        const struct row *row = &rows[r];
        int got[MOST], sharers[MOST];
        int st = mt_dev_assign(row->list, row->n, row->want, row->size, row->share, got, sharers);

        print_message("%s\n", row->what);
        assert_int_equal(st, row->words[0] == NULL ? MOTLEY_OK : MOTLEY_EDEV);
        for (int i = 0; st == MOTLEY_OK && i < row->size; i++) {
            assert_int_equal(got[i], row->got[i]);
            assert_int_equal(sharers[i], row->sharers[i]);
        }
        for (int w = 0; w < 6 && row->words[w] != NULL; w++) {
            if (strstr(mt_err_text(), row->words[w]) == NULL) {
                fail_msg("'%s' is missing in: %s", row->words[w], mt_err_text());
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(table)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
