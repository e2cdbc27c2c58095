#!/bin/sh
# mlp_torch.sh -- a training step of 784-512-512-10 by motley and by PyTorch, in turns.
#
#     PYTHON=python3 MOTLEY=./motley bench/mlp_torch.sh
#
# Adam, fp32, all cores. motley reads random bytes in the format of MNIST, PyTorch uses one batch again
# and again. BATCH (128), STEPS (200) of one measurement, ROUNDS (5). Medians, and the median of the
# ratios motley / PyTorch of the rounds.
. "$(dirname "$0")/lib.sh"
PYTHON=${PYTHON:-python3}
batch=${BATCH:-128} steps=${STEPS:-200}
version=$("$PYTHON" "$here/mlp_torch.py" --version) ||
    { echo "$PYTHON has no PyTorch; PYTHON=PROGRAM says which one to take" >&2; exit 2; }

machine
echo "PyTorch    $version"
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
table=$dir/table
start=
noise "$dir" 25600
set -- "$here/mlp.yaml" "data={format: idx, path: $dir, std: 256}" train.batch="$batch"
rate "$@" --steps 20 >/dev/null || exit 1   # builds kernels
for round in $(seq "$ROUNDS"); do
    ours=$(rate "$@" --steps "$steps")
    theirs=$("$PYTHON" "$here/mlp_torch.py" --batch "$batch" --steps "$steps")
    [ -n "$ours" ] && [ -n "$theirs" ] || { echo "round $round failed" >&2; exit 1; }
    echo "$ours $theirs" | awk '{ printf "%.0f %.0f %.3f\n", $1, $2, $1 / $2 }' | tee -a "$table"
done
echo "median     motley $(median "$table" 1) samples/s, PyTorch $(median "$table" 2) samples/s," \
    "ratio $(median "$table" 3)"
