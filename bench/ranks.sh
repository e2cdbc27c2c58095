#!/bin/sh
# ranks.sh -- two processes with one core each beside one process with both, at the same global
# batch, in turns.
#
#     MOTLEY=./motley bench/ranks.sh
#
# The network of NET (bench/mlp.yaml, or another one for images of 28 x 28) on random bytes in the
# format of MNIST, which cost nothing to read. BATCH (1024), STEPS (100) of one measurement, ROUNDS
# (5), MPIEXEC (mpirun --bind-to core), which must bind each process to a core of its own. Medians,
# and the median of the ratios two / one of the rounds.
. "$(dirname "$0")/lib.sh"
batch=${BATCH:-1024} steps=${STEPS:-100} net=${NET:-$here/mlp.yaml}
two="${MPIEXEC:-mpirun --bind-to core} -n 2"
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
table=$dir/table

noise "$dir" 25600
set -- "$net" "data={format: idx, path: $dir, std: 256}" train.batch="$batch"
machine
for start in "" "$two"; do   # builds kernels
    rate "$@" --steps 20 >/dev/null || exit 1
done
for round in $(seq "$ROUNDS"); do
    start=
    a=$(rate "$@" --steps "$steps")
    start=$two
    b=$(rate "$@" --steps "$steps")
    [ -n "$a" ] && [ -n "$b" ] || { echo "round $round failed" >&2; exit 1; }
    echo "$a $b" | awk '{ printf "%.0f %.0f %.3f\n", $1, $2, $2 / $1 }' | tee -a "$table"
done
echo "median     one $(median "$table" 1) samples/s, two $(median "$table" 2) samples/s," \
    "ratio $(median "$table" 3)"
