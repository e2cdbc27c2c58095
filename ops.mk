# ops.mk -- the operations. A new one is a paragraph of three lines, in alphabetical order: host
# file, kernels, suite. The host file defines `const struct mt_op mt_op_<name> = {` at the start
# of a line, the suite says `MT_SUITE(<name>, ...`; the registry, the embedded kernels, the test
# program and `motley check` follow from these lists. A view has no kernels and no such line.

op_sources =
op_kernels =
op_suites =

op_sources += src/ops/add.c
op_kernels += cl/add.cl
op_suites += tests/ops/add.c

op_sources += src/ops/bce.c
op_kernels += cl/bce.cl
op_suites += tests/ops/bce.c

op_sources += src/ops/cast.c
op_kernels += cl/cast.cl
op_suites += tests/ops/cast.c

op_sources += src/ops/cross_entropy.c
op_kernels += cl/cross_entropy.cl
op_suites += tests/ops/cross_entropy.c

op_sources += src/ops/dropout.c
op_kernels += cl/dropout.cl
op_suites += tests/ops/dropout.c

op_sources += src/ops/flatten.c
op_suites += tests/ops/flatten.c

op_sources += src/ops/gelu.c
op_kernels += cl/gelu.cl
op_suites += tests/ops/gelu.c

op_sources += src/ops/hinge.c
op_kernels += cl/hinge.cl
op_suites += tests/ops/hinge.c

op_sources += src/ops/leaky_relu.c
op_kernels += cl/leaky_relu.cl
op_suites += tests/ops/leaky_relu.c

op_sources += src/ops/linear.c
op_kernels += cl/linear.cl
op_suites += tests/ops/linear.c

op_sources += src/ops/mse.c
op_kernels += cl/mse.cl
op_suites += tests/ops/mse.c

op_sources += src/ops/relu.c
op_kernels += cl/relu.cl
op_suites += tests/ops/relu.c

op_sources += src/ops/reshape.c
op_suites += tests/ops/reshape.c

op_sources += src/ops/sigmoid.c
op_kernels += cl/sigmoid.cl
op_suites += tests/ops/sigmoid.c

op_sources += src/ops/silu.c
op_kernels += cl/silu.cl
op_suites += tests/ops/silu.c

op_sources += src/ops/tanh.c
op_kernels += cl/tanh.cl
op_suites += tests/ops/tanh.c
