# motley_mpi.m4 -- MPI 3: what mpi.h and its library need, and how a job is started.
#
# Flags are asked from a compiler wrapper ($MPICC, or mpicc and its Debian variants) and given to
# src/comm/mpi.c alone. If $CC is itself a wrapper none are needed. Sets besides the usual four:
#     MPIEXEC, MPIEXEC_FLAGS   start a job; the flags allow more processes than cores

AC_DEFUN([MOTLEY_MPI],
[AC_ARG_VAR([MPICC], [MPI compiler wrapper, asked for flags])
AC_ARG_VAR([MPIEXEC], [starts an MPI job])
AC_ARG_VAR([MPIEXEC_FLAGS], [flags for it])
motley_have_mpi=no
motley_why_mpi="not found; Debian: apt install libopenmpi-dev openmpi-bin"
AS_CASE(["x$with_mpi"],
    [xno], [motley_why_mpi="switched off"],
    [xyes|xauto], [MOTLEY_MPI_FIND],
    [MPICC="$with_mpi/bin/mpicc"
     MOTLEY_MPI_FIND])
AC_MSG_CHECKING([for mpi])
AC_MSG_RESULT([$motley_have_mpi ($motley_why_mpi)])
AS_IF([test $motley_have_mpi = yes], [MOTLEY_MPI_EXEC],
    [test "x$with_mpi" != xauto && test "x$with_mpi" != xno],
    [AC_MSG_ERROR([--with-mpi=$with_mpi was asked for, but no MPI works; see config.log])])
AC_SUBST([MPI_CPPFLAGS])
AC_SUBST([MPI_LIBS])])

AC_DEFUN([MOTLEY_MPI_PROLOGUE],
[#include <mpi.h>
#if MPI_VERSION < 3
#error MPI 3 is needed
#endif
])

AC_DEFUN([MOTLEY_MPI_FIND],
[MPI_CPPFLAGS=
MPI_LIBS=
AS_IF([test -z "$MPICC"],
    [MOTLEY_TRY_LINK([], [], [MOTLEY_MPI_PROLOGUE], [return MPI_Init(0, 0);],
        [motley_have_mpi=yes
         motley_why_mpi="through CC=$CC"
         motley_mpi_wrapper=$CC])])
AS_IF([test $motley_have_mpi = no],
    [AC_CHECK_PROGS([MPICC], [mpicc mpicc.openmpi mpicc.mpich])
     motley_words=
     AS_IF([test -n "$MPICC"], [motley_words=`$MPICC -show 2>/dev/null`])
     for motley_word in $motley_words; do
        AS_CASE([$motley_word],
            [-I*|-D*], [MPI_CPPFLAGS="$MPI_CPPFLAGS $motley_word"],
            [-L*|-l*|-Wl,*|-pthread], [MPI_LIBS="$MPI_LIBS $motley_word"])
     done
     AS_IF([test -n "$MPI_LIBS"],
        [MOTLEY_TRY_LINK([$MPI_CPPFLAGS], [$MPI_LIBS], [MOTLEY_MPI_PROLOGUE],
            [return MPI_Init(0, 0);],
            [motley_have_mpi=yes
             motley_why_mpi="$MPICC"
             motley_mpi_wrapper=$MPICC],
            [motley_why_mpi="$MPICC does not work"
             MPI_CPPFLAGS=
             MPI_LIBS=])])])])

# mpiexec beside the wrapper, with the wrapper's suffix: mpicc.mpich goes with mpiexec.mpich.
AC_DEFUN([MOTLEY_MPI_EXEC],
[motley_dir=`AS_DIRNAME(["$motley_mpi_wrapper"])`
motley_suffix=`AS_BASENAME(["$motley_mpi_wrapper"])`
motley_suffix=${motley_suffix#mpicc}
AS_IF([test -z "$MPIEXEC"],
    [AC_PATH_PROGS([MPIEXEC], [mpiexec$motley_suffix mpirun$motley_suffix mpiexec mpirun], [],
        [$motley_dir$PATH_SEPARATOR$PATH])])
motley_save_CPPFLAGS=$CPPFLAGS
CPPFLAGS="$MPI_CPPFLAGS $CPPFLAGS"
motley_mpi_kind=MPICH
AC_PREPROC_IFELSE([AC_LANG_SOURCE([[#include <mpi.h>
#ifndef OPEN_MPI
#error not Open MPI
#endif]])],
    [motley_mpi_kind="Open MPI"
     : ${MPIEXEC_FLAGS=--oversubscribe}])
CPPFLAGS=$motley_save_CPPFLAGS
motley_why_mpi="$motley_mpi_kind, $motley_why_mpi"])
