#!/bin/sh
# scalar.sh -- proves that kernels which take 16 elements a work-item on CPUs pass their suites in
# the form that GPUs run, one element a work-item, too, and that training gives the same bits in
# both forms.
# Time: 120
. "$top_srcdir/tests/sys/lib.sh"
need_device

MOTLEY_DEBUG=scalar "$top_builddir/tests/optest" --small dropout gemm linear optimizers rng ||
    say "a suite failed"
small_config
"$MOTLEY" train "$TMPDIR/small.yaml" --quiet --folder "$TMPDIR/vector" || say "training failed"
MOTLEY_DEBUG=scalar "$MOTLEY" train "$TMPDIR/small.yaml" --quiet --folder "$TMPDIR/scalar" ||
    say "training in the other form failed"
same_state "$TMPDIR/vector" "$TMPDIR/scalar" 60 || say "the two forms give different weights"
exit $bad
