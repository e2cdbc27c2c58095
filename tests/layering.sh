#!/bin/sh
# layering.sh -- proves that includes go down the table of layers, that a foreign header is seen
# by one file, and that nothing includes a .c file.
cd "${top_srcdir:?}" || exit 99

# layer: what it may include besides itself and motley.h
table='
base:
config: base
data: base
comm: base
device: base
ops: device base
optim: device base
graph: ops optim device base
parallel: graph comm ops optim device base
train: parallel graph comm ops optim device data config base
cli: tests comm device base
'
# header: the files that may include it, as shell patterns
foreign='
CL/*|src/device/*
clblast*|src/device/gemm_clblast.c
mpi.h|src/comm/mpi.c
hwloc*|src/device/place.c
libfyaml.h|src/config/yaml.c
jansson.h|src/base/json.c
zlib.h|src/data/*
xxhash.h|src/base/hash.c
'
bad=0
say() {
    echo "$*"
    bad=1
}

for file in $(find src -name '*.[ch]' | sort); do
    layer=${file#src/}
    case $layer in
    */*) layer=${layer%%/*} ;;
    *) layer=train ;;          # src/api.c
    esac
    allowed=$(echo "$table" | sed -n "s/^$layer:\(.*\)/\1/p")
    echo "$table" | grep -q "^$layer:" || say "$file: the folder src/$layer is in no layer"
    for header in $(sed -n 's/^ *# *include *"\([^"]*\)".*/\1/p' "$file"); do
        case $header in
        motley*.h|config.h|*.inc) continue ;;
        */*) from=${header%%/*} ;;
        *) from=$layer ;;
        esac
        case $header in
        *.c) say "$file: includes a source file, $header" ;;
        esac
        case " $layer $allowed " in
        *" $from "*) ;;
        *) say "$file: includes $header, but $layer may include only:$allowed" ;;
        esac
    done
    for header in $(sed -n 's/^ *# *include *<\([^>]*\)>.*/\1/p' "$file"); do
        rule=$(echo "$foreign" | while IFS='|' read -r what who; do
            # shellcheck disable=SC2254
            case $header in
            ${what:-/}) echo "$who" ;;
            esac
        done)
        [ -n "$rule" ] || continue
        # shellcheck disable=SC2254
        case $file in
        $rule) ;;
        *) say "$file: includes <$header>, which only $rule may" ;;
        esac
    done
done
exit $bad
