#!/bin/sh
# data.sh -- proves on real data what is promised: MNIST to 98.2 % in ten epochs by the example, wine
# quality better than the linear model of the same fifth. Needs the folder MOTLEY_TEST_DATA with
# mnist/ and winequality/; nothing is downloaded.
# Time: 600
. "$top_srcdir/tests/sys/lib.sh"
need_device
data=$MOTLEY_TEST_DATA
[ -n "$data" ] && [ -d "$data/mnist" ] && [ -d "$data/winequality" ] ||
    { echo "SKIP data: MOTLEY_TEST_DATA names no folder with mnist and winequality"; exit 77; }

wine() {
    "$MOTLEY" train "$top_srcdir/examples/wine/wine.yaml" --quiet --folder "$TMPDIR/$1" \
        data.path="$data/winequality/winequality-red.csv" "$2" "$3" || say "training $1 failed"
    "$MOTLEY" eval "$TMPDIR/$1" --json >"$TMPDIR/eval" || say "eval $1 failed"
    number loss "$TMPDIR/eval"
}
linear=$(wine linear 'model=[linear: 1]' optimizer.lr=3e-2)
net=$(wine net seed=1 name=wine)
echo "wine: mean squared error $net, linear model $linear"
awk -v n="$net" -v l="$linear" 'BEGIN { exit !(n < l && l < 0.55) }' ||
    say "wine: $net is not below $linear, or that not below 0.55"

"$MOTLEY" train "$top_srcdir/examples/mnist-mlp/mnist-mlp.yaml" --quiet \
    --folder "$TMPDIR/mnist" data.path="$data/mnist" || say "training on MNIST failed"
"$MOTLEY" eval "$TMPDIR/mnist" --json >"$TMPDIR/eval"
accuracy=$(number accuracy "$TMPDIR/eval")
echo "mnist: accuracy $accuracy"
awk -v a="$accuracy" 'BEGIN { exit !(a >= 0.982) }' || say "mnist: $accuracy is below 0.982"
grep -q '^  epochs: \([1-9]\|10\)$' "$TMPDIR/mnist/config.yaml" || say "mnist: more than 10 epochs"
exit $bad
