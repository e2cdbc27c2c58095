/* same.h -- elementary functions whose bits are the same on every host.
 *
 * The C library's pow, cos and log may differ in the last bit between versions; ranks on
 * different hosts must not. These use + - * / alone, each correctly rounded by IEEE 754. */
#ifndef MT_BASE_SAME_H
#define MT_BASE_SAME_H

#include <stdint.h>

double mt_same_pow(double x, int64_t n);   /* x^n, n >= 0 */
double mt_same_cospi(double x);            /* cos(pi x), 0 <= x <= 1, error below 1e-15 */
double mt_same_log(double x);              /* natural logarithm, x > 0, relative error 1e-15 */

#endif
