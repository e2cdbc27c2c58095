#!/bin/sh
# mixed.sh -- proves that a job on all OpenCL platforms of this machine at once, one process each,
# reaches the loss of one process within the rounding that docs/numerics.md states for different
# devices: data parallel, where the replicas stay equal to the last bit all the way, and as one
# pipeline with a stage on each; and that shares and grids that are chosen leave llvmpipe out beside
# PoCL on the same processors. PoCL and Mesa's rusticl on llvmpipe must be among them.
# Time: 300
. "$top_srcdir/tests/sys/lib.sh"
RUSTICL_ENABLE=${RUSTICL_ENABLE:-llvmpipe}
export RUSTICL_ENABLE
need_device
need_mpi
pocl=$(of 'Portable Computing Language') mesa=$(of rusticl)
[ -n "$pocl" ] && [ -n "$mesa" ] ||
    { echo "SKIP rusticl: two OpenCL platforms are needed, there are '$pocl' and '$mesa'"; exit 77; }
all=$(platforms)
echo "platforms: $("$MOTLEY" devices --json | sed -n 's/.*"platform": "\(.*\)".*/\1/p' | sort -u |
    paste -s -d ,)"

small_config
config=$TMPDIR/small.yaml
"$MOTLEY" train "$config" --quiet --folder "$TMPDIR/one" device.use="$pocl" ||
    say "training on one failed"

# together NAME WORD... -- one process for each platform, and its loss against that of one
together() {
    name=$1
    shift
    set -- "$MOTLEY" train "$config" --quiet --folder "$TMPDIR/$name" parallel.timeout=60 "$@"
    words=$#
    for id in $all; do
        set -- "$@" -n 1
        for i in $(seq $words); do
            eval "set -- \"\$@\" \"\${$i}\""
        done
        set -- "$@" device.use="$id" :
    done
    shift $words
    # shellcheck disable=SC2086
    MOTLEY_DEBUG=agree $MPIEXEC $MPIEXEC_FLAGS "$@" || say "$name: training failed"
    for run in one "$name"; do
        grep '"event":"eval"' "$TMPDIR/$run/metrics.jsonl" | tail -n 1 >"$TMPDIR/$run.eval"
    done
    one=$(number loss "$TMPDIR/one.eval") got=$(number loss "$TMPDIR/$name.eval")
    echo "held-out loss: one process $one, $name $got"
    near "$one" "$got" 1e-4 || say "$name: losses differ by more than 1e-4"
}
together replicas

# On the same processors llvmpipe only takes from PoCL: it is left out, and told why. Bound apart it
# is not, so this is asked of a launcher that does not bind.
unbound() {
    "$MPIEXEC" --version 2>&1 | grep -q "Open MPI" && echo --bind-to none || echo -bind-to none
}
for auto in shares grid; do
    # shellcheck disable=SC2046,SC2086
    MOTLEY_LOG=parallel $MPIEXEC $MPIEXEC_FLAGS $(unbound) \
        -n 1 "$MOTLEY" train "$config" --quiet --folder "$TMPDIR/$auto" device.use="$pocl" \
        parallel.$auto=auto : \
        -n 1 "$MOTLEY" train "$config" --quiet --folder "$TMPDIR/$auto" device.use="$mesa" \
        parallel.$auto=auto 2>"$TMPDIR/$auto.err" || say "parallel.$auto=auto: training failed"
    grep -q 'rank 1 .*llvmpipe.*: left out: it computes on the processors of rank 0' \
        "$TMPDIR/$auto.err" || { say "parallel.$auto=auto uses both"; cat "$TMPDIR/$auto.err"; }
    grep '"event":"eval"' "$TMPDIR/$auto/metrics.jsonl" | tail -n 1 >"$TMPDIR/$auto.eval"
    near "$(number loss "$TMPDIR/one.eval")" "$(number loss "$TMPDIR/$auto.eval")" 1e-4 ||
        say "parallel.$auto=auto: losses differ by more than 1e-4"
done
together stages parallel.stages="$(echo "$all" | wc -l)" train.micro_batches=5
exit $bad
