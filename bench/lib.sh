# lib.sh -- what the scripts of bench/ share; read with `.`, not run. Run them in the folder where
# motley was built, or say MOTLEY=PROGRAM.

MOTLEY=${MOTLEY:-./motley}
ROUNDS=${ROUNDS:-5}
here=$(cd "$(dirname "$0")" && pwd)
[ -x "$MOTLEY" ] || { echo "$MOTLEY: no such program; MOTLEY=PROGRAM says where it is" >&2; exit 2; }

# rate WORD... -- samples a second of `motley bench step WORD...`, in front of which is $start
rate() {
    # shellcheck disable=SC2086
    $start "$MOTLEY" bench step "$@" --json | sed -n 's/.*"samples_per_second":\([0-9.e+]*\).*/\1/p'
}

# median FILE COLUMN
median() {
    awk -v c="$2" '{ print $c }' "$1" | sort -g | awk '{ x[NR] = $1 } END { print x[int((NR + 1) / 2)] }'
}

machine() {
    echo "date       $(date -u +%Y-%m-%d)"
    echo "processor  $(lscpu | sed -n 's/^Model name: *//p'), $(nproc) cores"
    echo "caches     $(lscpu | sed -n 's/^\(L[123]d*\) cache: *\(.*\)/\1 \2;/p' | tr '\n' ' ')"
    echo "load       $(cut -d' ' -f1-3 /proc/loadavg) before"
    echo "motley     $("$MOTLEY" --version | head -n 1)"
    echo "device     $("$MOTLEY" devices | sed -n 2p)"
}

# noise FOLDER N -- N images of random bytes, labels 0, in the format of MNIST, and 128 held out:
# reading them costs next to nothing, and a rank reads on the core on which it computes
noise() {
    for set in train:"$2" t10k:128; do
        for what in images:2051 labels:2049; do
            {
                number "${what#*:}"
                number "${set#*:}"
                case $what in
                images:*) number 28 && number 28 && head -c $((${set#*:} * 784)) /dev/urandom ;;
                *) head -c "${set#*:}" /dev/zero ;;
                esac
            } >"$1/${set%:*}-${what%:*}-idx$([ "${what%:*}" = images ] && echo 3 || echo 1)-ubyte"
        done
    done
}

# number N -- four bytes, the highest first
number() {
    for shift in 24 16 8 0; do
        # shellcheck disable=SC2059
        printf "\\$(printf %o $(($1 >> shift & 255)))"
    done
}
