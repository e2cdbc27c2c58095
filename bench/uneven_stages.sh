#!/bin/sh
# uneven_stages.sh -- a pipeline of three ranks whose rates are 1 : 1 : 4: layers cut by the planner
# for the measured speeds beside the even cut, and beside the planner's own prediction.
#
#     MOTLEY=./motley bench/uneven_stages.sh
#
# Needs two cores. Rank 0 has one of them; ranks 1 and 2 are made four times slower by
# device.slow, which sleeps three quarters of the time, and share the other. MODEL (784, 12 times
# 512, 10), BATCH (4096), STEPS (16) of one measurement, ROUNDS (3), MPIEXEC (mpirun --oversubscribe
# --bind-to none), CORES ("0 1").
#
# By round: samples/s of the even cut and of the planned one, and what of its prediction the planned
# one reaches.
. "$(dirname "$0")/lib.sh"
batch=${BATCH:-4096} steps=${STEPS:-16}
cores=${CORES:-0 1}
one=${cores%% *} two=${cores##* }
mpi=${MPIEXEC:-mpirun --oversubscribe --bind-to none}
layers='[flatten, {repeat: 12, layers: [{linear: 512}, relu]}, {linear: 10}]'
model=${MODEL:-$layers}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

noise "$dir" $((batch * 6))

# together COMMAND WORD... -- on the three ranks; WORDs are settings or options
together() {
    command=$1
    shift
    set -- "$here/mlp.yaml" "data={format: idx, path: $dir, std: 256}" "model=$model" \
        train.batch="$batch" "$@"
    # shellcheck disable=SC2086
    $mpi -n 1 taskset -c "$one" "$MOTLEY" $command "$@" : \
        -n 2 taskset -c "$two" "$MOTLEY" $command "$@" device.slow=4
}
# speed WORD... -- samples a second
speed() {
    together "bench step" --steps "$steps" --window 2 --json "$@" |
        sed -n 's/.*"samples_per_second":\([0-9.e+]*\).*/\1/p'
}

machine
auto="parallel.grid=auto parallel.data=1 parallel.stages=3 parallel.tensor=1"
for round in $(seq "$ROUNDS"); do
    together plan --save-profile "$dir/profile" >/dev/null || exit 1
    # shellcheck disable=SC2086
    together plan $auto parallel.profile="$dir/profile" >"$dir/plan"
    expected=$(sed -n 's|^planned from measured speed:.* \([0-9.e+]*\) samples/s.*|\1|p' "$dir/plan")
    [ "$round" != 1 ] || grep -E '^planned|^  fastest|^  next|stage [0-9], rank|micro-batches' "$dir/plan"
    even=$(speed parallel.stages=3)
    # shellcheck disable=SC2086
    planned=$(speed $auto parallel.profile="$dir/profile")
    [ -n "$expected" ] && [ -n "$even" ] && [ -n "$planned" ] ||
        { echo "round $round failed" >&2; exit 1; }
    echo "$even $planned $expected" |
        awk '{ printf "even %.0f  planned %.0f  expected %.0f  of it %.3f  planned / even %.2f\n",
               $1, $2, $3, $2 / $3, $2 / $1 }' | tee -a "$dir/table"
done
echo "median: even $(median "$dir/table" 2), planned $(median "$dir/table" 4), of its prediction $(
    median "$dir/table" 9), planned / even $(median "$dir/table" 13)"
