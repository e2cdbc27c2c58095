#!/bin/sh
# forecast.sh -- how long a step takes beside what `motley plan --profile` expects of the same words.
#
#     MOTLEY=./motley bench/forecast.sh
#
# Jobs of one process with all cores and of two processes with a core each: one replica, two,
# stages, divided layers, ranks made slower. CASES (all of them): names of those to be done. SECONDS_EACH
# (2) of one measurement, ROUNDS (3), MPIEXEC (mpirun --bind-to core), which must bind each process
# to a core of its own. In every round each job is measured for its profile anew, then run.
#
# Medians over the rounds: expected and measured step, their ratio; and the range of the ratios.
ROUNDS=${ROUNDS:-3}
. "$(dirname "$0")/lib.sh"
launch=${MPIEXEC:-mpirun --bind-to core} seconds=${SECONDS_EACH:-2}

machine
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
set -f   # words have brackets
noise "$dir" 16384

# name, processes, network, words; after | those of the second process alone
jobs() {
    cat <<'END'
one-128       1 mlp       train.batch=128
one-1024      1 mlp       train.batch=1024
data-256      2 mlp       train.batch=256
data-1024     2 mlp       train.batch=1024
data-deep     2 deep      train.batch=2048
gpipe         2 pipeline  train.batch=1024 parallel.stages=2 parallel.cut=[second] parallel.schedule=gpipe train.micro_batches=8
1f1b          2 pipeline  train.batch=1024 parallel.stages=2 parallel.cut=[second] parallel.schedule=1f1b train.micro_batches=8
zero_bubble   2 pipeline  train.batch=1024 parallel.stages=2 parallel.cut=[second] parallel.schedule=zero_bubble train.micro_batches=4
1f1b-small    2 mlp       parallel.stages=2 train.batch=512 train.micro_batches=4
tensor        2 pipeline  parallel.tensor=2 train.batch=512
tensor-mlp    2 mlp       parallel.tensor=2 train.batch=1024
data-uneven   2 mlp       parallel.shares=auto train.batch=2048 | device.slow=3
1f1b-uneven   2 pipeline  train.batch=1024 parallel.stages=2 parallel.schedule=1f1b train.micro_batches=8 parallel.cut=[relu6] | device.slow=3
END
}

# run RANKS WORDS OF ALL | WORDS OF THE SECOND -- with $verb before and $more behind them
run() {
    ranks=$1 all=${2%%|*} second=
    case $2 in
    *\|*) second=${2#*|} ;;
    esac
    # shellcheck disable=SC2086
    case $ranks$second in
    1) "$MOTLEY" $verb $all $more ;;
    2) $launch -n 2 "$MOTLEY" $verb $all $more ;;
    *) $launch -n 1 "$MOTLEY" $verb $all $more : -n 1 "$MOTLEY" $verb $all $second $more ;;
    esac
}

# expected RANKS WORDS; measured RANKS WORDS STEPS -- seconds of a step
expected() {
    verb=plan more="--profile"
    run "$1" "$2" | sed -n 's/^plan:.*//; s/^  predicted: \([0-9.e+-]*\) \(u*m*s\) a step.*/\1 \2/p' |
        awk '{ print $1 * ($2 == "us" ? 1e-6 : $2 == "ms" ? 1e-3 : 1) }'
}
measured() {
    verb="bench step" more="--json --steps $3 --window $((($3 + 7) / 8))"
    run "$1" "$2" | sed -n 's/.*"step_seconds":\([0-9.e+-]*\).*/\1/p'
}

table=$dir/table
for round in $(seq "$ROUNDS"); do
    jobs | while read -r name ranks net words; do
        case " ${CASES:-$name} " in
        *" $name "*) ;;
        *) continue ;;
        esac
        words="$here/$net.yaml data={\"format\":idx,\"path\":\"$dir\",\"std\":256} $words"
        a=$(expected "$ranks" "$words" </dev/null)
        steps=$(echo "$a $seconds" | awk '{ n = int($2 / $1); print n < 16 ? 16 : n }')
        b=$(measured "$ranks" "$words" "$steps" </dev/null)
        [ -n "$a" ] && [ -n "$b" ] || { echo "$name failed" >&2; continue; }
        echo "$name $a $b" | awk '{ print $0, $2 / $3 }' >>"$table"
    done
done
echo "job            expected    measured    ratio  (range)"
awk '!seen[$1]++ { print $1 }' "$table" | while read -r name; do
    awk -v n="$name" '$1 == n' "$table" >"$dir/rows"
    echo "$name $(median "$dir/rows" 2) $(median "$dir/rows" 3) $(median "$dir/rows" 4)" \
        "$(sort -g -k 4 "$dir/rows" | sed -n '1p;$p' | awk '{ printf "%s ", $4 }')" |
        awk '{ printf "%-12s %8.3f ms %8.3f ms    %.3f  (%.3f to %.3f)\n", $1, 1e3 * $2, 1e3 * $3, $4, $5, $6 }'
done
