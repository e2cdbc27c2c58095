#!/bin/sh
# ranks.sh -- two processes with one core each beside one process with both, at the same global
# batch, in turns.
#
#     MOTLEY=./motley bench/ranks.sh
#
# The network of CONFIG (bench/mlp.yaml). BATCH (1024), STEPS (50) of one measurement, ROUNDS (5), MPIEXEC
# (mpirun), which must bind each process to a core of its own. Medians, and the median of the
# ratios two / one of the rounds.
. "$(dirname "$0")/lib.sh"
batch=${BATCH:-1024} steps=${STEPS:-50} config=${CONFIG:-$here/mlp.yaml}

machine
table=$(mktemp) || exit 1
trap 'rm -f "$table"' EXIT
for start in "" "${MPIEXEC:-mpirun --bind-to core} -n 2"; do   # builds kernels
    rate "$config" train.batch="$batch" --steps 20 >/dev/null || exit 1
done
for round in $(seq "$ROUNDS"); do
    start=
    one=$(rate "$config" train.batch="$batch" --steps "$steps")
    start="${MPIEXEC:-mpirun --bind-to core} -n 2"
    two=$(rate "$config" train.batch="$batch" --steps "$steps")
    [ -n "$one" ] && [ -n "$two" ] || { echo "round $round failed" >&2; exit 1; }
    echo "$one $two" | awk '{ printf "%.0f %.0f %.3f\n", $1, $2, $2 / $1 }' | tee -a "$table"
done
echo "median     one $(median "$table" 1) samples/s, two $(median "$table" 2) samples/s," \
    "ratio $(median "$table" 3)"
