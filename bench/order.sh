#!/bin/sh
# order.sh -- whether the planner and measurement put data parallel and two stages in the same order,
# on two hosts of one core behind a slow link of this script's own making (tests/sys/hosts.sh): for a
# network whose gradients are much longer than what crosses a cut, and for one where it is the other
# way round. Run it as root in the folder where motley was built, after `make tests/sys/hosts`:
#
#     DATA=folder-of-mnist ../bench/order.sh
#
# RATE (1e9, bit/s), DELAY (0.005, seconds one way), STEPS (30), ROUNDS (3), NETS (large small),
# MPIEXEC (mpirun). Each layout is planned and measured from one profile, a new one each round: data
# parallel with shares and two stages with a cut of the planner's choice, and two stages cut where
# the work of the layers says. Medians of the rounds, and whether the orders of all three agree.
# Exit code 1: some do not.
ROUNDS=${ROUNDS:-3}
. "$(dirname "$0")/lib.sh"
top_srcdir=$(cd "$here/.." && pwd) top_builddir=$PWD
MPIEXEC=${MPIEXEC:-mpirun} MPIEXEC_FLAGS=
. "$top_srcdir/tests/sys/hosts.sh"

machine
TMPDIR=$(mktemp -d) || exit 1
MOTLEY=$(realpath "$MOTLEY")
host_cores="0 1"
bad=0
hosts 2 "${RATE:-1e9}" "${DELAY:-0.005}"

# network NAME BATCH MODEL, in the words of a configuration
network() {
    cat >"$TMPDIR/$1.yaml" <<EOF
name: $1
seed: 1
data: {format: idx, path: ${DATA:-mnist}}
model: $3
loss: cross_entropy
optimizer: {type: sgd, lr: 1e-3}
train: {batch: $2, epochs: 1}
EOF
}
network large 512 "[flatten, {repeat: 3, layers: [linear: 1024, relu]}, linear: 10]"
network small 8192 "[flatten, {repeat: 4, layers: [linear: 256, relu]}, linear: 10]"

words() {
    case $1 in
    data) echo parallel.data=2 parallel.stages=1 parallel.grid=auto ;;
    stages) echo parallel.data=1 parallel.stages=2 train.micro_batches=4 parallel.grid=auto ;;
    even) echo parallel.data=1 parallel.stages=2 train.micro_batches=4 ;;
    esac
}
# forecast WORD..., measured WORD...: seconds of a step
forecast() {
    job plan "$@" --profile="$TMPDIR/profile" |
        sed -n 's/^  predicted: \([0-9.e+-]*\) \([mu]*s\) a step.*/\1 \2/p' | tail -n 1 |
        awk '{ print $1 * ($2 == "us" ? 1e-6 : $2 == "ms" ? 1e-3 : 1) }'
}
measured() {
    job bench step "$@" parallel.profile="$TMPDIR/profile" --steps "${STEPS:-30}" --window 6 --json |
        sed -n 's/.*"samples_per_second":\([0-9.e+]*\).*/\1/p' | awk -v b="$batch" '{ print b / $1 }'
}
for net in ${NETS:-large small}; do
    config=$TMPDIR/$net.yaml
    batch=$(sed -n 's/.*batch: \([0-9]*\).*/\1/p' "$config")
    : >"$TMPDIR/table"
    for round in $(seq "$ROUNDS"); do
        job plan "$config" --save-profile "$TMPDIR/profile" >/dev/null
        row=
        for layout in data stages even; do
            # shellcheck disable=SC2046
            row="$row $(forecast "$config" $(words $layout)) $(measured "$config" $(words $layout))"
        done
        echo "$row" | awk 'NF == 6' | tee -a "$TMPDIR/table" >&2
    done
    [ "$(wc -l <"$TMPDIR/table")" = "$ROUNDS" ] || { echo "$net failed" >&2; exit 2; }
    for column in 1 2 3 4 5 6; do
        median "$TMPDIR/table" $column
    done | awk -v net="$net" '
        { t[NR] = 1e3 * $1 }
        END {
            split("data parallel,two stages,two stages cut by work", name, ",")
            for (i = 1; i <= 3; i++) {
                printf "%s: %s: %.1f ms by the planner, %.1f ms measured\n", net, name[i], t[2 * i - 1], t[2 * i]
                for (j = 1; j < i; j++) {
                    other = other || (t[2 * i - 1] < t[2 * j - 1]) != (t[2 * i] < t[2 * j])
                }
            }
            print net ": " (other ? "ANOTHER ORDER" : "the same order")
            exit other
        }' || bad=1
done
end_hosts
rm -rf "$TMPDIR"
exit $bad
