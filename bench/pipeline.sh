#!/bin/sh
# pipeline.sh -- two stages with one core each beside one process with one core, in turns.
#
#     MOTLEY=./motley bench/pipeline.sh
#
# The network of bench/pipeline.yaml, whose two stages are equal. SCHEDULES ("gpipe 1f1b zero_bubble"),
# MICROS ("4 8"), ONE (1 2 4 8: micro-batches of the one process; the best counts), STEPS (5) of one
# measurement, ROUNDS (3), MPIEXEC (mpirun --bind-to core), which must bind each process to a core of
# its own. Medians of the rounds; 2m/(m+1) is what stages of equal work can reach without
# zero-bubble, `of it` the share that is reached.
ROUNDS=${ROUNDS:-3}
. "$(dirname "$0")/lib.sh"
steps=${STEPS:-5} launch=${MPIEXEC:-mpirun --bind-to core}

machine
table=$(mktemp) || exit 1
trap 'rm -f "$table"' EXIT
one() {
    start="$launch -n 1"
    rate "$here/pipeline.yaml" train.micro_batches="$1" --window 1 --steps "$steps"
}
two() {
    start="$launch -n 2"
    rate "$here/pipeline.yaml" parallel.stages=2 parallel.cut=[second] parallel.schedule="$1" \
        train.micro_batches="$2" --window 1 --steps "$steps"
}
for round in $(seq "$ROUNDS"); do
    best=0
    for m in ${ONE:-1 8}; do
        best=$(echo "$best $(one "$m")" | awk '{ print $2 > $1 ? $2 : $1 }')
    done
    for m in ${MICROS:-4 8}; do
        for schedule in ${SCHEDULES:-gpipe 1f1b zero_bubble}; do
            got=$(two "$schedule" "$m")
            [ -n "$got" ] || { echo "$schedule, $m micro-batches failed" >&2; exit 1; }
            echo "$schedule $m $best $got"
        done
    done
done >"$table"
awk '{ print $1, $2 }' "$table" | awk '!seen[$0]++' | while read -r schedule m; do
    awk -v s="$schedule" -v m="$m" '$1 == s && $2 == m { print $3, $4, $4 / $3 }' "$table" \
        >"$table.one"
    ratio=$(median "$table.one" 3)
    echo "$schedule $m $(median "$table.one" 1) $(median "$table.one" 2) $ratio" | awk '{
        printf "%-12s m = %-2d one core %6.0f samples/s, two stages %6.0f, ratio %.3f, 2m/(m+1) " \
               "%.3f, of it %.3f\n", $1, $2, $3, $4, $5, 2 * $2 / ($2 + 1), $5 * ($2 + 1) / 2 / $2 }'
    rm -f "$table.one"
done
