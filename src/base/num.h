/* num.h -- numbers as text, the same in every locale of the process; the middle of some. */
#ifndef MT_BASE_NUM_H
#define MT_BASE_NUM_H

#include <stdint.h>

#define MT_NUM_ROOM 32   /* enough for every number that mt_num_print writes */

/* All of text is an integer: decimal, 0x hexadecimal, or a float without a fraction below 2^53
 * in size ("1e4"). False if not, or if it does not fit. */
int mt_num_int(const char *text, int64_t *out);
/* All of text is a finite decimal number. */
int mt_num_real(const char *text, double *out);
/* The shortest text that reads back as the same double: "0.1", "1e-5", "64"; "nan", "inf". */
void mt_num_print(double v, char *buf, int room);

/* Sorts x, the smallest first, and gives the middle: of two, the larger one. n: at least 1. */
double mt_num_median(double *x, int n);

#endif
