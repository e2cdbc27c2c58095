#!/bin/sh
# options.sh -- proves that docs/options.md lists the operations, optimizers and schedules that the
# program has, with their options.
. "$top_srcdir/tests/sys/lib.sh"
"$MOTLEY" info --ops --optimizers --schedules >"$TMPDIR/program" || say "motley info failed"
sed -n '/^```$/,/^```$/{/^```$/!p;}' "$top_srcdir/docs/options.md" >"$TMPDIR/manual"
diff "$TMPDIR/manual" "$TMPDIR/program" ||
    say "docs/options.md: put what motley info --ops --optimizers --schedules prints into the block"
exit $bad
