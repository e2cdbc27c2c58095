#!/bin/sh
# get-mnist.sh [FOLDER [URL...]] -- fetches the four original MNIST files (handwritten digits,
# Y. LeCun, C. Cortes, C. Burges) into FOLDER (default: mnist) and checks them.
#
# Each URL is a folder that holds the files; they are tried in turn. What is there already and
# whole is not fetched again. The files stay compressed: motley reads them so.
#
#     examples/get-mnist.sh ~/data/mnist
#     motley train examples/mnist-mlp/mnist-mlp.yaml data.path=$HOME/data/mnist
set -eu

folder=${1:-mnist}
[ $# -eq 0 ] || shift
if [ $# -eq 0 ]; then
    set -- https://ossci-datasets.s3.amazonaws.com/mnist \
           https://storage.googleapis.com/cvdf-datasets/mnist \
           http://yann.lecun.com/exdb/mnist
fi

sums='440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609 train-images-idx3-ubyte.gz
3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c train-labels-idx1-ubyte.gz
8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6 t10k-images-idx3-ubyte.gz
f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6 t10k-labels-idx1-ubyte.gz'

# whole FILE SUM
whole() {
    [ -f "$1" ] || return 1
    if command -v sha256sum >/dev/null; then
        got=$(sha256sum "$1")
    else
        got=$(shasum -a 256 "$1")
    fi
    [ "${got%% *}" = "$2" ]
}

# fetch URL FILE
fetch() {
    if command -v curl >/dev/null; then
        curl -fsSL --connect-timeout 15 -o "$2" "$1"
    elif command -v wget >/dev/null; then
        wget -q -T 15 -O "$2" "$1"
    else
        echo "get-mnist.sh: needs curl or wget" >&2
        exit 1
    fi
}

mkdir -p "$folder"
echo "$sums" | while read -r sum name; do
    if whole "$folder/$name" "$sum"; then
        echo "$folder/$name is there"
        continue
    fi
    for url in "$@"; do
        echo "$url/$name"
        if fetch "$url/$name" "$folder/$name.part" && whole "$folder/$name.part" "$sum"; then
            mv "$folder/$name.part" "$folder/$name"
            continue 2
        fi
        echo "  failed, or not the original file" >&2
        rm -f "$folder/$name.part"
    done
    echo "get-mnist.sh: no source gave $name; name another: get-mnist.sh $folder URL" >&2
    exit 1
done
