# lib.sh -- what the tests of the program share; read with `.`, not run.
#
# $MOTLEY is the program, $TMPDIR an empty folder (tests/run.sh). Kernels are kept in
# $MOTLEY_CACHE, so only the first test compiles them.

bad=0
say() {
    echo "$*"
    bad=1
}

# A device, or the test is skipped.
need_device() {
    "$MOTLEY" devices >"$TMPDIR/devices" 2>&1 ||
        { echo "SKIP opencl: $(sed 1q "$TMPDIR/devices")"; exit 77; }
}

need_mpi() {
    [ -n "$MPIEXEC" ] || { echo "SKIP mpi: no program that starts jobs"; exit 77; }
    # shellcheck disable=SC2086
    [ "$($MPIEXEC $MPIEXEC_FLAGS -n 2 "$MOTLEY" devices 2>/dev/null | grep -c '^[01] ')" = 2 ] ||
        { echo "SKIP mpi: two processes do not find each other"; exit 77; }
}

# ranks N WORD... -- the program in N processes
ranks() {
    ranks_n=$1
    shift
    if [ "$ranks_n" = 1 ]; then
        "$MOTLEY" "$@"
    else
        # shellcheck disable=SC2086
        $MPIEXEC $MPIEXEC_FLAGS -n "$ranks_n" "$MOTLEY" "$@"
    fi
}

# of PLATFORM -- the first device of that platform
of() {
    "$MOTLEY" devices --json | awk -F '"' -v platform="$1" \
        '/"id":/ { id = $4 } /"platform":/ && index($4, platform) { print id; exit }'
}

# platforms -- the first device of each platform, a line each
platforms() {
    "$MOTLEY" devices --json | awk -F '"' \
        '/"id":/ { id = $4 } /"platform":/ && !seen[$4]++ { print id }'
}

# A network that is trained in a second: 2000 generated digits of 12 x 12.
small_config() {
    cat >"$TMPDIR/small.yaml" <<'END'
name: small
seed: 7
data: {format: digits, n: 2000, held: 400, size: 12}
model: [flatten, linear: 48, relu, dropout: 0.1, linear: 10]
loss: cross_entropy
optimizer: {type: adam, lr: 1e-2}
schedule: {type: cosine, warmup: 10}
train: {batch: 50, steps: 60, log_every: 5}
checkpoint: {every: 20, keep: 10}
END
}

# same_state DIR DIR STEP -- weights, optimizer and manifest are the same files
same_state() {
    for file in model.safetensors optim.safetensors manifest.json; do
        cmp "$1/checkpoints/step-$3/$file" "$2/checkpoints/step-$3/$file" || return 1
    done
}

# number KEY FILE -- a number of a line of JSON
number() {
    sed -n "s/.*\"$1\":\([-+0-9.e]*\).*/\1/p" "$2" | tail -n 1
}

# near A B LIMIT -- whether |A - B| <= LIMIT
near() {
    awk -v a="$1" -v b="$2" -v limit="$3" \
        'BEGIN { d = a - b; if (d < 0) d = -d; exit !(a != "" && b != "" && d <= limit) }'
}
