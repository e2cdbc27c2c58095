# motley_json.m4 -- jansson for JSON, zlib for gzip, xxHash for digests, cmocka for unit tests.

AC_DEFUN([MOTLEY_JSON],
[MOTLEY_LIB([json], [JSON], [jansson], [-ljansson], [jansson.h],
    [json_decref(json_object());], [libjansson-dev])])

AC_DEFUN([MOTLEY_ZLIB],
[MOTLEY_LIB([zlib], [ZLIB], [zlib], [-lz], [zlib.h],
    [return zlibVersion() == 0;], [zlib1g-dev])])

AC_DEFUN([MOTLEY_XXHASH],
[MOTLEY_LIB([xxhash], [XXHASH], [libxxhash], [-lxxhash], [xxhash.h],
    [return (int)XXH_versionNumber();], [libxxhash-dev])])

AC_DEFUN([MOTLEY_CMOCKA],
[MOTLEY_LIB([cmocka], [CMOCKA], [cmocka], [-lcmocka],
    [stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h], [skip();], [libcmocka-dev])])
