#!/bin/sh
# pipeline.sh -- two stages with one core each beside one process with one core, in turns.
#
#     MOTLEY=./motley bench/pipeline.sh
#
# The network of bench/pipeline.yaml, whose two stages are equal, on random bytes in the format of
# MNIST, which cost nothing to read. SCHEDULES (gpipe 1f1b zero_bubble), MICROS (4 8), STEPS (10) of
# one measurement, ROUNDS (3), MPIEXEC (mpirun --bind-to core), which must bind each process to a
# core of its own.
#
# Medians over the rounds of: samples/s of one process and of two stages, with the same micro-batches;
# their ratio, what stages of equal work can reach without zero-bubble, 2m/(m+1), and the share of
# it that is reached.
ROUNDS=${ROUNDS:-3}
. "$(dirname "$0")/lib.sh"
steps=${STEPS:-10} launch=${MPIEXEC:-mpirun --bind-to core}

machine
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
noise "$dir" 16384

# try START WORD... -- samples/s of a process started by these words; windows of equal length
try() {
    start=$1
    shift
    rate "$here/pipeline.yaml" data.path="$dir" --window $((steps / 5)) --steps "$steps" "$@"
}
table=$dir/table
for round in $(seq "$ROUNDS"); do
    for m in ${MICROS:-4 8}; do
        one=$(try "$launch -n 1" train.micro_batches="$m")
        for schedule in ${SCHEDULES:-gpipe 1f1b zero_bubble}; do
            two=$(try "$launch -n 2" parallel.stages=2 parallel.cut=[second] \
                parallel.schedule="$schedule" train.micro_batches="$m")
            [ -n "$two" ] || { echo "$schedule, $m micro-batches failed" >&2; exit 1; }
            echo "$schedule $m $one $two" | awk '{ print $0, $4 / $3 }' >>"$table"
        done
    done
done
awk '!seen[$1 " " $2]++ { print $1, $2 }' "$table" | while read -r schedule m; do
    awk -v s="$schedule" -v m="$m" '$1 == s && $2 == m' "$table" >"$dir/rows"
    echo "$schedule $m $(median "$dir/rows" 3) $(median "$dir/rows" 4) $(median "$dir/rows" 5)" |
        awk '{ ideal = 2 * $2 / ($2 + 1)
            printf "m = %d  %-12s one core %5.0f  two stages %5.0f  ratio %.3f of %.3f: %.3f\n",
                $2, $1, $3, $4, $5, ideal, $5 / ideal }'
done
