#!/bin/sh
# install.sh -- proves that `make install` with DESTDIR puts everything under the prefix and
# nothing elsewhere, that examples/embed builds against what was installed through pkg-config and
# runs, and that `make uninstall` takes everything away.
# Time: 300
stage=$TMPDIR/stage
make=${MAKE:-make}
pkg_config=${PKG_CONFIG:-pkg-config}
bad=0
say() {
    echo "$*"
    bad=1
}

[ -x "$MOTLEY" ] || { echo "SKIP tool: $MOTLEY was not built"; exit 77; }
$make -s -C "$top_builddir" install DESTDIR="$stage" >"$TMPDIR/log" 2>&1 ||
    { cat "$TMPDIR/log"; exit 1; }
pc=$(find "$stage" -name motley.pc)
[ -n "$pc" ] || { echo "motley.pc was not installed"; exit 1; }
prefix=$(sed -n 's/^prefix=//p' "$pc")
for file in bin/motley include/motley.h share/man/man1/motley.1 \
            share/bash-completion/completions/motley; do
    [ -f "$stage$prefix/$file" ] || say "$prefix/$file was not installed"
done
elsewhere=$(find "$stage" -type f ! -path "$stage$prefix/*")
[ -z "$elsewhere" ] || say "installed outside $prefix: $elsewhere"

"$stage$prefix/bin/motley$EXEEXT" --version || say "the installed program does not start"

if ! command -v "${pkg_config%% *}" >/dev/null; then
    echo "SKIP tool: no pkg-config"
    exit 77
fi
PKG_CONFIG_PATH=$(dirname "$pc")
PKG_CONFIG_SYSROOT_DIR=$stage
PKG_CONFIG_SYSTEM_INCLUDE_PATH=
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_SYSTEM_INCLUDE_PATH
libdir=$(dirname "$(dirname "$pc")")
# In its own folder: nothing of the source tree is to be found by accident.
[ -d "$top_srcdir/examples/embed" ] || { echo "SKIP tool: no examples/embed"; exit 77; }
cp "$top_srcdir"/examples/embed/*.c "$TMPDIR" || exit 99
cd "$TMPDIR" || exit 99
# shellcheck disable=SC2046
${CC:-cc} $CFLAGS -o embed ./*.c $($pkg_config --cflags --libs motley) -lm ||
    { echo "examples/embed does not build against the installed library"; exit 1; }
LD_LIBRARY_PATH=$libdir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} ./embed ||
    say "examples/embed failed with exit code $?"

$make -s -C "$top_builddir" uninstall DESTDIR="$stage" >/dev/null 2>&1
left=$(find "$stage" -type f)
[ -z "$left" ] || say "make uninstall left: $left"
exit $bad
