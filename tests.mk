# tests.mk -- the tests. One a line, alphabetical: `<list> += <file>`, and that is all:
#
#     unit_tests       tests/unit/<name> (no .c): a cmocka program of that one source file
#     parallel_tests   tests/parallel/<name> (no .c): a program run with as many processes as the
#                      line "Ranks: 1 2 3 4" in its source says
#     sys_tests        tests/sys/<name>.sh: uses the program; see tests/run.sh for its variables
#     structure_tests  scripts that look at the source and at what was built
#     suite_sources    the kit that runs the operation suites of ops.mk
#     test_helpers     programs that sys_tests run
#     test_files       other files that tests need: distributed
#
# Exit codes: 0 passed, 77 could not run here (says why), 99 set-up failed, else failed.

unit_tests =
unit_tests += tests/unit/api
unit_tests += tests/unit/assign
unit_tests += tests/unit/attr
unit_tests += tests/unit/balance
unit_tests += tests/unit/base
unit_tests += tests/unit/ckpt
unit_tests += tests/unit/config
unit_tests += tests/unit/data_csv
unit_tests += tests/unit/data_digits
unit_tests += tests/unit/data_idx
unit_tests += tests/unit/data_npy
unit_tests += tests/unit/data_order
unit_tests += tests/unit/data_synth
unit_tests += tests/unit/dev
unit_tests += tests/unit/exec
unit_tests += tests/unit/fuse
unit_tests += tests/unit/gemm
unit_tests += tests/unit/gemm_amx
unit_tests += tests/unit/gemm_edges
unit_tests += tests/unit/gemm_narrow
unit_tests += tests/unit/gemm_tune
unit_tests += tests/unit/graph
unit_tests += tests/unit/half
unit_tests += tests/unit/init
unit_tests += tests/unit/json
unit_tests += tests/unit/kernels
unit_tests += tests/unit/layout
unit_tests += tests/unit/limits
unit_tests += tests/unit/linear_parts
unit_tests += tests/unit/loader
unit_tests += tests/unit/loop
unit_tests += tests/unit/profile
unit_tests += tests/unit/planner
unit_tests += tests/unit/precision
unit_tests += tests/unit/loss_parts
unit_tests += tests/unit/pipe
unit_tests += tests/unit/prog
unit_tests += tests/unit/rng
unit_tests += tests/unit/safetensors
unit_tests += tests/unit/rivals
unit_tests += tests/unit/sched
unit_tests += tests/unit/schedule
unit_tests += tests/unit/share
unit_tests += tests/unit/sharing
unit_tests += tests/unit/slow
unit_tests += tests/unit/sim
unit_tests += tests/unit/threads
unit_tests += tests/unit/tp
unit_tests += tests/unit/trace
unit_tests += tests/unit/tree
unit_tests += tests/unit/way
unit_tests += tests/unit/yaml

parallel_tests =
parallel_tests += tests/parallel/apart
parallel_tests += tests/parallel/coll
parallel_tests += tests/parallel/comm
parallel_tests += tests/parallel/dp
parallel_tests += tests/parallel/tp
parallel_tests += tests/parallel/pipe
parallel_tests += tests/parallel/profile
parallel_tests += tests/parallel/grid
parallel_tests += tests/parallel/reshare

sys_tests =
sys_tests += tests/sys/accuracy.sh
sys_tests += tests/sys/badinput.sh
sys_tests += tests/sys/benchcomm.sh
sys_tests += tests/sys/cli.sh
sys_tests += tests/sys/data.sh
sys_tests += tests/sys/death.sh
sys_tests += tests/sys/hosts_train.sh
sys_tests += tests/sys/install.sh
sys_tests += tests/sys/mixed.sh
sys_tests += tests/sys/scalar.sh
sys_tests += tests/sys/slurm.sh
sys_tests += tests/sys/stages.sh
sys_tests += tests/sys/options.sh
sys_tests += tests/sys/rebalance.sh
sys_tests += tests/sys/planfile.sh
sys_tests += tests/sys/precision.sh
sys_tests += tests/sys/profile.sh
sys_tests += tests/sys/resume.sh
sys_tests += tests/sys/trace.sh
sys_tests += tests/sys/tune.sh
sys_tests += tests/sys/wire.sh

structure_tests =
structure_tests += tests/complete.sh
structure_tests += tests/headers.sh
structure_tests += tests/layering.sh
structure_tests += tests/style.sh
structure_tests += tests/symbols.sh

suite_sources =
suite_sources += tests/kit.c
suite_sources += tests/kit.h
suite_sources += tests/refer.c
suite_sources += tests/refer.h
suite_sources += tests/report.c
suite_sources += tests/report.h
suite_sources += tests/rig.c
suite_sources += tests/rig.h
suite_sources += tests/runner.c
suite_sources += tests/runner.h

more_suites =
more_suites += tests/ops/gemm.c
more_suites += tests/ops/optimizers.c
more_suites += tests/ops/precision.c
more_suites += tests/ops/rng.c

noinst_LTLIBRARIES += libmotley-suites.la
libmotley_suites_la_SOURCES = $(suite_sources) $(op_suites) $(more_suites)
nodist_libmotley_suites_la_SOURCES = gen/suites.c
check_PROGRAMS += tests/optest
tests_optest_LDADD = libmotley-suites.la libmotley-core.la
TESTS += tests/optest$(EXEEXT)

# programs that the scripts of sys_tests run
test_helpers =
test_helpers += tests/sys/die
test_helpers += tests/sys/hosts

test_files =
test_files += tests/lsan.supp
test_files += tests/nocmocka.sh
test_files += tests/parallel/device.h
test_files += tests/parallel/job.h
test_files += tests/parallel/train.h
test_files += tests/run.sh
test_files += tests/symbols.txt
test_files += tests/sys/hosts.sh
test_files += tests/sys/lib.sh
test_files += tests/valgrind.supp

EXTRA_DIST += $(sys_tests) $(structure_tests) $(test_files)
if HAVE_CMOCKA
check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests)
else
TESTS += tests/nocmocka.sh
endif
check_PROGRAMS += $(parallel_tests) $(test_helpers)
TESTS += $(parallel_tests) $(sys_tests) $(structure_tests)
