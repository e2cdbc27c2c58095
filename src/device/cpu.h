/* cpu.h -- what the processor of this process can do, for kernels with instructions of its own. */
#ifndef MT_DEVICE_CPU_H
#define MT_DEVICE_CPU_H

/* vdpbf16ps on registers of 512 bits (AVX512_BF16), allowed by the operating system. */
int mt_cpu_dot(void);

/* tdpbf16ps on tiles (AMX-TILE, AMX-BF16), allowed by the operating system: Linux is asked to let
 * all threads of this process use the registers. */
int mt_cpu_amx(void);

#endif
