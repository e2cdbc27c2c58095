#!/bin/sh
# symbols.sh -- proves that libmotley exports exactly the functions in tests/symbols.txt, that
# all of them begin with motley_, that nothing of ours is missing in it, and that names shared
# between our own files begin with mt_ or motley_.
lib=${top_builddir:?}/.libs/libmotley.so
if [ ! -f "$lib" ]; then
    echo "SKIP tool: no shared library was built"
    exit 77
fi
bad=0
nm=${NM:-nm}
found=${TMPDIR:-/tmp}/exported
$nm -D --defined-only "$lib" >"$found.nm" 2>/dev/null || $nm -D "$lib" >"$found.nm" || exit 99
# The sanitizers' own symbols begin with two underscores; so does the linker's.
awk '$(NF-1) ~ /^[A-TV-Z]$/ { print $NF }' "$found.nm" | sed 's/@.*//' |
    grep -v -e '^_' -e '^[A-Z0-9_.]*$' | sort -u >"$found"
sed 's/#.*//; /^ *$/d' "$top_srcdir/tests/symbols.txt" | sort -u >"$found.want"
if ! diff "$found.want" "$found"; then
    echo "< is in tests/symbols.txt only, > is exported only"
    bad=1
fi
if grep -v '^motley_' "$found"; then
    echo "exported, but does not begin with motley_"
    bad=1
fi
if [ -x "$top_builddir/motley" ] && $nm -D "$lib" | awk '$(NF-1) == "U" { print $NF }' | grep '^m\(o\)*t\(ley\)*_'; then
    echo "is used by libmotley, but defined nowhere"
    bad=1
fi
for object in $(find "$top_builddir/src" -name '*.o' -path '*/.libs/*' 2>/dev/null); do
    if $nm "$object" | awk '$(NF-1) ~ /^[TDBRC]$/ { print $NF }' |
       grep -v -e '^mt_' -e '^motley_' -e '^_' -e '^main$'; then
        echo "$object: a shared name that does not begin with mt_"
        bad=1
    fi
done
exit $bad
