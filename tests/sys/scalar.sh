#!/bin/sh
# scalar.sh -- proves that kernels which take 16 elements a work-item on CPUs pass their suites in
# the form that GPUs run, one element a work-item, too.
# Time: 120
. "$top_srcdir/tests/sys/lib.sh"
need_device

MOTLEY_DEBUG=scalar "$top_builddir/tests/optest" --small dropout optimizers rng
