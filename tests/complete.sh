#!/bin/sh
# complete.sh -- proves that the lists and the files agree: every file is in a list, every
# operation has host file, kernels and suite of the same name, every suite is of an operation,
# and what is documented as a list is complete.
cd "${top_srcdir:?}" || exit 99
bad=0
say() {
    echo "$*"
    bad=1
}

listed=" $(echo $dist_sources) "
for file in $(find src include cl tests -name '*.[ch]' -o -name '*.cl' -o -name '*.clh' \
              -o -path 'tests/*' -name '*.sh' | sort); do
    case $file in
    tests/tmp/*|tests/run.sh|tests/nocmocka.sh|tests/optest.c) continue ;;
    esac
    case $listed in
    *" $file "*) ;;
    *) say "$file: is in none of the lists in ops.mk, src.mk, tests.mk" ;;
    esac
done

for line in $(sed -n 's/^\([a-z_]*\) += \([^ ]*\)$/\1:\2/p' ops.mk src.mk tests.mk | sort | uniq -d); do
    say "the lists name twice: $line"
done

has() {
    case " $2 " in
    *" $1 "*) return 0 ;;
    esac
    return 1
}
sources=$(echo $op_sources) kernels=$(echo $op_kernels) suites=$(echo $op_suites)
for file in $sources; do
    op=${file##*/}
    op=${op%.c}
    has "tests/ops/$op.c" "$suites" || say "operation $op: no tests/ops/$op.c in ops.mk"
    if ! has "cl/$op.cl" "$kernels" && ! grep -q 'MT_OP_VIEW' "$file"; then
        say "operation $op: no cl/$op.cl in ops.mk, and it is no view"
    fi
    grep -q '^ *\.doc = "..*"' "$file" || say "$file: the operation has no .doc"
done
for file in $kernels $suites; do
    op=${file##*/}
    op=${op%.c*}
    has "src/ops/$op.c" "$sources" || say "$file: no operation src/ops/$op.c in ops.mk"
done

# The page of environment variables and the list that the program reads.
if [ -f docs/env.md ]; then
    for var in $(sed -n 's/^ *X([A-Z_]*, "\(MOTLEY_[A-Z_]*\)".*/\1/p' src/base/env.h); do
        grep -q "$var" docs/env.md || say "docs/env.md: $var is missing"
    done
fi
# The man page and what the program says of itself.
if [ -x "$MOTLEY" ]; then
    for command in $("$MOTLEY" --help | sed -n 's/^  motley \([a-z]*\) .*/\1/p'); do
        grep -q "motley $command" docs/motley.1 || say "docs/motley.1: no command $command"
        for option in $("$MOTLEY" "$command" --help | grep -o -e '--[a-z][a-z-]*' | sort -u); do
            [ "$option" = --help ] || [ "$option" = --mca ] ||
                sed 's/\\-/-/g' docs/motley.1 | grep -q -e "$option" ||
                say "docs/motley.1: no option $option of motley $command"
        done
    done
fi
exit $bad
