#!/bin/sh
# hosts.sh -- how much of the communication two hosts hide behind computation when the network
# between them is slow: namespaces of this script's own making (tests/sys/hosts.sh), one core each.
# Run it as root in the folder where motley was built, after `make tests/sys/hosts`:
#
#     DATA=folder-of-mnist ../bench/hosts.sh
#
# The network of bench/deep.yaml. RATES ("1e9"), DELAYS ("0 0.001", seconds one way), BATCH (4096),
# WIRES ("fp32"; with "fp32 bf16" both in turns), STEPS (50), ROUNDS (5), MPIEXEC (mpirun). For each
# median of the rounds: a step, gradients under way, of that with an idle device, the share that was
# hidden.
. "$(dirname "$0")/lib.sh"
top_srcdir=$(cd "$here/.." && pwd) top_builddir=$PWD
MPIEXEC=${MPIEXEC:-mpirun} MPIEXEC_FLAGS=
. "$top_srcdir/tests/sys/hosts.sh"

machine
TMPDIR=$(mktemp -d) || exit 1
MOTLEY=$(realpath "$MOTLEY")
host_cores="0 1"
for delay in ${DELAYS:-0 0.001}; do
    for rate in ${RATES:-1e9}; do
        hosts 2 "$rate" "$delay"
        rm -f "$TMPDIR"/table.*
        for round in $(seq "$ROUNDS"); do
            for wire in ${WIRES:-fp32}; do
                job bench comm "$here/deep.yaml" data.path="${DATA:-mnist}" parallel.wire="$wire" \
                    train.batch="${BATCH:-4096}" --steps "${STEPS:-50}" |
                    awk '/a step/ { s = $3 } /flight/ { f = $4 } /idle/ { e = $6 }
                         /hidden/ { print s / 1e3, f / 1e3, e / 1e3, $2 }' >>"$TMPDIR/table.$wire"
            done
        done
        end_hosts
        for wire in ${WIRES:-fp32}; do
            table=$TMPDIR/table.$wire
            echo "$rate bit/s, $delay s, $wire: step $(median "$table" 1) ms," \
                "gradients under way $(median "$table" 2) ms," \
                "exposed $(median "$table" 3) ms, hidden $(median "$table" 4) %"
        done
    done
done
rm -rf "$TMPDIR"
