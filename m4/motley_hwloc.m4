# motley_hwloc.m4 -- hwloc 2.

AC_DEFUN([MOTLEY_HWLOC],
[MOTLEY_LIB([hwloc], [HWLOC], [hwloc >= 2.0], [-lhwloc], [hwloc.h],
    [
#if HWLOC_API_VERSION < 0x00020000
#error hwloc 2 is needed
#endif
     hwloc_topology_t t; return hwloc_topology_init(&t);], [libhwloc-dev])])
