#!/bin/sh
# order.sh -- whether the planner and measurement put data parallel and two stages in the same order,
# on two hosts of one core behind a slow link of this script's own making (tests/sys/hosts.sh): for a
# network whose gradients are much longer than what crosses a cut, and for one where it is the other
# way round. Run it as root in the folder where motley was built, after `make tests/sys/hosts`:
#
#     DATA=folder-of-mnist ../bench/order.sh
#
# RATE (1e9, bit/s), DELAY (0.005, seconds one way), STEPS (30), ROUNDS (3), MPIEXEC (mpirun). For
# each network medians of the rounds: a step by the planner, each time with a new profile, and
# measured; whether the orders agree. Exit code 1: some do not.
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
    cat >"$TMPDIR/$1.yaml" <<END
name: $1
seed: 1
data: {format: idx, path: ${DATA:-mnist}}
model: $3
loss: cross_entropy
optimizer: {type: sgd, lr: 1e-3}
train: {batch: $2, epochs: 1}
END
}
network large 512 "[flatten, {repeat: 3, layers: [linear: 1024, relu]}, linear: 10]"
network small 8192 "[flatten, {repeat: 4, layers: [linear: 256, relu]}, linear: 10]"
data="parallel.data=2 parallel.stages=1"
stages="parallel.data=1 parallel.stages=2 train.micro_batches=4"

# Seconds of "1.5 s", "20.3 ms", "700 us"
seconds() {
    awk '{ print $2 == "ms" ? $1 / 1e3 : $2 == "us" ? $1 / 1e6 : $1 }'
}
# forecast WORD... of the planner, seconds a step
forecast() {
    job plan "$@" parallel.grid=auto |
        sed -n 's/.*planned from.*: \([0-9.e+]* [mu]*s\) a step.*/\1/p' | seconds
}
# measured WORD..., seconds a step
measured() {
    job bench step "$@" --steps "${STEPS:-30}" --window 6 --json |
        sed -n 's/.*"samples_per_second":\([0-9.e+]*\).*/\1/p' | awk -v b="$batch" '{ print b / $1 }'
}
# shellcheck disable=SC2086
for net in large small; do
    config=$TMPDIR/$net.yaml
    batch=$(sed -n 's/.*batch: \([0-9]*\).*/\1/p' "$config")
    : >"$TMPDIR/table"
    for round in $(seq "$ROUNDS"); do
        set -- "$(forecast "$config" $data)" "$(forecast "$config" $stages)" \
            "$(measured "$config" $data)" "$(measured "$config" $stages)"
        echo "$*" | awk 'NF == 4' >>"$TMPDIR/table"
    done
    [ "$(wc -l <"$TMPDIR/table")" = "$ROUNDS" ] || { echo "$net failed" >&2; exit 2; }
    set -- "$(median "$TMPDIR/table" 1)" "$(median "$TMPDIR/table" 2)" \
        "$(median "$TMPDIR/table" 3)" "$(median "$TMPDIR/table" 4)"
    echo "$net $*" | awk '{
            agree = ($2 < $3) == ($4 < $5)
            printf "%s: data parallel %.1f ms, two stages %.1f ms by the planner;", $1, 1e3 * $2, 1e3 * $3
            printf " %.1f ms, %.1f ms measured: %s\n", 1e3 * $4, 1e3 * $5,
                agree ? "the same order" : "ANOTHER ORDER"
            exit !agree }' || bad=1
done
end_hosts
rm -rf "$TMPDIR"
exit $bad
