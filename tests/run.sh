#!/bin/sh
# run.sh TEST -- runs one test of tests.mk; the LOG_COMPILER of `make check`.
#
#   - A program in tests/parallel is started with as many processes as its source says in a line
#     "Ranks: 1 2 3 4"; anything else is run once.
#   - After the time limit (seconds; a line "Time: 300" in the source, default 300) all its
#     processes print a backtrace, if gdb is there, and are killed.
#   - Exit code 77 means that it could not run here. It says why in a line "SKIP <word>: reason",
#     with a word of opencl, mpi, hwloc, data, tool, ... MOTLEY_TEST_REQUIRE=opencl,mpi turns
#     those skips into failures, MOTLEY_TEST_REQUIRE=all every skip, all,-hosts all but those.
#   - After a failure the command that repeats it is printed.
#
# A test sees: top_srcdir, top_builddir; MOTLEY, the program that was built; MPIEXEC and
# MPIEXEC_FLAGS, to be used as `$MPIEXEC $MPIEXEC_FLAGS -n 2 $MOTLEY ...` (MPIEXEC empty: no
# MPI); TMPDIR, an empty folder of its own, removed if it passes. From whoever starts the tests:
# MOTLEY_TEST_DATA, a folder of real data sets; MOTLEY_TEST_WRAP, words to put in front of
# programs (a checker of memory); MOTLEY_TEST_SLOW, a factor for time limits.

test=$1
top_srcdir=${top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
top_builddir=${top_builddir:-$(pwd)}
name=tests/${test##*tests/}
name=${name%.exe}

case $name in
*.sh) source=$top_srcdir/$name ;;
*) source=$top_srcdir/$name.c ;;
esac

# setting WORD DEFAULT -- what the source says after "WORD:"
setting() {
    found=$(sed -n "s/^[ *#/]*$1: *\([0-9 ]*[0-9]\).*/\1/p" "$source" 2>/dev/null | sed 1q)
    echo "${found:-$2}"
}

limit=$(($(setting Time 300) * ${MOTLEY_TEST_SLOW:-1}))

MOTLEY=${MOTLEY:-$top_builddir/motley$EXEEXT}
: "${MOTLEY_CACHE=$top_builddir/tests/tmp/cache}"
TMPDIR=$top_builddir/tests/tmp/$(echo "$name" | tr / -)
rm -rf "$TMPDIR"
mkdir -p "$TMPDIR" || exit 99
LC_ALL=C

# Open MPI: more processes than cores, in a container, by whoever runs the tests.
OMPI_MCA_rmaps_base_oversubscribe=1
OMPI_MCA_btl_vader_single_copy_mechanism=none
OMPI_ALLOW_RUN_AS_ROOT=1
OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export top_srcdir top_builddir MOTLEY MOTLEY_CACHE TMPDIR LC_ALL MPIEXEC MPIEXEC_FLAGS \
    OMPI_MCA_rmaps_base_oversubscribe OMPI_MCA_btl_vader_single_copy_mechanism \
    OMPI_ALLOW_RUN_AS_ROOT OMPI_ALLOW_RUN_AS_ROOT_CONFIRM

# family PID -- it and all its descendants; nothing where there is no ps
family() {
    ps -e -o pid= -o ppid= 2>/dev/null | awk -v root="$1" '
        { parent[$1] = $2 }
        END { for (p in parent) for (q = p; q in parent; q = parent[q])
                  if (q == root) { print p; break } }'
}

# expire PID -- the time is up
expire() {
    echo "$name: time limit of $limit seconds passed; killed"
    pids=$(family "$1")
    if command -v gdb >/dev/null 2>&1; then
        for p in $pids; do
            echo "--- process $p: $(tr '\0' ' ' <"/proc/$p/cmdline" 2>/dev/null)"
            timeout 20 gdb -p "$p" -batch -ex 'thread apply all backtrace 20' 2>/dev/null \
                </dev/null | grep '^[#T]'
        done
    fi
    kill $1 $pids 2>/dev/null
    sleep 2
    kill -KILL $1 $pids 2>/dev/null
}

# run COMMAND... -- with the time limit; its exit code, 124 after the limit
run() {
    rm -f "$TMPDIR.late"
    "$@" </dev/null &
    child=$!
    (
        trap 'kill $nap 2>/dev/null; exit' TERM
        sleep "$limit" & nap=$!
        wait $nap
        : >"$TMPDIR.late"
        expire $child
    ) &
    watch=$!
    trap 'kill $child $watch 2>/dev/null; exit 99' INT TERM HUP
    wait $child
    code=$?
    kill $watch 2>/dev/null
    wait $watch 2>/dev/null
    if [ -f "$TMPDIR.late" ]; then
        rm -f "$TMPDIR.late"
        code=124
    fi
    return $code
}

out=$TMPDIR.out
code=0
case $name in
tests/parallel/*)
    for n in $(setting Ranks '1 2 3 4'); do
        if [ -n "$MPIEXEC" ]; then
            set -- $MPIEXEC $MPIEXEC_FLAGS -n "$n" $MOTLEY_TEST_WRAP "$test"
        elif [ "$n" = 1 ]; then
            set -- $MOTLEY_TEST_WRAP "$test"
        else
            echo "SKIP mpi: $n processes: this build has no MPI"
            code=77
            break
        fi
        echo "== $n process(es): $*"
        run "$@"
        code=$?
        [ $code = 0 ] || break
    done ;;
*.sh) run ${CONFIG_SHELL:-/bin/sh} "$test"
    code=$? ;;
*) run $MOTLEY_TEST_WRAP "$test"
    code=$? ;;
esac >"$out" 2>&1
cat "$out"

if [ $code = 77 ] && [ -n "$MOTLEY_TEST_REQUIRE" ]; then
    why=$(sed -n 's/.*SKIP \([a-z0-9]*\):.*/\1/p' "$out" | sed -n '$p')
    case ,$MOTLEY_TEST_REQUIRE, in
    *,"-$why",*) ;;
    *,all,*|*,"$why",*)
        echo "skipped (${why:-no reason given}), but MOTLEY_TEST_REQUIRE=$MOTLEY_TEST_REQUIRE"
        code=1 ;;
    esac
fi
rm -f "$out"
case $code in
0|77) rm -rf "$TMPDIR" ;;
*)
    echo
    echo "$name failed with exit code $code; its folder is kept: $TMPDIR"
    settings=$(env | sed -n "s/^\(MOTLEY_[A-Z_]*\)=\(.*\)/\1='\2'/p" | tr '\n' ' ')
    echo "To repeat: $settings make -C $top_builddir check TESTS='${test#"$top_srcdir"/}'" ;;
esac
exit $code
