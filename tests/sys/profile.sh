#!/bin/sh
# profile.sh -- proves what a user meets: motley plan measures, saves and reads a profile, and refuses
# one of another network or job with the reason; with parallel.shares=auto a rank that is far slower
# gets fewer samples, and the run has the loss of one process within rounding; what a slow rank takes
# for one sample does not keep larger sizes from being measured; on PoCL and rusticl at
# once the profile sees two kinds, and llvmpipe by far the slower one; motley devices under mpirun is
# one table of all ranks.
# Time: 200
. "$top_srcdir/tests/sys/lib.sh"
RUSTICL_ENABLE=${RUSTICL_ENABLE:-llvmpipe}
export RUSTICL_ENABLE
need_device
need_mpi
small_config
config=$TMPDIR/small.yaml json=$TMPDIR/two.json

# uneven WORD... -- two ranks, the first of which is 20 times slower
uneven() {
    word=$1
    shift
    # shellcheck disable=SC2086
    $MPIEXEC $MPIEXEC_FLAGS -n 1 "$MOTLEY" "$word" "$@" device.slow=20 : \
        -n 1 "$MOTLEY" "$word" "$@"
}

# share RANK -- its samples by the plan in $TMPDIR/out; 0 if it is left out
share() {
    sed -n -e "s/^  rank $1: \([0-9]*\) samples.*/\1/p" -e "s/^  rank $1: left out/0/p" "$TMPDIR/out"
}

# refused CODE TEXT WORD... -- motley plan with two ranks fails with that text
refused() {
    want=$1 text=$2
    shift 2
    ranks 2 plan "$config" "$@" >"$TMPDIR/out" 2>&1
    got=$?
    [ $got = "$want" ] || say "plan $*: exit code $got, not $want"
    grep -q "$text" "$TMPDIR/out" || { say "plan $*: does not say '$text':"; cat "$TMPDIR/out"; }
}

ranks 2 plan "$config" --profile --save-profile "$json" >"$TMPDIR/first" || say "measuring failed"
grep -q '^profile: measured' "$TMPDIR/first" || say "no profile is printed"
grep -q 'ranks of one host' "$TMPDIR/first" || say "no paths are printed"
ranks 2 plan "$config" --profile="$json" >"$TMPDIR/second" || say "reading the profile failed"
for file in first second; do   # the same figures, whoever made them
    sed -n '/^  kind 0/,$p' "$TMPDIR/$file" >"$TMPDIR/$file.kinds"
done
cmp "$TMPDIR/first.kinds" "$TMPDIR/second.kinds" || say "what is read differs from what was measured"
refused 2 'another network' --profile="$json" model.1.linear=49
refused 2 'goes up to 50 samples' --profile="$json" train.batch=51
refused 2 "now (host" --profile="$json" device.slow=2
echo '{"format": "motley-profile", "version": 2' >"$TMPDIR/cut.json"
refused 1 'cut.json:' --profile="$TMPDIR/cut.json"
"$MOTLEY" plan "$config" --profile="$json" >"$TMPDIR/out" 2>&1 && say "one rank took a profile of two"
grep -q 'is of 2 ranks' "$TMPDIR/out" || say "a profile of two ranks: $(cat "$TMPDIR/out")"

uneven plan "$config" parallel.shares=auto >"$TMPDIR/out" 2>&1 || say "measured shares failed"
slow=$(share 0) fast=$(share 1)
echo "shares: slow $slow, fast $fast"
[ "$((slow + fast))" = 50 ] && [ "$fast" -gt "$((2 * slow))" ] || say "shares are $slow and $fast"

"$MOTLEY" train "$config" --quiet --folder "$TMPDIR/one" || say "training alone failed"
uneven train "$config" --quiet --folder "$TMPDIR/two" parallel.shares=auto ||
    say "training with measured shares failed"
for run in one two; do
    grep '"event":"eval"' "$TMPDIR/$run/metrics.jsonl" | tail -n 1 >"$TMPDIR/$run.eval"
done
one=$(number loss "$TMPDIR/one.eval") two=$(number loss "$TMPDIR/two.eval")
near "$one" "$two" 1e-4 || say "loss of one process $one, with measured shares $two"

# Starting is most of what one sample takes: that must not keep larger sizes from being measured.
large=$(cd "$top_srcdir" && pwd)/examples/digits-mlp/digits-mlp.yaml
# shellcheck disable=SC2086
$MPIEXEC $MPIEXEC_FLAGS -n 1 "$MOTLEY" plan "$large" train.batch=2048 --save-profile "$json" \
    device.slow=300 : -n 1 "$MOTLEY" plan "$large" train.batch=2048 --save-profile "$json" \
    >"$TMPDIR/out" 2>&1 || { say "profiling a slow rank failed:"; cat "$TMPDIR/out"; }
grep -q '"samples": \[1,32,' "$json" || say "no samples in $json"
grep -q '"samples": \[1\]' "$json" && say "a slow rank was measured at one sample only"

ranks 3 devices >"$TMPDIR/out" || say "motley devices failed"
[ "$(grep -c '^[012] ' "$TMPDIR/out")" = 3 ] && grep -q '^rank .*cores.*memory.*share' "$TMPDIR/out" ||
    { say "motley devices of three ranks:"; cat "$TMPDIR/out"; }

pocl=$(of 'Portable Computing Language') mesa=$(of rusticl)
if [ -n "$pocl" ] && [ -n "$mesa" ]; then
    # shellcheck disable=SC2086
    $MPIEXEC $MPIEXEC_FLAGS -n 1 "$MOTLEY" plan "$config" parallel.shares=auto --profile \
        device.use="$pocl" : -n 1 "$MOTLEY" plan "$config" parallel.shares=auto --profile \
        device.use="$mesa" >"$TMPDIR/out" 2>&1 || { say "two platforms failed:"; cat "$TMPDIR/out"; }
    grep -q '^  kind 1: llvmpipe' "$TMPDIR/out" || { say "no kind of its own:"; cat "$TMPDIR/out"; }
    sed -n 's/^ *\([0-9]*\) samples: *\([0-9.e+-]*\) ms.*/\1 \2/p' "$TMPDIR/out" |
        awk '$1 == 1 { kind++ } { ms[kind] = $2 } END { printf "llvmpipe takes %.0f times as long " \
             "as PoCL\n", ms[2] / ms[1]; exit !(ms[2] > 3 * ms[1]) }' || say "llvmpipe is not slower"
    slow=$(share 1)
    [ "$slow" -le 12 ] || say "llvmpipe gets $slow of 50 samples"
else
    echo "two platforms: not here ('$pocl' and '$mesa')"
fi
exit $bad
