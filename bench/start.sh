#!/bin/sh
# start.sh -- seconds from the start of the program to the end of its first training step, with full
# caches.
#
#     MOTLEY=./motley bench/start.sh
#
# CONFIG (examples/digits-mlp/digits-mlp.yaml) is trained for one step ROUNDS (5) times after once
# for the caches, in a folder of its own. Printed are the time of the whole process, which also
# evaluates and writes a checkpoint, and what the run itself took of it, from behind set-up to its end.
. "$(dirname "$0")/lib.sh"
config=${CONFIG:-$here/../examples/digits-mlp/digits-mlp.yaml}
machine
folder=$(mktemp -d) || exit 1
table=$folder/table
trap 'rm -rf "$folder"' EXIT

first() {
    rm -rf "$folder/run"
    "$MOTLEY" train "$config" train.steps=1 schedule=constant --quiet --folder "$folder/run" ||
        exit 1
}
first
for round in $(seq "$ROUNDS"); do
    begin=$(date +%s.%N)
    first
    end=$(date +%s.%N)
    sed -n 's/.*"event":"end".*"seconds":\([0-9.e+-]*\).*/\1/p' "$folder/run/metrics.jsonl" |
        awk -v begin="$begin" -v end="$end" '{ printf "%.3f %.3f\n", end - begin, $1 }' |
        tee -a "$table"
done
echo "median     process $(median "$table" 1) s, of that the run $(median "$table" 2) s"
