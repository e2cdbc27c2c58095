# ops.mk -- the operations. A new one is a paragraph of three lines, in alphabetical order: host
# file, kernels, suite. The host file defines `const struct mt_op mt_op_<name> = {` at the start
# of a line, the suite says `MT_SUITE(<name>, ...`; the registry, the embedded kernels, the test
# program and `motley check` follow from these lists. A view has no kernels and no such line.

op_sources =
op_kernels =
op_suites =

op_sources += src/ops/relu.c
op_kernels += cl/relu.cl
op_suites += tests/ops/relu.c
