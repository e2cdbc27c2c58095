#!/bin/sh
# wire.sh -- proves of parallel.wire=bf16: two ranks learn the digits as with fp32, hold the same
# weights at every step, and do the same twice and after a restart, to the bit; with fp16 values an
# overflow of one is one of all; a timeline shows half the bytes; another word is refused.
# Time: 120
. "$top_srcdir/tests/sys/lib.sh"
need_device
need_mpi
small_config
config=$TMPDIR/small.yaml
digits=$top_srcdir/examples/digits-mlp/digits-mlp.yaml

"$MOTLEY" train "$config" parallel.wire=fp16 >"$TMPDIR/out" 2>&1
[ $? = 2 ] || say "parallel.wire=fp16: not exit code 2"
grep -q "parallel.wire.*fp16.*fp32.*bf16" "$TMPDIR/out" || say "says: $(cat "$TMPDIR/out")"

# Three in 400 held-out samples change sides by chance: the standard deviation of an accuracy of
# 0.96 on 4000 samples is 0.003.
for w in fp32 bf16; do
    ranks 2 train "$digits" parallel.wire=$w --quiet --folder "$TMPDIR/$w" checkpoint.every=-1 ||
        say "training with $w failed"
    "$MOTLEY" eval "$TMPDIR/$w" --json >"$TMPDIR/$w.eval" || say "eval failed"
    echo "$w: accuracy $(number accuracy "$TMPDIR/$w.eval"), loss $(number loss "$TMPDIR/$w.eval")"
done
near "$(number accuracy "$TMPDIR/bf16.eval")" "$(number accuracy "$TMPDIR/fp32.eval")" 0.009 ||
    say "another accuracy than with fp32"
cmp -s "$TMPDIR"/fp32/checkpoints/*/model.safetensors "$TMPDIR"/bf16/checkpoints/*/model.safetensors &&
    say "gradients were not rounded"

MOTLEY_DEBUG=agree ranks 2 train "$config" parallel.wire=bf16 --quiet --folder "$TMPDIR/whole" ||
    say "training failed"
cp -r "$TMPDIR/whole" "$TMPDIR/parts"
rm -r "$TMPDIR/parts/checkpoints/step-60" "$TMPDIR/parts/checkpoints/step-40"
ranks 2 train "$config" parallel.wire=bf16 --quiet --resume --folder "$TMPDIR/parts" ||
    say "resuming failed"
same_state "$TMPDIR/whole" "$TMPDIR/parts" 60 || say "the resumed run differs"

MOTLEY_DEBUG=agree ranks 2 train "$config" precision=fp16 parallel.wire=bf16 \
    train.loss_scale=1099511627776 train.steps=150 --quiet --folder "$TMPDIR/large" ||
    say "training in fp16 failed"
skipped=$(number skipped "$TMPDIR/large/metrics.jsonl")
echo "fp16, a large scale: $skipped steps skipped"
[ "$skipped" -ge 15 ] && [ "$skipped" -le 40 ] || say "$skipped steps were skipped"

# Gradients in blocks of 64: 6912 + 64 + 512 + 64 numbers of 2 bytes, and statistics of 12.
ranks 2 train "$config" parallel.wire=bf16 train.steps=2 schedule=constant --quiet --folder "$TMPDIR/short" \
    --trace "$TMPDIR/trace.json" || say "training with a timeline failed"
for bytes in 12 $((2 * 7552)); do
    grep -q "\"$bytes bytes\"" "$TMPDIR/trace.json" || say "no sum of $bytes bytes in the timeline"
done
exit $bad
