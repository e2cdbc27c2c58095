#!/bin/sh
# hosts_train.sh -- proves, on two hosts of its own making with a link of 1 Gbit/s and 1 ms between
# them, that training over hosts
#   - sees the hosts: each process its own devices, processes of one host sharing theirs;
#   - measures the link as it is, and expects of sums over it what it allows;
#   - gives the loss of one process, with replicas equal to the last bit, and what travels is what
#     docs/parallel.md says; with parallel.wire=bf16 the link carries about half, and two ranks on
#     two hosts have the bits of two ranks on one;
#   - ends everywhere with exit code 3 and a checkpoint when a process of the other host is asked to,
#     with the same code and words everywhere when one host alone lacks something;
#   - ends when a process of the other host is killed, or a whole host answers no more, within
#     seconds and with words that name the rank or the host.
# Time: 120
. "$top_srcdir/tests/sys/lib.sh"
. "$top_srcdir/tests/sys/hosts.sh"
need_device
need_mpi
hosts 2 1e9 0.001
small_config

# The program, and the exit code of each process in a file, also if the launcher ends the script
# because another process has failed.
program=$MOTLEY MOTLEY=$TMPDIR/program
cat >"$MOTLEY" <<END
#!/bin/sh
trap : TERM
host=\$(uname -n)
[ ! -e "$TMPDIR/only.\$host" ] || set -- "\$@" "\$(cat "$TMPDIR/only.\$host")"
"$program" "\$@"
code=\$?
echo \$code >"$TMPDIR/code.\$host.\$\$"
[ \$code -lt 128 ] || kill -s \$((code - 128)) \$\$
exit \$code
END
chmod +x "$MOTLEY"
codes() {
    cat "$TMPDIR"/code.* | tr '\n' ' '
    rm -f "$TMPDIR"/code.*
}

ranks_each=2
job devices >"$TMPDIR/out" 2>&1 || say "motley devices failed: $(cat "$TMPDIR/out")"
[ "$(awk '$1 ~ /^[0-3]$/ { printf "%s %s;", $1, $2 }' "$TMPDIR/out")" = "0 h1;1 h1;2 h2;3 h2;" ] ||
    say "hosts: $(cat "$TMPDIR/out")"
codes >/dev/null

# Nothing is measured faster than the link allows. How much slower is a matter of the machine.
ranks_each=1
job plan "$TMPDIR/small.yaml" --save-profile "$TMPDIR/profile" >/dev/null ||
    say "measuring over two hosts failed"
link=$(sed -n '/"hosts"/,/]/s/.*"latency":\([-+0-9.e]*\),"bandwidth":\([0-9.e+]*\).*/\1 \2/p' \
    "$TMPDIR/profile" | sed -n '2p;3p')
echo "$link" | awk '!($1 >= 1e-3 && $2 > 0 && $2 <= 200e6) { bad = 1 }
    END { exit bad || NR != 2 }' || say "the link of 1 ms and 125 MB/s was measured as: $link"
grep -q '"sums"' "$TMPDIR/profile" || say "sums were not rehearsed between hosts"
codes >/dev/null

"$program" train "$TMPDIR/small.yaml" --quiet --folder "$TMPDIR/one" || say "training on one failed"
ranks_each=1
MOTLEY_DEBUG=agree job train "$TMPDIR/small.yaml" --folder "$TMPDIR/two" >"$TMPDIR/out" 2>&1 ||
    say "training on two hosts failed: $(cat "$TMPDIR/out")"
code=$(codes)
[ "$code" = "0 0 " ] || say "exit codes after training: $code"
for run in one two; do
    grep '"event":"eval"' "$TMPDIR/$run/metrics.jsonl" | tail -n 1 >"$TMPDIR/$run.eval"
done
one=$(number loss "$TMPDIR/one.eval") two=$(number loss "$TMPDIR/two.eval")
echo "held-out loss: one process $one, two hosts $two"
near "$one" "$two" 1e-4 || say "losses differ by more than 1e-4"
# 7450 gradients of 4 bytes; 2 (N-1)/N of them leave a rank in each step, of enough steps that what
# else leaves (measuring the link, a start and an end) is little.
steps="train.steps=600 checkpoint.every=-1 parallel.wire"
for wire in fp32 bf16; do
    before=$(sent h2)
    # shellcheck disable=SC2086
    MOTLEY_DEBUG=agree job train "$TMPDIR/small.yaml" $steps=$wire --folder "$TMPDIR/$wire" \
        >"$TMPDIR/out" 2>&1 || say "training with $wire on the wire failed: $(cat "$TMPDIR/out")"
    echo $(($(sent h2) - before)) >"$TMPDIR/$wire.sent"
done
codes >/dev/null
fp32=$(cat "$TMPDIR/fp32.sent") bf16=$(cat "$TMPDIR/bf16.sent")
echo "left h2: $fp32 bytes, with bf16 on the wire $bf16; gradients $((600 * 4 * 7450))"
[ "$fp32" -gt $((600 * 4 * 7450)) ] || say "gradients did not travel over the link"
[ "$bf16" -lt $((fp32 * 7 / 10)) ] || say "bf16 saves less than 30 %"
# shellcheck disable=SC2086
MOTLEY=$program ranks 2 train "$TMPDIR/small.yaml" $steps=bf16 --quiet --folder "$TMPDIR/near" ||
    say "training on one host failed"
cmp "$TMPDIR"/bf16/checkpoints/step-600/model.safetensors \
    "$TMPDIR"/near/checkpoints/step-600/model.safetensors || say "placement changes the bits"

# start WORD... -- a training without end, in the background, until it takes steps
start() {
    rm -rf "$TMPDIR/run"
    job train "$TMPDIR/small.yaml" train.steps=0 train.epochs=0 train.seconds=1000 schedule=constant \
        train.eval_every=1000000000 checkpoint.every=0 --folder "$TMPDIR/run" "$@" \
        >"$TMPDIR/out" 2>&1 &
    started=$!
    for i in $(seq 200); do
        sleep 0.05
        grep -q '"step"' "$TMPDIR/run/metrics.jsonl" 2>/dev/null && break
    done
    begin=$(date +%s)
}

# over WHAT LIMIT -- waits for its end; $code, and the output in $TMPDIR/out
over() {
    wait "$started"
    code=$?
    took=$(($(date +%s) - begin))
    echo "$1: code $code after $took s"
    [ "$took" -le "$2" ] || say "$1: took $took s: $(cat "$TMPDIR/out")"
}
# The process, not the script around it.
find_it='pidof lt-motley motley'

start
on h2 "kill -TERM \$($find_it)"
over "asked to stop" 10
[ "$(codes)" = "3 3 " ] && [ $code = 3 ] || say "asked to stop: $(cat "$TMPDIR/out")"
ls "$TMPDIR/run/checkpoints" | grep -q step || say "no checkpoint after a request to stop"

echo "device.use=nowhere" >"$TMPDIR/only.h2"
start
over "no device on h2" 20
rm "$TMPDIR/only.h2"
[ "$(codes)" = "1 1 " ] && [ $code = 1 ] || say "no device on h2: $(cat "$TMPDIR/out")"
grep -q "motley: rank 1 (host h2).*nowhere" "$TMPDIR/out" || say "says: $(cat "$TMPDIR/out")"

start
on h2 "kill -KILL \$($find_it)"
over "killed" 10
[ $code != 0 ] || say "killed: the job ended with 0"
grep -q 'rank 1 .* on node h2\|RUNNING AT h2' "$TMPDIR/out" || say "killed: says $(cat "$TMPDIR/out")"

# A host without a word: what runs there is stopped, so that even the launcher hears nothing.
start parallel.timeout=2
on h2 'kill -s STOP -- -1'
for i in $(seq 100); do
    sleep 0.1
    grep -q "rank 1 (host h2.*did not answer for 2 s" "$TMPDIR/out" && break
done
took=$(($(date +%s) - begin))
echo "a host without a word: told after $took s"
[ $i -lt 100 ] || say "a host without a word: says $(cat "$TMPDIR/out")"
end_hosts   # the launcher waits for the host, which is its affair
wait "$started"
exit $bad
