# motley_clblast.m4 -- CLBlast through its C header. It is C++ inside: linking its static archive
# would need the C++ runtime in CLBLAST_LIBS as well.

AC_DEFUN([MOTLEY_CLBLAST],
[MOTLEY_LIB([clblast], [CLBLAST], [clblast], [-lclblast], [clblast_c.h],
    [return (int)CLBlastClearCache();], [libclblast-dev])])
