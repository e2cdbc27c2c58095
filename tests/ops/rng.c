/* rng.c -- proves that the random bits of kernels are those of src/base/rng.c for every word of
 * key and counter, and that both are Philox4x32-10: the known answers of Random123 1.14
 * (tests/kat_vectors; https://github.com/DEShawResearch/random123). */
#include "tests/kit.h"

#include "base/ctx.h"
#include "base/rng.h"
#include "device/buf.h"
#include "device/dev.h"

#define ITEMS 200

static const struct {
    uint32_t counter[4], key[2], answer[4];
} known[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}},
    {{0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu},
     {0xffffffffu, 0xffffffffu},
     {0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}},
    {{0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u},
     {0xa4093822u, 0x299f31d0u},
     {0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}},
};

static int check_known(struct mt_report *r)
{
    struct mt_result x = mt_result_new("rng", "host", "known answers");

    for (int k = 0; k < 3; k++) {
        struct mt_rng_key key = {{known[k].key[0], known[k].key[1]}};
        uint32_t got[4];

        mt_rng_bits(key, known[k].counter, got);
        for (int i = 0; i < 4; i++) {
            mt_result_element(&x, 4 * k + i, got[i], known[k].answer[i], 0);
        }
    }
    return mt_report_add(r, &x);
}

static int check_device(struct mt_dev *dev, uint64_t seed, struct mt_kernel *fill,
                        struct mt_buf *buf, struct mt_report *r)
{
    struct mt_result x = mt_result_new("rng", "device", "same bits");
    uint32_t got[4 * ITEMS];

    for (int round = 0; round < 4; round++) {
        struct mt_rng_key key = mt_rng_key(seed, MT_RNG_TEST, (uint64_t)round);
        uint32_t c[4] = {0, round & 1 ? 0x9abcdef0u : 0, round & 2 ? 0x12345678u : 0,
                         round == 3 ? 0xffffffffu : 0};

        MT_TRY(mt_launch(dev, fill, mt_items(ITEMS, MT_WG),
                         MT_ARGS(mt_b(buf, 0), mt_u32(ITEMS), mt_u32(key.k[0]),
                                 mt_u32(key.k[1]), mt_u32(c[1]), mt_u32(c[2]), mt_u32(c[3]))));
        MT_TRY(mt_buf_read(buf, 0, sizeof got, got));
        for (uint32_t i = 0; i < ITEMS; i++) {
            uint32_t want[4];

            c[0] = i;
            mt_rng_bits(key, c, want);
            for (int w = 0; w < 4; w++) {
                mt_result_element(&x, 4 * ((int64_t)round * ITEMS + i) + w, got[4 * i + w],
                                  want[w], 0);
            }
        }
    }
    return mt_report_add(r, &x);
}

static int run(struct mt_dev *dev, const struct mt_check_opt *opt, struct mt_report *r)
{
    struct mt_kernel *fill = NULL;
    struct mt_buf *buf = NULL;
    int st;

    MT_TRY(check_known(r));
    MT_TRY(mt_kernel_get(dev, "rng", "rng_fill", NULL, &fill));
    MT_TRY(mt_buf_new(dev, 4 * sizeof(uint32_t) * ITEMS, "random bits", &buf));
    st = check_device(dev, opt->seed, fill, buf, r);
    mt_buf_free(buf);
    return st;
}

MT_SUITE(rng, .run = run);
