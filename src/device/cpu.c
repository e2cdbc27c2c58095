/* cpu.c -- what the processor of this process can do, asked of the processor: the instruction
 * CPUID, and the register XCR0, which says what the operating system saves when it changes threads
 * (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, sections 13.3, 15.4).
 * A kernel with an instruction that is not there would end the process, so this comes before
 * building and checking numbers, not in their place. */
#include "device/cpu.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>

enum { OSXSAVE = 1 << 27, AVX512F = 1 << 16, AVX512_BF16 = 1 << 5 };
enum { ZMM_STATE = 0xe6 };   /* of XCR0: SSE, AVX, masks, both halves of the 512 bits */

static unsigned xcr0(void)
{
    unsigned low, high, a, b, c, d;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & OSXSAVE)) {
        return 0;
    }
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    (void)high;
    return low;
}

int mt_cpu_dot(void)
{
    unsigned a, b, c, d, f;

    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && a >= 1 && (b & AVX512F) &&
           __get_cpuid_count(7, 1, &f, &b, &c, &d) && (f & AVX512_BF16) &&
           (xcr0() & ZMM_STATE) == ZMM_STATE;
}
#else
int mt_cpu_dot(void)
{
    return 0;
}
#endif
