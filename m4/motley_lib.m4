# motley_lib.m4 -- how options are declared and a library is looked for.
#
# A check for library X sets, whatever happens:
#     motley_have_X   yes or no
#     motley_why_X    where it was found, or why not: one line for the summary
#     X_CPPFLAGS, X_LIBS   substituted; empty if not found or not needed

# MOTLEY_WITH(name, what): --with-name=yes|no|PREFIX, default auto
AC_DEFUN([MOTLEY_WITH],
[AC_ARG_WITH([$1],
    [AS_HELP_STRING([--with-$1@<:@=PREFIX@:>@], [$2])],
    [], [with_$1=auto])])

# MOTLEY_ENABLE(name, what): --enable-name, default no
AC_DEFUN([MOTLEY_ENABLE],
[AC_ARG_ENABLE([$1], [AS_HELP_STRING([--enable-$1], [$2])], [], [enable_$1=no])])

# MOTLEY_DEFINE(macro, yes-or-no, text): defined as 1 or 0
AC_DEFUN([MOTLEY_DEFINE],
[AS_IF([test "x$2" = xyes], [AC_DEFINE([$1], [1], [1: $3])], [AC_DEFINE([$1], [0], [1: $3])])])

# MOTLEY_FEATURE(name): MOTLEY_HAVE_NAME from motley_have_name
AC_DEFUN([MOTLEY_FEATURE],
[MOTLEY_DEFINE([MOTLEY_HAVE_]AS_TR_CPP([$1]), [$motley_have_$1], [$1 is there])])

# MOTLEY_TRY_LINK(cppflags, libs, prologue, body, if-yes, if-no)
AC_DEFUN([MOTLEY_TRY_LINK],
[motley_save_CPPFLAGS=$CPPFLAGS
motley_save_LIBS=$LIBS
CPPFLAGS="$1 $CPPFLAGS"
LIBS="$2 $LIBS"
AC_LINK_IFELSE([AC_LANG_PROGRAM([$3], [$4])], [motley_linked=yes], [motley_linked=no])
CPPFLAGS=$motley_save_CPPFLAGS
LIBS=$motley_save_LIBS
AS_IF([test $motley_linked = yes], [$5], [$6])])

# MOTLEY_PREFIX(folder, lib, name): flags for a library under a prefix
AC_DEFUN([MOTLEY_PREFIX],
[$3_CPPFLAGS="-I$1/include"
$3_LIBS=
for motley_dir in "$1/lib64" "$1/lib/$host_cpu-linux-gnu" "$1/lib" "$1/targets/$host_cpu-linux/lib"; do
    AS_IF([test -d "$motley_dir"],
        [$3_LIBS="$$3_LIBS -L$motley_dir -Wl,-rpath,$motley_dir"])
done
$3_LIBS="$$3_LIBS $2"])

# MOTLEY_LIB(name, NAME, pkg-config module, linker words, header, body, Debian package)
# Order: --with-name=no; --with-name=PREFIX; pkg-config; the compiler's own folders. Variables
# NAME_CPPFLAGS and NAME_LIBS given by the user are taken as they are.
AC_DEFUN([MOTLEY_LIB],
[AC_MSG_CHECKING([for $1])
motley_have_$1=no
motley_given_$1="$$2_CPPFLAGS$$2_LIBS"
AS_CASE(["x${with_$1:-auto}"],
    [xno], [motley_why_$1="switched off"],
    [AS_IF([test -n "$motley_given_$1"],
        [motley_where="$2_LIBS"],
     [test "x${with_$1:-auto}" != xauto && test "x$with_$1" != xyes],
        [motley_where=$with_$1
         MOTLEY_PREFIX([$with_$1], [$4], [$2])],
     [test -n "$PKG_CONFIG" && $PKG_CONFIG --exists "$3" 2>/dev/null],
        [motley_where="version `$PKG_CONFIG --modversion "$3"`"
         $2_CPPFLAGS=`$PKG_CONFIG --cflags "$3"`
         $2_LIBS=`$PKG_CONFIG --libs "$3"`],
        [motley_where="found by the compiler"
         $2_CPPFLAGS=
         $2_LIBS="$4"])
     MOTLEY_TRY_LINK([$$2_CPPFLAGS], [$$2_LIBS], [#include <$5>], [$6],
        [motley_have_$1=yes
         motley_why_$1=$motley_where],
        [$2_CPPFLAGS=
         $2_LIBS=
         motley_why_$1="not found; Debian: apt install $7"])])
AC_MSG_RESULT([$motley_have_$1 ($motley_why_$1)])
AS_IF([test $motley_have_$1 = no && test "x${with_$1:-auto}" != xauto && test "x$with_$1" != xno],
    [AC_MSG_ERROR([--with-$1=$with_$1 was asked for, but its header and $4 do not compile and link; see config.log])])
motley_packages_$1="$7"
AC_SUBST([$2_CPPFLAGS])
AC_SUBST([$2_LIBS])])

# MOTLEY_REQUIRE(names): ends configure if one is missing, with all that is to be installed
AC_DEFUN([MOTLEY_REQUIRE],
[motley_missing=
motley_install=
for motley_x in $1; do
    AS_IF([eval "test \$motley_have_$motley_x = no"],
        [motley_missing="$motley_missing $motley_x"
         eval "motley_install=\"\$motley_install \$motley_packages_$motley_x\""])
done
AS_IF([test -n "$motley_missing"],
    [AC_MSG_ERROR([motley cannot be built without:$motley_missing
On Debian or Ubuntu:  apt install$motley_install
Elsewhere install the libraries of the same names with their headers, or name where they are,
for example --with-opencl=PREFIX; for others CPPFLAGS=-IDIR LDFLAGS=-LDIR.])])])
