#!/bin/sh
# auto.sh -- what `parallel=auto` takes on two processes with a core each, beside layouts that a
# person would try by hand.
#
#     MOTLEY=./motley bench/auto.sh
#
# JOBS ("mlp:256 mlp:1024 deep:2048 pipeline:512 pipeline:1024"): networks of this folder and batches.
# SECONDS_EACH (2) of one measurement, ROUNDS (3), MPIEXEC (mpirun --bind-to core), which must bind
# each process to a core of its own.
#
# For each job the medians of the rounds, samples/s: each layout (data parallel; two stages by GPipe,
# 1F1B and zero-bubble, cut in equal work; divided layers; one process on one of the cores, the other
# left out) and auto, with a new profile in each round; auto over the fastest.
ROUNDS=${ROUNDS:-3}
. "$(dirname "$0")/lib.sh"
launch=${MPIEXEC:-mpirun --bind-to core} seconds=${SECONDS_EACH:-2}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
set -f   # words have brackets
noise "$dir" 16384

layouts() {
    stages="parallel.data=1 parallel.stages=2 train.micro_batches=8 parallel.schedule"
    cat <<END
data        parallel.data=2
gpipe       $stages=gpipe
1f1b        $stages=1f1b
zero_bubble $stages=zero_bubble
divided     parallel.data=1 parallel.tensor=2
auto        parallel=auto
END
}
# rate_of WORD... -- samples a second, as long as SECONDS_EACH
rate_of() {
    # shellcheck disable=SC2086
    $launch -n 2 "$MOTLEY" bench step "$@" --json |
        sed -n 's/.*"samples_per_second":\([0-9.e+-]*\).*/\1/p'
}

machine
for job in ${JOBS:-mlp:256 mlp:1024 deep:2048 pipeline:512 pipeline:1024}; do
    net=${job%:*} batch=${job#*:}
    set -- "$here/$net.yaml" "data={\"format\":idx,\"path\":\"$dir\",\"std\":256}" train.batch="$batch"
    steps=$(rate_of "$@" --steps 16 --window 2 | awk -v b="$batch" -v s="$seconds" \
        '{ n = int(s * $1 / b); print n < 16 ? 16 : n }')
    for round in $(seq "$ROUNDS"); do
        layouts | while read -r name words; do
            # shellcheck disable=SC2086
            echo "$name $(rate_of "$@" $words --steps "$steps" --window $(((steps + 7) / 8)) </dev/null)"
        done >>"$dir/$job"
    done
    layouts | while read -r name words; do
        awk -v n="$name" '$1 == n && NF == 2' "$dir/$job" >"$dir/rows"
        [ ! -s "$dir/rows" ] || echo "$name $(median "$dir/rows" 2)"
    done | awk -v job="$job" '{ printf "%s%s %.0f", NR == 1 ? job ": " : ", ", $1, $2
                                if ($1 == "auto") auto = $2; else if ($2 > best) best = $2 }
                              END { printf "; auto %.3f of the fastest\n", auto / best }'
done
