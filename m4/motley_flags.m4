# motley_flags.m4 -- flags of the compiler, and the box at the end.

# Before AC_PROG_CC, which would otherwise choose -g -O2 itself: --enable-debug wants less.
AC_DEFUN([MOTLEY_DEFAULT_CFLAGS],
[AS_IF([test -z "${CFLAGS+set}"],
    [AS_IF([test "x$enable_debug" = xyes], [CFLAGS="-g -Og"], [CFLAGS="-g -O2"])])])

# MOTLEY_CFLAG(flag): to AM_CFLAGS if the compiler takes it. Unknown -W flags are only warned of
# by some compilers, hence -Werror.
AC_DEFUN([MOTLEY_CFLAG],
[AC_MSG_CHECKING([whether $CC takes $1])
motley_save_CFLAGS=$CFLAGS
CFLAGS="$CFLAGS -Werror $1"
AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])], [motley_takes=yes], [motley_takes=no])
CFLAGS=$motley_save_CFLAGS
AC_MSG_RESULT([$motley_takes])
AS_IF([test $motley_takes = yes], [AM_CFLAGS="$AM_CFLAGS $1"], [$2])])

# -ffp-contract=off always: fused or not must be what the source says, or results differ between
# compilers and processors.
AC_DEFUN([MOTLEY_FLAGS],
[AM_CFLAGS=
AM_LDFLAGS=
MOTLEY_CFLAG([-std=c11], [AC_MSG_ERROR([a C11 compiler is needed])])
MOTLEY_CFLAG([-ffp-contract=off],
    [AC_MSG_WARN([contraction of a*b+c cannot be switched off: results may differ in last bits])])
m4_foreach_w([flag], [-fvisibility=hidden -pthread -Wall -Wextra -Wpedantic -Wshadow -Wvla
    -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings],
    [MOTLEY_CFLAG(m4_defn([flag]))
])
AS_IF([test "x$enable_werror" = xyes], [AM_CFLAGS="$AM_CFLAGS -Werror"])
AS_IF([test "x$enable_sanitizers" != xno],
    [MOTLEY_CFLAG([-fsanitize=$enable_sanitizers],
        [AC_MSG_ERROR([$CC does not take -fsanitize=$enable_sanitizers])])
     AM_CFLAGS="$AM_CFLAGS -fno-omit-frame-pointer -fno-sanitize-recover=all"
     AM_LDFLAGS="-fsanitize=$enable_sanitizers"])
motley_compiler=`$CC --version 2>/dev/null | $SED -n 1p`
AS_IF([test -z "$motley_compiler"], [motley_compiler=$CC])
AC_SUBST([AM_CFLAGS])
AC_SUBST([AM_LDFLAGS])])

# The box, unless configure is to be silent; texts are cut to its width.
AC_DEFUN([MOTLEY_SUMMARY],
[AS_IF([test "x$silent" != xyes], [MOTLEY_BOX])])

AC_DEFUN([MOTLEY_BOX],
[motley_row () {
    printf '| %-14s %-72.72s |\n' "$[]1" "$[]2"
}
motley_rule="+-----------------------------------------------------------------------------------------+"
AS_IF([test -n "$MPIEXEC"], [motley_start="$MPIEXEC $MPIEXEC_FLAGS"], [motley_start="none: one process"])
echo
echo "$motley_rule"
motley_row "motley" "$PACKAGE_VERSION for $host"
motley_row "compiler" "$motley_compiler"
motley_row "flags" "$CFLAGS"
motley_row "prefix" "$prefix" | $SED 's/NONE      /\/usr\/local/'
echo "$motley_rule"
motley_row "OpenCL" "$motley_why_opencl"
motley_row "CUDA Toolkit" "$motley_why_cuda"
motley_row "CLBlast" "$motley_why_clblast"
motley_row "MPI" "$motley_why_mpi"
motley_row "starts jobs" "$motley_start"
motley_row "hwloc" "$motley_why_hwloc"
motley_row "libfyaml" "$motley_why_yaml"
motley_row "jansson" "$motley_why_json"
motley_row "zlib" "$motley_why_zlib"
motley_row "xxHash" "$motley_why_xxhash"
motley_row "cmocka (tests)" "$motley_why_cmocka"
echo "$motley_rule"
motley_row "debug checks" "$enable_debug"
motley_row "sanitizers" "$enable_sanitizers"
motley_row "libraries" "shared: $enable_shared, static: $enable_static"
echo "$motley_rule"
echo
echo "Now type:  make && make check"
echo "and then:  make install"
echo])
