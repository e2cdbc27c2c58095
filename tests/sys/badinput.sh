#!/bin/sh
# badinput.sh -- the table of wrong inputs: each ends with its exit code and one message that names
# the thing, the place and, where there is one, the remedy; nothing of it is trained.
# Time: 300
. "$top_srcdir/tests/sys/lib.sh"
need_device
cd "$TMPDIR" || exit 99
small_config
count=0

# row NAME CODE MESSAGE WORD... -- motley train WORD... ends with CODE and says MESSAGE. The message
# is an extended regular expression over one whole line of what is printed to standard error.
row() {
    name=$1 want=$2 text=$3
    shift 3
    count=$((count + 1))
    "$MOTLEY" train "$@" >out 2>err </dev/null
    code=$?
    [ $code = "$want" ] || say "$name: exit code $code instead of $want"
    grep -v '^motley: warning' err | grep -qxE -e "motley: $text" ||
        say "$name: expected '$text', got: $(cat err)"
    [ "$(grep -c '^motley: ' err)" = 1 ] || say "$name: not one message: $(cat err)"
}

# ---- data ----------------------------------------------------------------------------------------
# Four images of 12 x 12 and their labels, as IDX.
byte() {
    printf "\\$(printf %03o "$1")"
}
zeros() {
    head -c "$1" /dev/zero
}
images() {
    printf '\000\000\010\003\000\000\000\004\000\000\000\014\000\000\000\014'
    zeros 576
}
labels() {
    printf '\000\000\010\001\000\000\000\004'
    for label in "$@"; do
        byte "$label"
    done
}
set_data() {
    rm -rf mnist
    mkdir mnist
    images >mnist/train-images-idx3-ubyte
    labels 1 2 3 9 >mnist/train-labels-idx1-ubyte
}
idx='data={format: idx, path: mnist}'

set_data
head -c 500 mnist/train-images-idx3-ubyte >cut
mv cut mnist/train-images-idx3-ubyte
row 'truncated IDX' 1 'mnist/train-images-idx3-ubyte: truncated: .*' small.yaml "$idx"

set_data
printf '\000\000\010\007' | cat - mnist/train-images-idx3-ubyte >wrong
mv wrong mnist/train-images-idx3-ubyte
row 'wrong magic' 1 'mnist/train-images-idx3-ubyte: holds 7 dimensions, images have 2 to 4.*' \
    small.yaml "$idx"
printf 'hello, this is no image' >mnist/train-images-idx3-ubyte
row 'no IDX at all' 1 'mnist/train-images-idx3-ubyte: not an IDX file: it begins with 68656c6c, .*' \
    small.yaml "$idx"

set_data
gzip -n mnist/train-images-idx3-ubyte
head -c 30 mnist/train-images-idx3-ubyte.gz >cut
mv cut mnist/train-images-idx3-ubyte.gz
row 'gzip cut off' 1 'mnist/train-images-idx3-ubyte.gz: the gzip data is cut off.*' small.yaml "$idx"

set_data
labels 1 2 3 10 >mnist/train-labels-idx1-ubyte
row 'label out of range' 1 \
    'mnist/train-labels-idx1-ubyte: label 10 of item 3 is outside 0..9; .*' small.yaml "$idx"

printf 'a,b,target\n1,2,3\n4,x,6\n7,8,9\n' >table.csv
row 'CSV with a bad cell' 1 "table.csv:3: .*'x'.*" small.yaml 'model=[linear: 1]' loss=mse \
    'data={format: csv, path: table.csv}'
row 'no such file' 1 'nowhere.csv: No such file or directory' small.yaml 'model=[linear: 1]' \
    loss=mse 'data={format: csv, path: nowhere.csv}'

# ---- configuration -------------------------------------------------------------------------------
row 'unknown key' 2 ".*: unknown key 'bach' in train; did you mean 'batch'\?" small.yaml \
    train.bach=3
row 'unknown layer' 2 ".*: unknown layer 'liner'; did you mean 'linear'.*" small.yaml \
    'model=[flatten, liner: 10]'
row 'shapes that do not fit' 2 '.*layer reshape1: .*' small.yaml \
    'model=[flatten, reshape: 10x10, flatten, linear: 10]'
row 'too few outputs' 2 '.*the network ends in 7 numbers, but the data have 10 classes: .*' \
    small.yaml 'model=[flatten, linear: 7]'
row 'more than memory' 1 'a step of 25000000 samples \(25000000 here\) needs [0-9.]+ MiB and .*: lower train.batch or raise train.micro_batches' \
    small.yaml train.batch=25000000 data.n=25000000
row 'missing device' 1 ".*nosuchdevice.*" small.yaml device.use=nosuchdevice
row 'nothing held out' 2 '.*train.target_accuracy need held-out data: set data.validation' \
    small.yaml data.held=0 train.target_accuracy=0.9

# ---- checkpoints ---------------------------------------------------------------------------------
"$MOTLEY" train small.yaml --quiet --folder run || say "training failed"
row 'folder in use' 2 'run holds a run already: continue it with --resume, .*' small.yaml \
    --folder run
row 'checkpoint of another network' 1 "run/checkpoints/step-60 is of another network: its parameter 'linear1.weight' has shape \(48, 144\), here \(40, 144\)" \
    small.yaml --folder other --init-from run model.1.linear=40
row 'optimizer of another kind' 1 'run/checkpoints/step-60 was written with optimizer adam, now it is sgd: .*--init-from.*' \
    small.yaml --folder run --resume train.steps=70 optimizer=sgd
row 'another seed' 2 'run/checkpoints/step-60 was trained with seed 7, now it is 8: .*set seed=7' \
    small.yaml --folder run --resume train.steps=70 seed=8
row 'no checkpoint there' 1 '.: holds no checkpoint' small.yaml --folder other2 --init-from .

# One damaged: a warning, and the one before. All damaged: an error.
damage() {
    printf 'xx' | dd of="$1" bs=1 seek=300 conv=notrunc 2>/dev/null
}
damage run/checkpoints/step-60/model.safetensors
"$MOTLEY" eval run >out 2>err || say "damaged checkpoint: $(cat err)"
grep -q 'warning: checkpoint passed over: run/checkpoints/step-60/model.safetensors: is damaged' err ||
    say "damaged checkpoint: $(cat err)"
grep -q '^run/checkpoints/step-40: ' out || say "damaged checkpoint: $(cat out)"
for step in 20 40; do
    damage run/checkpoints/step-$step/optim.safetensors
done
"$MOTLEY" eval run >out 2>err
[ $? = 1 ] || say "all damaged: exit code"
grep -q '^motley: no good checkpoint among 3 in run/checkpoints; the oldest: .*damaged' err ||
    say "all damaged: $(cat err)"

# ---- disks ---------------------------------------------------------------------------------------
mkdir disk
if mount -t tmpfs -o size=300k motley disk 2>/dev/null; then
    row 'full disk' 1 'checkpoint not written \(earlier ones are untouched\): disk/run/.*: No space left on device' \
        small.yaml --folder disk/run model.1.linear=200
    mount -o remount,ro disk
    row 'read-only folder' 1 'disk/more: cannot make this folder: Read-only file system' small.yaml \
        --folder disk/more
    umount disk
elif chmod 555 disk && ! touch disk/x 2>/dev/null; then
    row 'read-only folder' 1 'disk/more: cannot make this folder: Permission denied' small.yaml \
        --folder disk/more
else
    echo "not tried: full disk (no right to mount)"
fi
rmdir disk

# ---- processes -----------------------------------------------------------------------------------
if [ -n "$MPIEXEC" ]; then
    # shellcheck disable=SC2086
    $MPIEXEC $MPIEXEC_FLAGS -n 1 "$MOTLEY" train small.yaml --folder two : \
        -n 1 "$MOTLEY" train small.yaml --folder two train.batch=51 >out 2>err
    [ $? != 0 ] || say "different configurations: exit code 0"
    grep -qE "^motley: rank 1 \(.*\): has another configuration than rank 0: 'batch: 51' instead of 'batch: 50'" err ||
        say "different configurations: $(cat err)"
    [ "$(grep -c '^motley: ' err)" = 1 ] || say "different configurations: $(cat err)"
    count=$((count + 1))
fi
echo "$count wrong inputs"
exit $bad
