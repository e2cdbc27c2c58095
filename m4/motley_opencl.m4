# motley_opencl.m4 -- OpenCL headers and the ICD loader (never a vendor's library directly), from
# the system, a prefix, or a CUDA Toolkit, which carries both.

AC_DEFUN([MOTLEY_OPENCL],
[MOTLEY_CUDA_FIND
MOTLEY_LIB([opencl], [OPENCL], [OpenCL], [-lOpenCL], [CL/cl.h],
    [cl_uint n; return clGetPlatformIDs(0, 0, &n);],
    [opencl-headers ocl-icd-opencl-dev])
motley_have_cuda=no
AS_CASE(["x$with_cuda"],
    [xno], [motley_why_cuda="switched off"],
    [AS_IF([test -z "$motley_cuda"],
        [motley_why_cuda="not found (not needed)"],
     [test $motley_have_opencl = yes && test "x$with_cuda" = xauto],
        [motley_have_cuda=yes
         motley_why_cuda="$motley_cuda (not needed: OpenCL was found)"],
        [MOTLEY_PREFIX([$motley_cuda], [-lOpenCL], [OPENCL])
         MOTLEY_TRY_LINK([$OPENCL_CPPFLAGS], [$OPENCL_LIBS], [#include <CL/cl.h>],
            [cl_uint n; return clGetPlatformIDs(0, 0, &n);],
            [motley_have_cuda=yes
             motley_have_opencl=yes
             motley_why_cuda=$motley_cuda
             motley_why_opencl="from the CUDA Toolkit"],
            [motley_have_opencl=no
             motley_why_cuda="$motley_cuda has no usable OpenCL"])])])
AS_IF([test $motley_have_cuda = no && test "x$with_cuda" != xauto && test "x$with_cuda" != xno],
    [AC_MSG_ERROR([--with-cuda=$with_cuda: $motley_why_cuda])])])

# Where the toolkit is: motley_cuda, empty if nowhere.
AC_DEFUN([MOTLEY_CUDA_FIND],
[motley_cuda=
AS_CASE(["x$with_cuda"],
    [xno], [],
    [xyes|xauto],
        [for motley_dir in "$CUDA_HOME" "$CUDA_PATH" /usr/local/cuda /opt/cuda; do
            AS_IF([test -z "$motley_cuda" && test -n "$motley_dir" \
                   && test -f "$motley_dir/include/CL/cl.h"], [motley_cuda=$motley_dir])
         done],
    [motley_cuda=$with_cuda])])
