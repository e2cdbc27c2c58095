#!/bin/sh
# cli.sh -- proves what the program says and with which exit code: help and version, wrong words,
# lists, plan, devices as JSON, prediction in every form.
# Time: 200
. "$top_srcdir/tests/sys/lib.sh"
out=$TMPDIR/out err=$TMPDIR/err

# expect CODE TEXT WORD... -- exit code, and a text in what is printed
expect() {
    want=$1 text=$2
    shift 2
    "$MOTLEY" "$@" >"$out" 2>"$err"
    code=$?
    [ $code = "$want" ] || say "motley $*: exit code $code instead of $want: $(cat "$err")"
    [ -z "$text" ] || cat "$out" "$err" | grep -qF -e "$text" ||
        say "motley $*: does not say '$text' but: $(cat "$out" "$err")"
}

expect 0 "motley 0." --version
expect 0 "Exit codes: 0 success, 1 failure while" --help
expect 2 "motley COMMAND --help"
expect 2 "there is no command 'trian'" trian
for command in train eval predict devices check plan info bench; do
    expect 0 "motley $command" $command --help
done
expect 2 "Try \`motley train --help\`" train
expect 2 "unrecognized option" train --nonsense
expect 2 "'epochs' is no setting" train x.yaml epochs
expect 2 "the first word must be a configuration" train train.batch=3
expect 2 "take one" train --resume --force x.yaml
expect 1 "x.yaml: No such file or directory" train x.yaml
expect 2 "give a run and a .npy file" predict runs/x
expect 2 "'more' is not known" info more
expect 2 "motley eval: unrecognized option" eval --nonsense
expect 2 "'nosuch' is neither an operation" check nosuch
mkdir "$TMPDIR/empty"
expect 1 "is not the folder of a run: " eval "$TMPDIR/empty"
expect 0 "MOTLEY_DEVICE" info
expect 0 "train.batch" info --keys
expect 0 "cosine" info --schedules
expect 0 "probability" info --ops

need_device
small_config
expect 0 '"name"' devices --json
if command -v python3 >/dev/null; then
    "$MOTLEY" devices --json | python3 -c 'import json, sys; json.load(sys.stdin)' ||
        say "motley devices --json is no JSON"
fi
expect 0 "steps of training" plan "$TMPDIR/small.yaml"
[ "$(wc -l <"$TMPDIR/out")" -le 20 ] || say "a plan has more than 20 lines: $(cat "$TMPDIR/out")"
expect 0 "     0  fwd  " plan "$TMPDIR/small.yaml" --long
expect 2 "must know how long training lasts" plan "$TMPDIR/small.yaml" schedule=cosine \
    train.steps=0 train.epochs=0 train.seconds=9
expect 0 "steps of training" train --dry-run "$TMPDIR/small.yaml"
[ ! -e runs ] || say "a plan has written something"

run=$TMPDIR/run
expect 0 "end after step 60 (steps)" train "$TMPDIR/small.yaml" --folder "$run"
expect 2 "holds a run already: continue it with --resume, replace it with --force" \
    train "$TMPDIR/small.yaml" --folder "$run"
expect 0 "nothing left to do" train "$TMPDIR/small.yaml" --folder "$run" --resume
[ -f "$run/config.yaml" ] || say "no config.yaml"
grep -q '"event":"eval","step":60' "$run/metrics.jsonl" || say "no evaluation in metrics.jsonl"
expect 0 "held-out samples 400" eval "$run"
"$MOTLEY" eval "$run" --json >"$TMPDIR/eval"
[ "$(number step "$TMPDIR/eval")" = 60 ] || say "eval --json: $(cat "$TMPDIR/eval")"
near "$(number loss "$TMPDIR/eval")" \
    "$(grep '"eval"' "$run/metrics.jsonl" | tail -n 1 >"$TMPDIR/last"; number loss "$TMPDIR/last")" 1e-6 ||
    say "eval and training judge the same weights differently"
expect 0 "checkpoints/step-40" eval "$run" --checkpoint "$run/checkpoints/step-40"

# Another program reads the weights.
if python3 -c 'import safetensors.numpy' 2>/dev/null; then
    python3 -c '
import sys
from safetensors.numpy import load_file
w = load_file(sys.argv[1] + "/model.safetensors")
o = load_file(sys.argv[1] + "/optim.safetensors")
assert w["linear1.weight"].shape == (48, 144) and w["linear2.bias"].shape == (10,)
assert sorted(w) == ["linear1.bias", "linear1.weight", "linear2.bias", "linear2.weight"]
assert o["linear1.weight.exp_avg"].shape == (48, 144) and len(o) == 8
assert abs(w["linear1.weight"]).max() < 10' "$run/checkpoints/step-60" ||
        say "safetensors of Python reads something else"
else
    echo "not tried: safetensors of Python is not installed"
fi

# An image of 12 x 12 bytes, all 128, and two of them.
head='\223NUMPY\001\000\166\000'
bytes() {
    awk -v n="$1" 'BEGIN { for (i = 0; i < n; i++) printf "x" }' | tr x '\200'
}
npy() {
    shape=$1 n=$2
    text="{'descr': '|u1', 'fortran_order': False, 'shape': $shape, }"
    printf "$head"
    printf '%-117s\n' "$text"
    bytes "$n"
}
npy "(12, 12)" 144 >"$TMPDIR/one.npy"
npy "(2, 12, 12)" 288 >"$TMPDIR/two.npy"
npy "(13, 12)" 156 >"$TMPDIR/other.npy"
"$MOTLEY" predict "$run" "$TMPDIR/one.npy" >"$out" || say "predict failed"
grep -q '^[0-9] [01]\.[0-9]*$' "$out" || say "predict printed: $(cat "$out")"
"$MOTLEY" predict "$run" "$TMPDIR/two.npy" >"$TMPDIR/twice" || say "predict failed"
cat "$out" "$out" | cmp - "$TMPDIR/twice" || say "two equal images are judged differently"
"$MOTLEY" predict "$run" "$TMPDIR/one.npy" --raw >"$out"
[ "$(wc -w <"$out")" -eq 10 ] || say "predict --raw printed: $(cat "$out")"
expect 0 "" predict "$run" "$TMPDIR/two.npy" --output "$TMPDIR/p.npy"
[ "$(wc -c <"$TMPDIR/p.npy")" -eq $((128 + 80)) ] || say "predict --output: wrong size"
expect 1 "has shape (13, 12), a sample of this network has (1, 12, 12)" predict "$run" \
    "$TMPDIR/other.npy"

expect 0 "kept in" bench limits --seconds 0.3 --json "$TMPDIR/limits.json"
expect 0 '"memory_triad"' bench limits --seconds 0.3 --json -
if command -v python3 >/dev/null; then
    python3 -c 'import json, sys; assert json.load(open(sys.argv[1]))["fma"] > 0' \
        "$TMPDIR/limits.json" || say "motley bench limits --json: no JSON"
fi
expect 0 "*" bench gemm "$TMPDIR/small.yaml" --ms 1
expect 0 '"taken":true' bench gemm "$TMPDIR/small.yaml" --ms 1 --rounds 1 --json
expect 1 "there is no provider 'best'" bench gemm --provider best
expect 0 '"share":' bench ops relu --seconds 0.01 --json
expect 0 " passed" check "$TMPDIR/small.yaml" --small
expect 0 "samples/s" bench step "$TMPDIR/small.yaml" --steps 20 --window 5

# What the host does in a step; launches are those that a timeline has, 20 steps and no evaluation.
"$MOTLEY" bench step "$TMPDIR/small.yaml" data.held=0 --steps 20 --window 5 --json \
    --trace "$TMPDIR/trace.json" >"$TMPDIR/step" || say "bench step failed"
kernels=$(tr '{' '\n' <"$TMPDIR/trace.json" | grep '"ph":"X"' | grep '"tid":1,' |
    grep -c '"args":')   # lane 1: compute queue; with args: within a step
awk -v launches="$(number launches "$TMPDIR/step")" -v kernels="$kernels" \
    -v step="$(number step_seconds "$TMPDIR/step")" -v host="$(number host_seconds "$TMPDIR/step")" \
    -v share="$(number host_share "$TMPDIR/step")" -v idle="$(number starved_share "$TMPDIR/step")" \
    -v input="$(number input_wait_seconds "$TMPDIR/step")" \
    'BEGIN { exit !(launches * 20 == kernels && host > 0 && share > 0 && share <= 1 && input >= 0 &&
                    idle >= 0 && idle <= 1 && host < 20 * step) }' ||
    say "$kernels kernels in 20 steps; bench step says: $(cat "$TMPDIR/step")"
exit $bad
