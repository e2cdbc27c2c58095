#!/bin/sh
# cl2c.sh SRCDIR FILE... -- writes a C file with the text of each FILE as an array of bytes, and
# the table mt_embedded (src/device/embedded.h). Bytes and not a string: C promises no more than
# 4095 characters in a string literal.
set -e
LC_ALL=C
export LC_ALL
srcdir=$1
shift

echo '/* Made by cl2c.sh from the files in cl/; do not edit. */'
echo '#include "device/embedded.h"'
echo
echo '#include <stddef.h>'
n=0
for file in "$@"; do
    n=$((n + 1))
    echo
    echo "/* $file */"
    echo "static const unsigned char text_$n[] = {"
    od -An -v -tx1 "$srcdir/$file" | sed 's/ *\([0-9a-f][0-9a-f]\)/0x\1,/g'
    echo '0};'
done
echo
echo 'const struct mt_embedded mt_embedded[] = {'
n=0
for file in "$@"; do
    n=$((n + 1))
    name=${file##*/}
    echo "    {\"${name%.cl}\", text_$n, sizeof text_$n - 1},"
done
echo '    {NULL, NULL, 0}};'
