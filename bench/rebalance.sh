#!/bin/sh
# rebalance.sh -- a rank becomes slower in the middle of training: how long until the shares follow,
# and how good they are then.
#
#     MOTLEY=./motley bench/rebalance.sh
#
# Two ranks, one core each; from step FROM (60) on rank 1 takes SLOW (3) times as long for what it
# computes. NET (a network of 784-512-512-10 on generated digits), BATCH (512), STEPS (160), MPIEXEC
# (mpirun). The optimum is the sum of the rates that are left: half of the undisturbed job's,
# and half of it divided by SLOW.
# shellcheck disable=SC2086
. "$(dirname "$0")/lib.sh"
batch=${BATCH:-512} steps=${STEPS:-160} from=${FROM:-60} slow=${SLOW:-3}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cat >"$dir/net.yaml" <<END
seed: 7
data: {format: digits, n: $((batch * 8)), held: 64, size: 28}
model: [flatten, linear: 512, relu, linear: 512, relu, linear: 10]
loss: cross_entropy
optimizer: {type: sgd, lr: 0.05}
train: {batch: $batch, steps: $steps, log_every: 1, eval_every: 100000}
checkpoint: {every: -1}
END
net=${NET:-$dir/net.yaml}
start=${MPIEXEC:-mpirun --bind-to core}

# run NAME "SETTINGS OF BOTH" "SETTINGS OF RANK 1"
run() {
    one="$MOTLEY train $net --quiet --force --folder $dir/$1 $2"
    MOTLEY_LOG=train $start -n 1 $one : -n 1 $one $3 >"$dir/$1.log" 2>&1 ||
        { cat "$dir/$1.log" >&2; exit 1; }
    sed -n 's/.*"event":"train","step":\([0-9]*\),.*"loss":\([^,]*\),.*"seconds":\([0-9.e+-]*\).*/\1 \2 \3/p' \
        "$dir/$1/metrics.jsonl" >"$dir/$1.steps"
}

# between NAME FIRST LAST -- samples a second from after step FIRST to step LAST
between() {
    awk -v a="$2" -v b="$3" -v batch="$batch" \
        '$1 == a { t = $3 } $1 == b { print (b - a) * batch / ($3 - t) }' "$dir/$1.steps"
}

machine
slowness="device.slow=$slow device.slow_from=$from"
run warm "train.steps=20" ""            # builds kernels
run still "parallel.rebalance=off" ""
run even "parallel.rebalance=off" "$slowness"
run moved "parallel.rebalance=auto" "$slowness"

sed -n 's/^motley: //p' "$dir/moved.log" | grep 'takes\|shared\|moving'
before=$(between moved 10 $from)
optimum=$(echo "$(between still 10 $steps)" | awk -v k="$slow" '{ print $1 / 2 * (1 + 1 / k) }')
awk -v from="$from" -v steps="$steps" -v batch="$batch" -v best="$optimum" '
    { t[$1] = $3 }
    END {
        # The first step from which on 5 steps in a row, and all that follows, reach 0.9.
        for (s = from + 1; s + 5 <= steps; s++) {
            if (5 * batch / (t[s + 5] - t[s]) >= 0.9 * best &&
                (steps - s) * batch / (t[steps] - t[s]) >= 0.9 * best) {
                print s - from
                exit
            }
        }
        print "never"
    }' "$dir/moved.steps" >"$dir/needed"
curve=$(paste -d ' ' "$dir/still.steps" "$dir/moved.steps" |
    awk '{ d = $2 / $5 - 1; d = d < 0 ? -d : d; most = d > most ? d : most } END { print most }')
printf 'before     %.0f samples/s\n' "$before"
printf 'slowed     %.0f samples/s with the shares of before\n' "$(between even $((from + 5)) $steps)"
printf 'optimum    %.0f samples/s: the sum of the rates that are left\n' "$optimum"
last=$(sed -n 's/.*"event":"shares","step":\([0-9]*\),.*/\1/p' "$dir/moved/metrics.jsonl" | tail -n 1)
after=$(between moved $((${last:-from} + 1)) $steps)
echo "$after $optimum" | awk '{ printf "after      %.0f samples/s, %.3f of the optimum\n", $1, $1 / $2 }'
echo "steps      $(cat "$dir/needed") until 0.9 of the optimum is reached again"
echo "loss curve $curve at most from the undisturbed one"
