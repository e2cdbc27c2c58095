#!/bin/sh
# mixed.sh -- PoCL alone on the whole machine beside PoCL and Mesa's llvmpipe in one job, in turns.
#
#     MOTLEY=./motley bench/mixed.sh
#
# Both implementations compute on the same cores, so whatever llvmpipe gets of them is lost to
# PoCL, which does more with it. NET (bench/mlp.yaml), BATCH (2048), STEPS (100) of one measurement,
# ROUNDS (5), MPIEXEC (mpirun --bind-to none), which must let each process use all cores, AUTO
# ("parallel.shares=auto parallel.grid=auto"): what divides the work.
#
# For each of AUTO: samples/s of PoCL alone and of both, their ratio, by round; medians. What is left
# out, and why, is told in front.
. "$(dirname "$0")/lib.sh"
batch=${BATCH:-2048} steps=${STEPS:-100} net=${NET:-$here/mlp.yaml}
mpi=${MPIEXEC:-mpirun --bind-to none}
RUSTICL_ENABLE=${RUSTICL_ENABLE:-llvmpipe}
export RUSTICL_ENABLE
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

noise "$dir" 25600
set -- "$net" "data={format: idx, path: $dir, std: 256}" train.batch="$batch"

# both COMMAND... -- a process on each implementation
both() {
    # shellcheck disable=SC2086
    $mpi -n 1 "$MOTLEY" "$@" device.use=pthread : -n 1 "$MOTLEY" "$@" device.use=llvmpipe
}

machine
for auto in ${AUTO:-parallel.shares=auto parallel.grid=auto}; do
    echo "$auto"
    MOTLEY_LOG=parallel both bench step "$@" "$auto" --steps 30 2>&1 |
        grep -E 'rank [01].*(samples|left out)|left out' | sed 's/^/    /' | sort -u
    for round in $(seq "$ROUNDS"); do
        start="$mpi -n 1"
        alone=$(rate "$@" device.use=pthread --steps "$steps")
        two=$(both bench step "$@" "$auto" --steps "$steps" --json |
            sed -n 's/.*"samples_per_second":\([0-9.e+]*\).*/\1/p')
        [ -n "$alone" ] && [ -n "$two" ] || { echo "round $round failed" >&2; exit 1; }
        echo "$alone $two" | awk '{ printf "    alone %.0f  both %.0f  %.3f\n", $1, $2, $2 / $1 }' |
            tee -a "$dir/$auto"
    done
    echo "    median: alone $(median "$dir/$auto" 2), both $(median "$dir/$auto" 4), ratio $(
        median "$dir/$auto" 5)"
done
