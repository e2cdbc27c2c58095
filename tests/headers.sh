#!/bin/sh
# headers.sh -- proves that public headers compile alone as C11 and as C++, and that every
# internal header compiles alone.
cd "${top_srcdir:?}" || exit 99
cc=${CC:-cc}
cxx=${CXX:-c++}
bad=0
flags="-Iinclude -Isrc -I. -I$top_builddir $CPPFLAGS -Wall -Wextra -Wpedantic -Werror -fsyntax-only"

for header in $(find include src tests -name '*.h' | sort); do
    case $header in
    include/motley_mpi.h|tests/tmp/*) continue ;;   # needs a foreign header
    esac
    if grep -q '#include <\(cmocka\|CL/\|mpi\)' "$header"; then
        continue
    fi
    case $header in
    tests/*) seen=$header ;;
    *) seen=${header#*/} ;;
    esac
    printf '#include "%s"\nextern int nothing;\n' "$seen" |
        $cc -std=c11 $flags -x c - || { echo "$header: does not compile alone as C"; bad=1; }
done
if ! command -v "${cxx%% *}" >/dev/null 2>&1; then
    echo "SKIP tool: no C++ compiler"
    [ $bad = 0 ] && exit 77
    exit 1
fi
for std in c++11 c++17; do
    printf '#include "motley.h"\n' | $cxx -std=$std $flags -x c++ - ||
        { echo "motley.h: does not compile as $std"; bad=1; }
done
exit $bad
