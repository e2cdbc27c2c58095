#!/bin/sh
# sums.sh -- the ways in which sums go between hosts (src/comm/way.c), in turns, and the one that is
# chosen: namespaces of this script's own making (tests/sys/hosts.sh), EACH (1) ranks a host. Run it as
# root in the folder where motley was built, after `make tests/sys/hosts`:
#
#     ../bench/sums.sh
#
# COUNTS ("2 4" hosts), RATES ("1e9"), DELAYS ("0 0.001", seconds one way), BYTES, ROUNDS (5), MPIEXEC
# (mpirun). For each medians of the rounds, in us, and what was chosen in the last of them.
. "$(dirname "$0")/lib.sh"
top_srcdir=$(cd "$here/.." && pwd) top_builddir=$PWD
MPIEXEC=${MPIEXEC:-mpirun} MPIEXEC_FLAGS=
. "$top_srcdir/tests/sys/hosts.sh"
ranks_each=${EACH:-1}
BYTES=${BYTES:-1024,4096,16384,65536,262144,1048576}

machine
TMPDIR=$(mktemp -d) || exit 1
MOTLEY=$(realpath "$MOTLEY")
for count in ${COUNTS:-2 4}; do
    for rate in ${RATES:-1e9}; do
        for delay in ${DELAYS:-0 0.001}; do
            hosts "$count" "$rate" "$delay"
            rm -f "$TMPDIR"/times.*
            for round in $(seq "$ROUNDS"); do
                for way in parts whole auto; do
                    job bench comm --bytes "$BYTES" --way $way 2>/dev/null | awk '$3 == "us" { print $1, $2, $NF }' |
                        tee "$TMPDIR/last.$way" >>"$TMPDIR/times.$way"
                done
            done
            end_hosts
            echo "$count hosts of $ranks_each, $rate bit/s, $delay s: bytes, parts, whole, as chosen"
            for bytes in $(echo "$BYTES" | tr , ' '); do
                for way in parts whole auto; do
                    awk -v b="$bytes" '$1 == b' "$TMPDIR/times.$way" >"$TMPDIR/those.$way"
                done
                echo "$bytes $(median "$TMPDIR/those.parts" 2) $(median "$TMPDIR/those.whole" 2)" \
                    "$(median "$TMPDIR/those.auto" 2)" \
                    "$(awk -v b="$bytes" '$1 == b { print $3 }' "$TMPDIR/last.auto")"
            done
        done
    done
done
rm -rf "$TMPDIR"
