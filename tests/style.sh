#!/bin/sh
# style.sh -- proves what a machine can see of the house rules: width, blanks, heads of files,
# length of files, no leftovers, and that the library never prints, exits or asserts.
cd "${top_srcdir:?}" || exit 99
found=${TMPDIR:-/tmp}/style
: >"$found.all"

# forbid WHAT -- if lines come in, they are wrong. At the end of a pipe, hence in a process of
# its own: what was found is kept in a file.
forbid() {
    cat >"$found"
    if [ -s "$found" ]; then
        { echo "== $1"; cat "$found"; } >>"$found.all"
    fi
}

code=$(find src include tests cl examples -name '*.[ch]' -o -name '*.cl' -o -name '*.clh' | sort)
scripts="$(find tests examples -name '*.sh' ! -path 'tests/tmp/*' | sort) build-aux/cl2c.sh
         build-aux/oplist.sh $(ls quickstart .ci/run completion/motley 2>/dev/null)"
library=$(find src -name '*.c' ! -path 'src/cli/*' | sort)

awk 'length($0) > 100 { print FILENAME ":" FNR ": " length($0) " columns" }' $code |
    forbid 'longer than 100 columns'
awk 'FNR == 801 { print FILENAME }' $code | forbid 'longer than 800 lines'
grep -n "$(printf '\t')" $code | forbid 'a tab'
grep -n '[[:blank:]]$' $code $scripts *.mk Makefile.am configure.ac m4/motley_*.m4 |
    forbid 'blanks at the end of a line'
for file in $code; do
    [ -z "$(tail -c 1 "$file")" ] || echo "$file: does not end with a newline"
done | forbid 'end of file'
grep -n -w -E 'TODO|FIXME|XXX|HACK' $code $scripts *.mk Makefile.am configure.ac |
    grep -v '^tests/style.sh:' | forbid 'leftovers'
for file in $code; do
    name=${file##*/}
    sed -n 1,2p "$file" | grep -q "^/[/*] $name -- " ||
        echo "$file: does not begin with '/* $name -- ' or '// $name -- '"
done | forbid 'head of a file'
grep -n -w -E 'assert|static_assert' $code | grep -v -e 'tests/' -e _Static_assert |
    forbid 'assert: return MOTLEY_EBUG instead'
grep -n -E '(^|[^a-zA-Z0-9_])(printf|puts|putchar|perror|exit|abort|vprintf)[[:blank:]]*\(' $library |
    forbid 'the library prints or exits'
grep -n -w -E 'stdout|stderr' $library | forbid 'the library prints'
grep -n -w typedef $(find src -name '*.[ch]') | grep -v '_fn(' |
    forbid 'a typedef that is not a function type'
cat "$found.all"
[ ! -s "$found.all" ]
