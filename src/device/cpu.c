/* cpu.c -- what the processor of this process can do, asked of the processor: the instruction
 * CPUID, and the register XCR0, which says what the operating system saves when it changes threads
 * (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, sections 13.3, 15.4).
 * A kernel with an instruction that is not there would end the process, so this comes before
 * building and checking numbers, not in their place. */
#define _DEFAULT_SOURCE   /* syscall */
#include "device/cpu.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>

enum { OSXSAVE = 1 << 27, AVX512F = 1 << 16, AVX512_BF16 = 1 << 5, AMX_BF16 = 1 << 22,
       AMX_TILE = 1 << 24 };
/* Of XCR0: SSE, AVX, masks, both halves of the 512 bits; configuration and contents of tiles. */
enum { ZMM_STATE = 0xe6, TILE_STATE = 3 << 17 };

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

#if defined(__x86_64__) && defined(__GNUC__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

/* Linux saves the contents of tiles for those who asked only (Documentation/arch/x86/xstate.rst):
 * arch_prctl(ARCH_REQ_XCOMP_PERM, number of the component). It holds for the process, and to ask
 * again changes nothing. */
int mt_cpu_amx(void)
{
    const long ask = 0x1023, tile_data = 18;
    unsigned a, b, c, d;

    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_TILE) && (d & AMX_BF16) &&
           (xcr0() & TILE_STATE) == TILE_STATE && syscall(SYS_arch_prctl, ask, tile_data) == 0;
}
#else
int mt_cpu_amx(void)
{
    return 0;
}
#endif
