/* flatten.c -- proves that flatten keeps the number of elements; as a view it moves none. */
#include "tests/kit.h"

static const struct mt_case cases[] = {
    {.name = "row 3x4", .dim = {3, 4}},
    {.name = "image 2x3x5x7", .dim = {2, 3, 5, 7}},
    {.name = "numbers 5", .dim = {5}},
};

MT_SUITE(flatten, MT_CASES(cases));
