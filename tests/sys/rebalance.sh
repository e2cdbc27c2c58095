#!/bin/sh
# rebalance.sh -- proves that shares follow a rank that becomes three times slower while training:
# they move, the rank is named, metrics.jsonl says who has what, and the loss curve is that of the
# undisturbed run within rounding; that a run which may not move them names the rank as well and
# keeps the bits; and that --resume goes on from such a run with the shares of its configuration.
# Time: 200
. "$top_srcdir/tests/sys/lib.sh"
need_device
need_mpi
cat >"$TMPDIR/net.yaml" <<'END'
seed: 7
data: {format: digits, n: 2048, held: 256, size: 28}
model: [flatten, linear: 256, tanh, linear: 256, tanh, linear: 10]
loss: cross_entropy
optimizer: {type: sgd, lr: 0.05}
train: {batch: 256, steps: 200, log_every: 1, eval_every: 1000}
checkpoint: {every: 100}
END

# run NAME SETTING... -- two ranks; rank 1 becomes slow after 40 steps where $slow is set
run() {
    name=$1
    shift
    # shellcheck disable=SC2086
    MOTLEY_LOG=train $MPIEXEC $MPIEXEC_FLAGS \
        -n 1 "$MOTLEY" train "$TMPDIR/net.yaml" --quiet --folder "$TMPDIR/$name" "$@" : \
        -n 1 "$MOTLEY" train "$TMPDIR/net.yaml" --quiet --folder "$TMPDIR/$name" "$@" $slow \
        >"$TMPDIR/$name.log" 2>&1 || say "$name failed: $(cat "$TMPDIR/$name.log")"
    sed -n 's/.*"event":"train","step":\([0-9]*\),.*"loss":\([^,]*\),.*/\1 \2/p' \
        "$TMPDIR/$name/metrics.jsonl" >"$TMPDIR/$name.curve"
}

# apart NAME NAME -- the largest relative difference of two loss curves
apart() {
    paste -d ' ' "$TMPDIR/$1.curve" "$TMPDIR/$2.curve" | awk '
        $1 != $3 { print "steps differ"; exit }
        { d = $2 / $4 - 1; d = d < 0 ? -d : d; most = d > most ? d : most; n++ }
        END { printf "%.3g %d\n", most, n }'
}

slow=
run still parallel.rebalance=off
grep -q '"event":"shares"' "$TMPDIR/still/metrics.jsonl" && say "shares moved, which is off"

slow="device.slow=3 device.slow_from=40"
run moved parallel.rebalance=auto
grep -q "^motley: warning: rank 1 (host .*) takes .* ms a step, the others .* ms: it gets" \
    "$TMPDIR/moved.log" || say "nobody is named: $(cat "$TMPDIR/moved.log")"
grep -q "from step [0-9]* on a batch of 256 is shared" "$TMPDIR/moved.log" || say "no move is told"
last=$(sed -n 's/.*"event":"shares","step":\([0-9]*\),.*"rows":\[\([0-9]*\),\([0-9]*\)\].*/\1 \2 \3/p' \
    "$TMPDIR/moved/metrics.jsonl" | tail -n 1)
echo "$last" | awk '{ exit !($1 > 40 && $2 + $3 == 256 && $2 > 1.5 * $3) }' ||
    say "last shares (step, rows): $last"
set -- $(apart still moved)
echo "last move (step, rows): $last; loss curves of $2 steps are $1 apart"
[ "$2" = 200 ] && near "$1" 0 1e-4 || say "loss curves differ by $1 over $2 steps"

# Slow from the first step on and kept so: named, not moved, and not a bit is different.
slow="device.slow=30"
run kept parallel.rebalance=off train.steps=100
grep -q "rank 1 (host .*) takes .*parallel.rebalance=auto would" "$TMPDIR/kept.log" ||
    say "nobody is named: $(cat "$TMPDIR/kept.log")"
cmp "$TMPDIR/kept/checkpoints/step-100/model.safetensors" \
    "$TMPDIR/still/checkpoints/step-100/model.safetensors" || say "a slow rank changed the result"

rm -r "$TMPDIR/moved/checkpoints/step-200"
slow=
run moved --resume parallel.rebalance=off
set -- $(apart still moved)
[ "$2" = 200 ] && near "$1" 0 1e-4 || say "resumed: loss curves differ by $1 over $2 steps"
exit $bad
