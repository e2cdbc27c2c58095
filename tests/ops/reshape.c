/* reshape.c -- proves that reshape keeps the number of elements; as a view it moves none. */
#include "tests/kit.h"

static const struct mt_case cases[] = {
    {.name = "row 3x12 to 4x3", .dim = {3, 12}, .attr = "shape=4x3"},
    {.name = "image 2x3x5x7 to 105", .dim = {2, 3, 5, 7}, .attr = "shape=105"},
    {.name = "row 2x64 to 1x8x8", .dim = {2, 64}, .attr = "shape=1x8x8"},
};

MT_SUITE(reshape, MT_CASES(cases));
