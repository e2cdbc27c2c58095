#!/bin/sh
# benchcomm.sh -- proves that `motley bench comm` gives a time for every size asked for that is not
# below the least possible by more than noise, and the way it took, which can be chosen; and for a
# configuration the time in flight and the part of it that was exposed, which is the smaller one;
# alone it says how to start it.
# Time: 120
. "$top_srcdir/tests/sys/lib.sh"
"$MOTLEY" bench comm >"$TMPDIR/out" 2>&1
[ $? = 2 ] || say "one process alone: not exit code 2"
grep -q "mpirun -n 2" "$TMPDIR/out" || say "says: $(cat "$TMPDIR/out")"
need_device
need_mpi

# value KEY FILE -- numbers of indented JSON, a line each
value() {
    sed -n "s/.*\"$1\": *\([-+0-9.e]*\).*/\1/p" "$2"
}
ranks 2 bench comm --bytes 40000,4096 --json "$TMPDIR/sums.json" >"$TMPDIR/out" 2>&1 ||
    say "bench comm failed: $(cat "$TMPDIR/out")"
[ "$(value bytes "$TMPDIR/sums.json" | tr '\n' ' ')" = "4096 40000 " ] ||
    say "sizes: $(cat "$TMPDIR/sums.json")"
value seconds "$TMPDIR/sums.json" >"$TMPDIR/a"
value bound_seconds "$TMPDIR/sums.json" >"$TMPDIR/b"
paste "$TMPDIR/a" "$TMPDIR/b" | awk '!($1 > 0 && $2 > 0 && $1 > $2 / 4) { bad = 1 }
    END { exit bad || NR != 2 }' || say "times: $(cat "$TMPDIR/sums.json")"
# The bound of 40000 bytes on two ranks is the time of 40000 bytes between them.
awk -v rate="$(value ring_bytes_per_second "$TMPDIR/sums.json")" -v bound="$(tail -n 1 "$TMPDIR/b")" \
    'BEGIN { d = 40000 / rate / bound; exit !(d > 0.999 && d < 1.001) }' || say "bound is wrong"
grep -q '"way": "beside"' "$TMPDIR/sums.json" || say "ways: $(cat "$TMPDIR/sums.json")"
for way in parts whole; do
    ranks 2 bench comm --bytes 4096 --way $way --wire bf16 --json "$TMPDIR/way.json" >"$TMPDIR/out" 2>&1 ||
        say "bench comm --way $way failed: $(cat "$TMPDIR/out")"
    grep -q "\"way\": \"$way\"" "$TMPDIR/way.json" || say "way $way: $(cat "$TMPDIR/way.json")"
    grep -q " $way\$" "$TMPDIR/out" || say "way $way: $(cat "$TMPDIR/out")"
done
ranks 2 bench comm --way ring >/dev/null 2>"$TMPDIR/out" && say "--way ring was accepted"
grep -q "auto, parts or whole" "$TMPDIR/out" || say "says: $(cat "$TMPDIR/out")"
ranks 2 bench comm --bytes 12,x >/dev/null 2>"$TMPDIR/out" && say "--bytes 12,x was accepted"
grep -q "up to 32 sizes" "$TMPDIR/out" || say "says: $(cat "$TMPDIR/out")"

small_config
ranks 2 bench comm "$TMPDIR/small.yaml" --steps 60 --json "$TMPDIR/hidden.json" >"$TMPDIR/out" 2>&1 ||
    say "bench comm CONFIG failed: $(cat "$TMPDIR/out")"
grep -q "mean of 40 steps" "$TMPDIR/out" || say "says: $(cat "$TMPDIR/out")"
awk -v step="$(value step_seconds "$TMPDIR/hidden.json")" \
    -v flight="$(value flight_seconds "$TMPDIR/hidden.json")" \
    -v exposed="$(value exposed_seconds "$TMPDIR/hidden.json")" \
    'BEGIN { exit !(step > 0 && flight > 0 && exposed >= 0 && exposed < 1.1 * flight &&
                    flight < 1.1 * step) }' || say "times: $(cat "$TMPDIR/hidden.json")"
[ ! -e runs ] || say "a measurement has written a run"
exit $bad
