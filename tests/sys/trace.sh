#!/bin/sh
# trace.sh -- proves that a timeline of two ranks is one JSON file in which each rank has all lanes;
# that steps, kernels, sums and loads are all there, as often as they ran; that a kernel begins
# after the host has asked for it and within the run; that the ranks' clocks agree (a sum on one is
# under way while the same sum is on the other); and that keeping a timeline changes no result.
# Time: 120
. "$top_srcdir/tests/sys/lib.sh"
need_device
small_config
config=$TMPDIR/small.yaml

"$MOTLEY" train "$config" --quiet --folder "$TMPDIR/none" --trace "$TMPDIR/no/such/folder" \
    >"$TMPDIR/out" 2>&1 && say "a timeline into nowhere was accepted"
grep -q "no/such/folder: cannot be written" "$TMPDIR/out" || say "says: $(cat "$TMPDIR/out")"
[ ! -e "$TMPDIR/none/metrics.jsonl" ] || say "trained before the timeline was tried"

need_mpi
ranks 2 train "$config" --quiet --folder "$TMPDIR/plain" || say "training failed"
ranks 2 train "$config" --quiet --folder "$TMPDIR/traced" --trace "$TMPDIR/trace.json" ||
    say "training with a timeline failed"
same_state "$TMPDIR/plain" "$TMPDIR/traced" 60 || say "the timeline has changed the result"
if command -v python3 >/dev/null; then
    python3 -m json.tool "$TMPDIR/trace.json" >/dev/null || say "the timeline is no JSON"
fi

# One event a line: pid, lane, begin, duration, name, of.
tr '{' '\n' <"$TMPDIR/trace.json" | awk '
function text(key) {
    if (!match(last, "\"" key "\":\"[^\"]*\"")) return ""
    return substr(last, RSTART + length(key) + 4, RLENGTH - length(key) - 5)
}
function number(key) {
    match(last, "\"" key "\":[-+0-9.e]*")
    return substr(last, RSTART + length(key) + 3, RLENGTH - length(key) - 3)
}
function flush_event() {
    if (last ~ /"ph":"X"/)
        printf "X\t%d\t%d\t%.3f\t%.3f\t%s\t%s\n", number("pid"), number("tid"), number("ts"),
               number("dur"), text("name"), of
    last = of = ""
}
/"ph":/ { flush_event(); last = $0; next }
/"of":/ { save = last; last = $0; of = text("of"); last = save; next }
/"name":/ && last ~ /"thread_name"/ {
    pid = number("pid"); tid = number("tid"); last = $0
    printf "L\t%d\t%d\t%s\n", pid, tid, text("name"); last = ""
}
END { flush_event() }' >"$TMPDIR/events"

awk -F '\t' '
function bad(text) { print text; failed = 1 }
$1 == "L" { lane[$2, $4] = $3; next }
{
    pid = $2; from = $4; to = $4 + $5; name = $6
    if ($5 < 0) bad("negative duration: " $0)
    count[pid, $3]++
    k = ++seen[pid, name]
    begin[pid, name, k] = from; end[pid, name, k] = to
    if ($3 == lane[pid, "compute queue"] && $7 ~ /^(fwd|bwd) /) {
        if (!(pid in first) || from < first[pid]) first[pid] = from
        if (to > last[pid]) last[pid] = to
        label[pid, $7] = 1
    }
    if ($3 == lane[pid, "communication"]) {
        if (name != "sum 0" || $7 + 0 < 4 * 7450) bad("odd sum: " $0)
    }
}
END {
    for (pid = 0; pid < 2; pid++) {
        n = split("host,compute queue,transfer queue,communication,input", want, ",")
        for (i = 1; i <= n; i++) {
            if (!((pid, want[i]) in lane)) bad("rank " pid " has no lane " want[i])
            # Where host and device share memory nothing is transferred.
            else if (want[i] != "transfer queue" && count[pid, lane[pid, want[i]]] == 0)
                bad("rank " pid ": nothing in lane " want[i])
        }
        if (seen[pid, "train"] != 60) bad("rank " pid ": " seen[pid, "train"] " steps")
        if (seen[pid, "sum 0"] != 60) bad("rank " pid ": " seen[pid, "sum 0"] " sums")
        if (seen[pid, "wait 0"] != 60) bad("rank " pid ": " seen[pid, "wait 0"] " waits")
        if (seen[pid, "load"] < 60) bad("rank " pid ": " seen[pid, "load"] " loads")
        if (seen[pid, "wait for input"] < 60) bad("rank " pid ": input is not waited for")
        if (seen[pid, "adam_update"] != 60) bad("rank " pid ": " seen[pid, "adam_update"] " updates")
        if (!((pid, "fwd linear1") in label) || !((pid, "bwd linear2") in label))
            bad("rank " pid ": kernels are not named after their steps")
        # Within the run: 60 steps, then an evaluation that reads its results.
        if (first[pid] < begin[pid, "train", 1] - 500 || last[pid] > end[pid, "train", 60] + 5e6)
            bad("rank " pid ": kernels from " first[pid] " to " last[pid])
        for (k = 1; k <= 60; k++)
            if (begin[pid, "adam_update", k] < begin[pid, "update", k] - 500)
                bad("rank " pid ": update " k " ran before it was asked for")
    }
    for (k = 1; k <= 60; k++)
        if (begin[0, "sum 0", k] > end[1, "sum 0", k] || begin[1, "sum 0", k] > end[0, "sum 0", k])
            bad("sum " k " was at different times on the two ranks")
    exit failed
}' "$TMPDIR/events" || bad=1
exit $bad
