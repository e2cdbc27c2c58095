#!/bin/sh
# stages.sh -- proves for a user of the program: a network cut over stages, divided inside, and a
# grid of both reach the loss of one process; a run continues on any other layout, from the same
# files; a network that one device's memory limit refuses trains when it is cut over two; two
# platforms make one pipeline; wrong grids are refused with the reason.
# Time: 300
. "$top_srcdir/tests/sys/lib.sh"
RUSTICL_ENABLE=${RUSTICL_ENABLE:-llvmpipe}
export RUSTICL_ENABLE
need_device
need_mpi
small_config
config=$TMPDIR/small.yaml

# held RUN -- the held-out loss that a run has reached
held() {
    grep '"event":"eval"' "$TMPDIR/$1/metrics.jsonl" | tail -n 1 >"$TMPDIR/held"
    number loss "$TMPDIR/held"
}

# like RUN RUN -- the same held-out loss within the rounding that docs/numerics.md states
like() {
    a=$(held "$1") b=$(held "$2")
    echo "held-out loss: $1 $a, $2 $b"
    near "$a" "$b" 1e-4 || say "$2 differs from $1"
}

ranks 1 train "$config" --quiet --folder "$TMPDIR/one" || say "training on one rank failed"
# run RANKS NAME WORD... -- a grid against one process
run() {
    n=$1 name=$2
    shift 2
    ranks "$n" train "$config" --quiet --folder "$TMPDIR/$name" parallel.timeout=60 "$@" ||
        say "$name failed"
    like one "$name"
}
run 2 stages parallel.stages=2 train.micro_batches=4
run 2 tensor parallel.tensor=2
run 4 grid parallel.stages=2 parallel.data=2 parallel.shares=3:1 parallel.schedule=zero_bubble
ranks 2 train "$config" train.steps=12 parallel.tensor=2 --folder "$TMPDIR/short" >"$TMPDIR/log" &&
    grep -q '^small: 7450 weights' "$TMPDIR/log" || say "not all weights: $(cat "$TMPDIR/log")"
cat >"$TMPDIR/layout.yaml" <<'END'
- share: 2
  stages: [{ranks: [2]}]
- share: 1
  micro_batches: 3
  stages: [{ranks: [0], to: relu1}, {ranks: [1]}]
END
run 3 layout parallel.layout="$TMPDIR/layout.yaml"

# Stopped on one layout, continued on another.
ranks 2 train "$config" --quiet --folder "$TMPDIR/half" checkpoint.every=30 parallel.stages=2 ||
    say "the run to be cut failed"
rm -r "$TMPDIR/half/checkpoints/step-60"
cp -r "$TMPDIR/half" "$TMPDIR/half2"
ranks 1 train "$config" --quiet --resume --folder "$TMPDIR/half" ||
    say "one rank could not continue what two stages began"
like one half
ranks 4 train "$config" --quiet --resume --folder "$TMPDIR/half2" parallel.stages=2 \
    parallel.tensor=2 || say "a grid could not continue what two stages began"
like one half2
"$MOTLEY" eval "$TMPDIR/half2" >"$TMPDIR/eval" 2>&1 || say "eval: $(cat "$TMPDIR/eval")"

# A limit that the network keeps only when it is cut.
cat >"$TMPDIR/large.yaml" <<'END'
data: {format: digits, n: 400, held: 100, size: 12}
model: [flatten, linear: 700, relu, linear: 700, relu, linear: 700, relu, linear: 10]
loss: cross_entropy
optimizer: {type: adam, lr: 1e-3}
train: {batch: 40, steps: 5}
device: {memory: 14}
END
"$MOTLEY" train "$TMPDIR/large.yaml" --quiet --folder "$TMPDIR/refused" >"$TMPDIR/log" 2>&1
[ $? = 1 ] || say "a network above the limit: not refused: $(cat "$TMPDIR/log")"
grep -q 'device.memory' "$TMPDIR/log" || say "the limit is not named: $(cat "$TMPDIR/log")"
ranks 2 train "$TMPDIR/large.yaml" --quiet --folder "$TMPDIR/large" parallel.stages=2 ||
    say "cut over two it does not train"

# refused RANKS WORDS WORD... -- exit code 2 and these words
refused() {
    n=$1 words=$2
    shift 2
    ranks "$n" train "$config" --quiet --folder "$TMPDIR/bad" "$@" >"$TMPDIR/log" 2>&1
    [ $? = 2 ] || say "$*: not refused as configuration: $(cat "$TMPDIR/log")"
    grep -q "$words" "$TMPDIR/log" || say "$*: $(cat "$TMPDIR/log")"
}
refused 2 'needs 3 ranks, the job has 2' parallel.stages=3
refused 2 "has no layer 'nothing'" parallel.stages=2 parallel.cut='[nothing]'
refused 2 'names 2 layers, but 1 stages' parallel.stages=2 parallel.cut='[linear2, relu1]'
refused 2 'shares has 2 numbers, the job has 1' parallel.stages=2 parallel.shares=1:1
refused 2 'needs parallel.schedule=interleaved' parallel.stages=2 parallel.chunks=2

pocl=$(of 'Portable Computing Language') mesa=$(of rusticl)
if [ -n "$pocl" ] && [ -n "$mesa" ]; then
    # shellcheck disable=SC2086
    $MPIEXEC $MPIEXEC_FLAGS \
        -n 1 "$MOTLEY" train "$config" --quiet --folder "$TMPDIR/mixed" parallel.stages=2 \
        device.use="$pocl" : \
        -n 1 "$MOTLEY" train "$config" --quiet --folder "$TMPDIR/mixed" parallel.stages=2 \
        device.use="$mesa" || say "a pipeline over two platforms failed"
    like one mixed
else
    echo "only one platform: no pipeline over two"
fi
exit $bad
