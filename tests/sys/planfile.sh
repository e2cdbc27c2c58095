#!/bin/sh
# planfile.sh -- proves that `motley plan --cluster` plans for a described cluster without a device,
# that the layout it saves is one it takes back with the same prediction, that constraints of the
# configuration are obeyed, that mistakes in files and options are named with exit code 2, and that
# the large example (1,024 devices, 48 layers) is planned and beats its best even grid; the time that
# takes is printed.
. "${top_srcdir:?}/tests/sys/lib.sh"

cat >"$TMPDIR/net.yaml" <<'YAML'
data: {format: exact, inputs: 64, classes: 10, n: 1000, held: 0}
model: [{linear: 512}, relu, {linear: 512}, relu, {linear: 512}, relu, {linear: 10}]
loss: cross_entropy
optimizer: adam
train: {batch: 120, steps: 1}
YAML
cat >"$TMPDIR/cluster.yaml" <<'YAML'
kinds:
  fast: {flops: 4e11, bandwidth: 1e12, launch: 1e-7}
  slow: {flops: 1e11, bandwidth: 1e12, launch: 1e-7}
hosts:
  - {devices: {fast: 1, slow: 2}}
links:
  local: {latency: 1e-7, bandwidth: 1e12}
YAML
cd "$TMPDIR" || exit 99

# fails WHAT TEXT COMMAND... -- exit code 2 and that text
fails() {
    what=$1 text=$2
    shift 2
    "$@" >out 2>&1
    code=$?
    if [ $code != 2 ] || ! grep -q -e "$text" out; then
        echo "$what: exit code $code, not 2, or no '$text' in:"
        cat out
        exit 1
    fi
}

"$MOTLEY" plan net.yaml --cluster cluster.yaml --save layout.yaml >plan || { cat plan; exit 1; }
cat plan
grep -q '^plan: 3 of 3 ranks' plan || { echo "not all ranks are used"; exit 1; }
grep -q 'best even grid' plan || { echo "nothing about even grids"; exit 1; }
# four times the speed: about four times the samples
"$MOTLEY" plan net.yaml --cluster cluster.yaml --json parallel.data=3 parallel.stages=1 >json || exit 1
grep -q '"samples":80' json || { echo "the fast rank does not get 80 of 120"; cat json; exit 1; }

"$MOTLEY" plan net.yaml --cluster cluster.yaml parallel.layout=layout.yaml >again || exit 1
[ "$(sed -n 2p plan)" = "$(sed -n 2p again)" ] ||
    { echo "the saved layout is predicted otherwise:"; cat again; exit 1; }

"$MOTLEY" plan net.yaml --cluster cluster.yaml parallel.data=1 parallel.stages=3 \
    parallel.schedule=gpipe train.micro_batches=6 >given || exit 1
grep -q '1 replica, schedule gpipe' given && grep -q 'in 6 micro-batches' given ||
    { echo "what was given was not kept:"; cat given; exit 1; }

"$MOTLEY" plan net.yaml --cluster none.yaml 2>out && { echo "a file that is not there"; exit 1; }
grep -q 'none.yaml' out || { cat out; exit 1; }
sed 's/slow: 2/slwo: 2/' cluster.yaml >bad.yaml
fails 'a wrong kind' "bad.yaml:5:.*slwo.*did you mean 'slow'" "$MOTLEY" plan net.yaml --cluster bad.yaml
sed 's/flops: 4e11, //' cluster.yaml >bad.yaml
fails 'no flops' "kind fast needs 'flops'" "$MOTLEY" plan net.yaml --cluster bad.yaml
sed 's/launch: 1e-7/memory: 1e6/' cluster.yaml >bad.yaml
fails 'no memory' 'memory' "$MOTLEY" plan net.yaml --cluster bad.yaml
fails 'too many' 'take at least 4 ranks' "$MOTLEY" plan net.yaml --cluster cluster.yaml parallel.data=4
fails '--save alone' 'goes with --cluster' "$MOTLEY" plan net.yaml --save x
sed 's/ranks: \[0\]/ranks: [7]/' layout.yaml >bad.yaml
fails 'a wrong rank' 'bad.yaml:.*rank 7 does not exist' \
    "$MOTLEY" plan net.yaml --cluster cluster.yaml parallel.layout=bad.yaml

start=$(date +%s)
"$MOTLEY" plan "$top_srcdir/examples/cluster/transformer.yaml" \
    --cluster "$top_srcdir/examples/cluster/cluster.yaml" --json >large || exit 1
echo "1,024 devices, 48 layers: $(($(date +%s) - start)) s"
step=$(sed 's/.*"step":\([0-9.e+-]*\).*/\1/' large)
even=$(sed 's/.*"even_grid":\([0-9.e+-]*\).*/\1/' large)
echo "step $step s, best even grid $even s"
awk -v a="$step" -v b="$even" 'BEGIN { exit !(a > 0 && a < b) }' ||
    { echo "the plan does not beat the best even grid"; exit 1; }
