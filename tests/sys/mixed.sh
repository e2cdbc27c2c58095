#!/bin/sh
# mixed.sh -- proves that a job on two OpenCL platforms at once reaches the loss of one process: PoCL
# and Mesa's rusticl on llvmpipe, within the rounding that docs/numerics.md states for processes of
# different devices; the replicas stay equal to the last bit all the way.
# Time: 300
. "$top_srcdir/tests/sys/lib.sh"
RUSTICL_ENABLE=${RUSTICL_ENABLE:-llvmpipe}
export RUSTICL_ENABLE
need_device
need_mpi
# of PLATFORM -- the first device of that platform
of() {
    "$MOTLEY" devices --json | awk -F '"' -v platform="$1" \
        '/"id":/ { id = $4 } /"platform":/ && index($4, platform) { print id; exit }'
}
pocl=$(of 'Portable Computing Language') mesa=$(of rusticl)
[ -n "$pocl" ] && [ -n "$mesa" ] ||
    { echo "SKIP rusticl: two OpenCL platforms are needed, there are '$pocl' and '$mesa'"; exit 77; }
echo "PoCL is $pocl, rusticl $mesa"

small_config
config=$TMPDIR/small.yaml
"$MOTLEY" train "$config" --quiet --folder "$TMPDIR/one" device.use="$pocl" ||
    say "training on one failed"
# shellcheck disable=SC2086
MOTLEY_DEBUG=agree $MPIEXEC $MPIEXEC_FLAGS \
    -n 1 "$MOTLEY" train "$config" --quiet --folder "$TMPDIR/two" device.use="$pocl" : \
    -n 1 "$MOTLEY" train "$config" --quiet --folder "$TMPDIR/two" device.use="$mesa" ||
    say "training on two platforms failed"
for run in one two; do
    grep '"event":"eval"' "$TMPDIR/$run/metrics.jsonl" | tail -n 1 >"$TMPDIR/$run.eval"
done
one=$(number loss "$TMPDIR/one.eval") two=$(number loss "$TMPDIR/two.eval")
echo "held-out loss: one process $one, two platforms $two"
near "$one" "$two" 1e-4 || say "losses differ by more than 1e-4"
exit $bad
