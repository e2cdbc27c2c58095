#!/bin/sh
# tune.sh -- proves that `motley tune` writes what later runs take, that it says what is wrong with
# its words, that a pin leaves nothing to choose, and that a run with a damaged tuning file trains
# and warns once.
# Time: 120
. "$top_srcdir/tests/sys/lib.sh"
need_device
small_config
cd "$TMPDIR" || exit 1
MOTLEY_CACHE=$TMPDIR/cache
export MOTLEY_CACHE
quick='--rounds 1 --ms 1 --provider plain'

# shellcheck disable=SC2086
"$MOTLEY" tune $quick small.yaml >out 2>err || say "tune failed: $(cat err)"
[ -s err ] && say "tune complains: $(cat err)"
file=$(sed -n 's/.*written to //p' out)
[ -f "$file" ] || say "there is no file '$file'"
[ "$(grep -c '^product ' "$file")" -ge 3 ] || say "fewer products than the network has"

# What it says is what bench marks. Classes may be shared, so only rows that say so are compared.
"$MOTLEY" bench gemm --rounds 1 --ms 1 --json small.yaml >rows 2>err || say "bench: $(cat err)"
grep -q '"taken":true' rows || say "bench gemm marks nothing"

"$MOTLEY" tune --provider nonsense small.yaml >out 2>err
[ $? = 2 ] && grep -q "no provider 'nonsense'" err || say "an unknown provider: $(cat err)"
"$MOTLEY" tune nowhere.yaml >out 2>err
[ $? = 2 ] && grep -q nowhere.yaml err || say "a file that is not there: $(cat err)"
"$MOTLEY" tune --rounds 0 >out 2>err
[ $? = 2 ] || say "no rounds: $(cat err)"
MOTLEY_GEMM=plain "$MOTLEY" tune small.yaml >out 2>err
[ $? = 2 ] && grep -q 'MOTLEY_GEMM=plain' err || say "a pinned provider: $(cat err)"

"$MOTLEY" train small.yaml train.steps=2 schedule=constant >out 2>err || say "train: $(cat err)"
grep -q ignored err && say "a good file is ignored: $(cat err)"
sed 's/^product/Product/' "$file" >damaged && cp damaged "$file"
"$MOTLEY" train small.yaml train.steps=2 schedule=constant --force >out 2>err ||
    say "train with a damaged tuning file: $(cat err)"
[ "$(grep -c 'is ignored' err)" = 1 ] || say "not one warning about the damaged file: $(cat err)"
cmp -s damaged "$file" || say "the damaged file was changed by training"
exit $bad
