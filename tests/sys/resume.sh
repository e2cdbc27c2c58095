#!/bin/sh
# resume.sh -- proves that a run that was stopped and continued has the bits of one that was not:
# at a limit of steps, on a signal, after kill -9, alone and on several processes; and that another
# number of processes continues to the same result within rounding.
# Time: 300
. "$top_srcdir/tests/sys/lib.sh"
need_device
small_config
config=$TMPDIR/small.yaml

whole() {
    ranks "$1" train "$config" --quiet --folder "$TMPDIR/whole$1" || say "training on $1 failed"
}

# The same, in two parts: 30 steps are in the middle of an epoch and between two checkpoints.
parts() {
    ranks "$1" train "$config" --quiet --folder "$TMPDIR/parts$1" checkpoint.every=30 \
        schedule.warmup=10 >/dev/null || say "training on $1 failed"
    rm -r "$TMPDIR/parts$1/checkpoints/step-60"
    ranks "$1" train "$config" --quiet --resume --folder "$TMPDIR/parts$1" ||
        say "resuming on $1 failed"
    same_state "$TMPDIR/whole$1" "$TMPDIR/parts$1" 60 || say "$1 ranks: resumed run differs"
    steps=$(sed -n 's/.*"event":"train","step":\([0-9]*\).*/\1/p' \
        "$TMPDIR/parts$1/metrics.jsonl" | tr '\n' ' ')
    [ "$steps" = "5 10 15 20 25 30 35 40 45 50 55 60 " ] ||
        say "$1 ranks: metrics.jsonl has the steps $steps"
}

whole 1
parts 1

# Asked to stop: a checkpoint, exit code 3, and the rest afterwards.
dir=$TMPDIR/stopped
"$MOTLEY" train "$config" train.steps=1000000 schedule=constant --folder "$dir" \
    checkpoint.every=-1 >"$TMPDIR/log" 2>&1 &
pid=$!
until grep -q 'step' "$TMPDIR/log"; do
    kill -0 $pid 2>/dev/null || break
    sleep 0.1
done
kill -TERM $pid
wait $pid
code=$?
[ $code = 3 ] || say "SIGTERM: exit code $code instead of 3: $(tail -n 3 "$TMPDIR/log")"
grep -q 'stopped on request after step .*; --resume continues' "$TMPDIR/log" ||
    say "SIGTERM: $(tail -n 3 "$TMPDIR/log")"
step=$(ls "$dir/checkpoints" | sed 's/step-//' | sort -n | tail -n 1)
"$MOTLEY" train "$config" train.steps=$((step + 20)) schedule=constant --quiet --resume \
    --folder "$dir" || say "resuming after SIGTERM failed"
"$MOTLEY" train "$config" train.steps=$((step + 20)) schedule=constant --quiet \
    --folder "$TMPDIR/straight" || say "training failed"
same_state "$dir" "$TMPDIR/straight" $((step + 20)) || say "run stopped by SIGTERM differs"

need_mpi
for n in 2 3; do
    whole $n
    parts $n
done

# Weights of 1 rank, continued on 3; of 2, continued alone.
for pair in 1:3 2:1; do
    from=${pair%:*} to=${pair#*:}
    dir=$TMPDIR/cross$from$to
    cp -r "$TMPDIR/whole$from" "$dir"
    rm -r "$dir/checkpoints/step-60" "$dir/checkpoints/step-40"
    ranks "$to" train "$config" --quiet --resume --folder "$dir" || say "from $from to $to failed"
    "$MOTLEY" eval "$dir" --json >"$TMPDIR/a"
    "$MOTLEY" eval "$TMPDIR/whole1" --json >"$TMPDIR/b"
    near "$(number loss "$TMPDIR/a")" "$(number loss "$TMPDIR/b")" 1e-3 ||
        say "from $from to $to ranks: $(cat "$TMPDIR/a" "$TMPDIR/b")"
done

# kill -9 of one of three: the job ends soon, says who died, and the rest continues to the same bits.
dir=$TMPDIR/killed
long="train.steps=4000 checkpoint.every=200 checkpoint.keep=3 train.eval_every=100000 folder=$dir"
start=$(date +%s)
# shellcheck disable=SC2086
$MPIEXEC $MPIEXEC_FLAGS -n 3 "$MOTLEY" train "$config" $long >"$TMPDIR/log" 2>&1 &
job=$!
while ! [ -d "$dir/checkpoints/step-200" ]; do
    kill -0 $job 2>/dev/null || break
    [ $(($(date +%s) - start)) -lt 60 ] || break
    sleep 0.05
done
victim=$(ps -e -o pid= -o args= | awk -v dir="folder=$dir" \
    '$2 ~ /motley$/ && index($0, dir) { last = $1 } END { print last }')
kill -KILL "$victim"
before=$(date +%s)
wait $job
code=$?
after=$(date +%s)
[ $code != 0 ] || say "kill -9: exit code 0"
# MPICH's launcher kills the others at once and says so itself, mostly before they can.
said=$(grep -c '^motley: ' "$TMPDIR/log")
[ "$(grep -c '^motley: .*rank [0-2] (host .*) died: its process' "$TMPDIR/log")" = "$said" ] &&
    { [ "$said" = 1 ] || grep -q 'EXIT STRING: Killed' "$TMPDIR/log"; } && [ "$said" -le 1 ] ||
    say "kill -9: not one message that names rank, host and device: $(cat "$TMPDIR/log")"
[ $((after - before)) -le 10 ] || say "kill -9: the job took $((after - before)) s to end"
# shellcheck disable=SC2086
ranks 3 train "$config" $long --quiet --resume || say "resuming after kill -9 failed"
# shellcheck disable=SC2086
ranks 3 train "$config" $long --quiet folder="$TMPDIR/unkilled" || say "training failed"
same_state "$dir" "$TMPDIR/unkilled" 4000 || say "run that was killed differs"
exit $bad
