#!/bin/sh
# uneven.sh -- data parallel on ranks whose rates are 1 : 1 : 4: what measured shares reach of the
# sum of the rates that the ranks reach alone, beside equal shares.
#
#     MOTLEY=./motley bench/uneven.sh
#
# Needs two cores. Rank 0 has one of them; ranks 1 and 2 are made four times slower by
# device.slow, which sleeps three quarters of the time, and share the other. Alone each rank runs
# on the core it has in the job, with the rows that it has there. NET (bench/mlp.yaml, or another
# network for images of 28 x 28), BATCH (25600), STEPS (40) of one measurement, ROUNDS (3),
# MPIEXEC (mpirun --oversubscribe --bind-to none), CORES ("0 1").
. "$(dirname "$0")/lib.sh"
batch=${BATCH:-25600} steps=${STEPS:-40}
cores=${CORES:-0 1}
one=${cores%% *} two=${cores##* }
mpi=${MPIEXEC:-mpirun --oversubscribe --bind-to none}
net=${NET:-$here/mlp.yaml}
data=$(mktemp -d) || exit 1
trap 'rm -rf "$data"' EXIT
table=$data/table profile=$data/profile.json

noise "$data" 25600
set -- "data={format: idx, path: $data, std: 256}"

# together WORD... -- samples a second of the three ranks
together() {
    # shellcheck disable=SC2086
    $mpi -n 1 taskset -c "$one" "$MOTLEY" bench step "$net" "$@" --steps "$steps" --window 4 --json : \
        -n 2 taskset -c "$two" "$MOTLEY" bench step "$net" "$@" device.slow=4 --steps "$steps" \
        --window 4 --json | sed -n 's/.*"samples_per_second":\([0-9.e+]*\).*/\1/p'
}

# alone CORE ROWS WORD...
alone() {
    core=$1 rows=$2
    shift 2
    start="$mpi -n 1 taskset -c $core"
    rate "$net" "$@" train.batch="$rows" --steps "$steps" --window 4
}

machine
# shellcheck disable=SC2086
rows=$($mpi -n 1 taskset -c "$one" "$MOTLEY" plan "$net" "$@" train.batch="$batch" \
    parallel.shares=auto --save-profile "$profile" : \
    -n 2 taskset -c "$two" "$MOTLEY" plan "$net" "$@" train.batch="$batch" parallel.shares=auto \
    --save-profile "$profile" device.slow=4 |
    sed -n 's/^  rank [012]: \([0-9]*\) samples.*/\1/p')
rows=$(echo $rows)
echo "shares     $rows of $batch"
one_rows=${rows%% *} last_rows=${rows##* } middle=${rows#* } middle=${middle%% *}
echo "rank 0, rank 1, rank 2 alone, their sum; equal shares, measured shares; part of the sum"
for round in $(seq "$ROUNDS"); do
    a=$(alone "$one" "$one_rows" "$@")
    b=$(alone "$two" "$middle" "$@" device.slow=4)
    c=$(alone "$two" "$last_rows" "$@" device.slow=4)
    even=$(together "$@" train.batch="$batch")
    auto=$(together "$@" train.batch="$batch" parallel.shares=auto parallel.profile="$profile")
    [ -n "$a" ] && [ -n "$b" ] && [ -n "$c" ] && [ -n "$even" ] && [ -n "$auto" ] ||
        { echo "round $round failed" >&2; exit 1; }
    echo "$a $b $c $even $auto" |
        awk '{ s = $1 + $2 + $3; printf "%.0f %.0f %.0f %.0f   %.0f %.0f   %.3f %.3f\n",
               $1, $2, $3, s, $4, $5, $4 / s, $5 / s }' | tee -a "$table"
done
echo "median     equal shares $(median "$table" 7) of the sum, measured shares $(median "$table" 8)"
