#!/bin/sh
# oplist.sh op|optim|reader|suite SRCDIR FILE... -- writes a C file with the table of all
# descriptors that the files define, in the order of the files. The list of files (ops.mk,
# src.mk) is thus the only list. Every file must define at least one; an operation's file exactly
# the one of its own name.
set -e
kind=$1
srcdir=$2
shift 2

id='\([a-z][a-z0-9_]*\)'
case $kind in
op) type='struct mt_op' table=mt_ops header=ops/op.h
    find="s/^const struct mt_op $id = {.*/\\1/p" ;;
optim) type='struct mt_optim_kind' table=mt_optims header=optim/optim.h
    find="s/^const struct mt_optim_kind $id = {.*/\\1/p" ;;
reader) type='struct mt_reader' table=mt_readers header=data/data.h
    find="s/^const struct mt_reader $id = {.*/\\1/p" ;;
suite) type='struct mt_suite' table=mt_suites header=tests/kit.h
    find="s/^MT_SUITE($id[,)].*/mt_suite_\\1/p" ;;
*) echo "oplist.sh: unknown kind '$kind'" >&2; exit 2 ;;
esac

names=
for file in "$@"; do
    found=$(sed -n "$find" "$srcdir/$file")
    stem=${file##*/}
    stem=${stem%.c}
    case $kind in
    op|suite) want=mt_${kind}_$stem ;;
    *) want=$found ;;
    esac
    if [ -z "$found" ] || [ "$found" != "$want" ]; then
        echo "$file: must define 'const $type ${want:-NAME}', defines '$found'" >&2
        exit 1
    fi
    names="$names $found"
done

echo '/* Made by oplist.sh; do not edit. */'
echo "#include \"$header\""
echo
echo '#include <stddef.h>'
echo
for name in $names; do
    echo "extern const $type $name;"
done
echo
echo "const $type *const ${table}[] = {"
for name in $names; do
    echo "    &$name,"
done
echo '    NULL};'
