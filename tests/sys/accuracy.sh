#!/bin/sh
# accuracy.sh -- proves that training learns: generated digits to 94 % with a hidden layer and
# visibly less without one; the loss curve of 2, 3 and 4 processes and of uneven shares is that of
# one, within rounding.
# Time: 300
. "$top_srcdir/tests/sys/lib.sh"
need_device
config=$top_srcdir/examples/digits-mlp/digits-mlp.yaml

accuracy() {
    "$MOTLEY" eval "$1" --json >"$TMPDIR/eval" || say "eval $1 failed"
    number accuracy "$TMPDIR/eval"
}

"$MOTLEY" train "$config" --quiet --folder "$TMPDIR/mlp" || say "training failed"
"$MOTLEY" train "$config" --quiet --folder "$TMPDIR/linear" 'model=[flatten, linear: 10]' ||
    say "training failed"
mlp=$(accuracy "$TMPDIR/mlp") linear=$(accuracy "$TMPDIR/linear")
echo "with a hidden layer $mlp, without $linear"
awk -v m="$mlp" -v l="$linear" 'BEGIN { exit !(m >= 0.94 && m - l >= 0.05) }' ||
    say "accuracy $mlp with a hidden layer, $linear without: expected 0.94 and 0.05 more"

need_mpi
curve() {
    sed -n 's/.*"event":"train","step":\([0-9]*\),.*"loss":\([^,]*\),.*/\1 \2/p' \
        "$1/metrics.jsonl"
}
small_config
"$MOTLEY" train "$TMPDIR/small.yaml" --quiet --folder "$TMPDIR/n1" || say "training failed"
curve "$TMPDIR/n1" >"$TMPDIR/one"
for n in 2 3 4 uneven; do
    case $n in
    uneven) processes=2 shares=parallel.shares=3:1 ;;
    *) processes=$n shares=seed=7 ;;
    esac
    ranks "$processes" train "$TMPDIR/small.yaml" --folder "$TMPDIR/n$n" $shares >"$TMPDIR/out" ||
        say "training on $n failed"
    # Where the output is no terminal progress is whole lines, whatever the launcher makes of it.
    if grep -q "$(printf '\r')" "$TMPDIR/out" || ! grep -q '^step 5/60 epoch 1 ' "$TMPDIR/out"; then
        say "$n: progress: $(cat "$TMPDIR/out")"
    fi
    curve "$TMPDIR/n$n" | paste -d ' ' - "$TMPDIR/one" | awk -v n="$n" '
        { d = $2 - $4; if (d < 0) d = -d; if ($1 != $3 || d > 1e-4 * $4) bad = 1
          if (d > most) most = d }
        END { print n, "processes: largest difference of the loss", most + 0
              exit NR == 12 ? bad : 1 }' || say "$n: the curve differs from that of one process"
done
exit $bad
