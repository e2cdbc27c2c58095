#!/bin/sh
# gemm_others.sh -- matrix products of motley beside CLBlast's own client and beside cuBLAS.
#
#     DEVICE=gpu CLBLAST_CLIENT=.../clblast_client_xgemm PYTHON=python3 bench/gemm_others.sh [CONFIG]
#
# GFLOP/s of what motley takes (after `motley tune`, if that was run) for the products of CONFIG or
# for common ones. CLBlast's client is built with CLBlast's -DCLIENTS=ON, packages leave it out;
# PLATFORM and NUMBER (0, 0) are its numbers of the device. cuBLAS is called through PyTorch, which
# must see an NVIDIA GPU. A column without its program is a dash.
. "$(dirname "$0")/lib.sh"
client=${CLBLAST_CLIENT:-clblast_client_xgemm} PYTHON=${PYTHON:-python3}

machine
version=$("$PYTHON" "$here/gemm_others.py" --version 2>/dev/null) || version=
case $version in
*cuBLAS*) echo "PyTorch    $version" ;;
*) echo "cuBLAS     left out: no PyTorch that sees an NVIDIA GPU"
   version= ;;
esac
command -v "$client" >/dev/null || { echo "CLBlast    left out: there is no $client"; client=; }

rows=$(mktemp) || exit 1
trap 'rm -f "$rows"' EXIT
# shellcheck disable=SC2086
"$MOTLEY" bench gemm --json ${DEVICE:+--device $DEVICE} --rounds "$ROUNDS" "$@" |
    sed -n '/"taken":true/s/.*"m":\([0-9]*\),"n":\([0-9]*\),"k":\([0-9]*\),"trans_a":\([01]\),'\
'"trans_b":\([01]\),.*"provider":"\([a-z]*\)".*"gflops":\([0-9.e+]*\).*/\1 \2 \3 \4 \5 \6 \7/p' >"$rows"
[ -s "$rows" ] || { echo "motley bench gemm gave nothing" >&2; exit 1; }

# clblast M N K TRANS_A TRANS_B -- GFLOP/s: the column of that name of the client's last line
clblast() {
    "$client" -platform "${PLATFORM:-0}" -device "${NUMBER:-0}" -m "$1" -n "$2" -k "$3" \
        -layout 101 -transA "$((111 + $4))" -transB "$((111 + $5))" -num_steps 1 -runs 5 \
        -warm_up -no_abbrv -clblas 0 -cblas 0 2>/dev/null |
        awk -F';' '/GFLOPS_1/ { for (i = 1; i <= NF; i++) if ($i ~ /GFLOPS_1/) c = i; next }
                   c && NF >= c { x = $c } END { print x == "" ? "-" : x + 0 }'
}

printf '%5s %5s %5s %2s %-8s %10s %10s %10s\n' M N K '' provider motley CLBlast cuBLAS
while read -r m n k ta tb provider rate; do
    theirs=- cublas=-
    [ -z "$client" ] || theirs=$(clblast "$m" "$n" "$k" "$ta" "$tb")
    [ -z "$version" ] || cublas=$(echo "$m $n $k $ta $tb" | "$PYTHON" "$here/gemm_others.py")
    printf '%5s %5s %5s %s%s %-8s %10.1f %10s %10s\n' "$m" "$n" "$k" "$ta" "$tb" "$provider" \
        "$rate" "$theirs" "$cublas"
done <"$rows"
