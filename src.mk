# src.mk -- what is built and installed, besides the operations. One file a line, alphabetical
# within its list, headers too. To add a file, add its line `<list> += <file>`:
#
#     core_sources     the library; also headers of tests' and other lists' files
#     mpi_sources      comm/mpi.c and nothing else: the only file that sees mpi.h
#     optim_sources    optimizers; each `const struct mt_optim_kind NAME = {` at the start of a
#                      line goes into mt_optims[], in this order
#     reader_sources   data readers, likewise `const struct mt_reader NAME = {`, mt_readers[]
#     kernel_sources   files in cl/ that belong to no operation
#     program_sources  src/cli
#     public_headers   installed
#     doc_files        documentation and examples, distributed

core_sources =
core_sources += src/base/attr.c
core_sources += src/base/attr.h
core_sources += src/base/ctx.c
core_sources += src/base/ctx.h
core_sources += src/base/env.c
core_sources += src/base/env.h
core_sources += src/base/err.c
core_sources += src/base/err.h
core_sources += src/base/file.c
core_sources += src/base/file.h
core_sources += src/base/hash.c
core_sources += src/base/hash.h
core_sources += src/base/json.c
core_sources += src/base/json.h
core_sources += src/base/log.c
core_sources += src/base/log.h
core_sources += src/base/mem.c
core_sources += src/base/mem.h
core_sources += src/base/num.c
core_sources += src/base/num.h
core_sources += src/base/rng.c
core_sources += src/base/rng.h
core_sources += src/base/same.c
core_sources += src/base/same.h
core_sources += src/base/text.c
core_sources += src/base/text.h
core_sources += src/base/tree.c
core_sources += src/base/tree.h
core_sources += src/comm/coll.c
core_sources += src/comm/comm.c
core_sources += src/comm/comm.h
core_sources += src/comm/link.h
core_sources += src/comm/self.c
core_sources += src/comm/watch.c
core_sources += src/config/config.c
core_sources += src/config/config.h
core_sources += src/config/override.c
core_sources += src/config/override.h
core_sources += src/config/print.c
core_sources += src/config/print.h
core_sources += src/config/schema.c
core_sources += src/config/schema.h
core_sources += src/config/yaml.c
core_sources += src/config/yaml.h
core_sources += src/data/cells.c
core_sources += src/data/cells.h
core_sources += src/data/columns.c
core_sources += src/data/columns.h
core_sources += src/data/data.c
core_sources += src/data/data.h
core_sources += src/data/loader.c
core_sources += src/data/npy.h
core_sources += src/device/assign.c
core_sources += src/device/buf.c
core_sources += src/device/buf.h
core_sources += src/device/clerr.c
core_sources += src/device/clerr.h
core_sources += src/device/dev.c
core_sources += src/device/dev.h
core_sources += src/device/dev_impl.h
core_sources += src/device/dev_setup.c
core_sources += src/device/embedded.h
core_sources += src/device/gemm.c
core_sources += src/device/gemm.h
core_sources += src/device/gemm_check.c
core_sources += src/device/gemm_clblast.c
core_sources += src/device/gemm_impl.h
core_sources += src/device/gemm_plain.c
core_sources += src/device/gemm_tile.c
core_sources += src/device/launch.c
core_sources += src/device/launch.h
core_sources += src/device/place.c
core_sources += src/device/place.h
core_sources += src/device/prog.c
core_sources += src/device/report.c
core_sources += src/device/report.h
core_sources += src/device/tensor.c
core_sources += src/device/tensor.h
core_sources += src/device/window.c
core_sources += src/graph/build.c
core_sources += src/graph/exec.c
core_sources += src/graph/exec.h
core_sources += src/graph/graph.c
core_sources += src/graph/graph.h
core_sources += src/graph/init.c
core_sources += src/graph/order.c
core_sources += src/graph/plan.c
core_sources += src/graph/plan.h
core_sources += src/graph/step.h
core_sources += src/graph/store.c
core_sources += src/graph/store.h
core_sources += src/graph/update.c
core_sources += src/graph/update.h
core_sources += src/ops/op.c
core_sources += src/ops/op.h
core_sources += src/optim/optim.c
core_sources += src/optim/optim.h
core_sources += src/optim/sched.c
core_sources += src/optim/sched.h
core_sources += src/parallel/par.h
core_sources += src/parallel/share.c
core_sources += tests/unit/datakit.h

mpi_sources =
mpi_sources += src/comm/mpi.c

optim_sources =
optim_sources += src/optim/adagrad.c
optim_sources += src/optim/adam.c
optim_sources += src/optim/rmsprop.c
optim_sources += src/optim/sgd.c

reader_sources =
reader_sources += src/data/csv.c
reader_sources += src/data/digits.c
reader_sources += src/data/idx.c
reader_sources += src/data/npy.c
reader_sources += src/data/synth.c

kernel_sources =
kernel_sources += cl/adagrad.cl
kernel_sources += cl/adam.cl
kernel_sources += cl/gemm.cl
kernel_sources += cl/gemm_tile.cl
kernel_sources += cl/motley.clh
kernel_sources += cl/rmsprop.cl
kernel_sources += cl/sgd.cl
kernel_sources += cl/update.cl

public_headers =
public_headers += include/motley.h

program_sources =
# with src/cli/main.c, uncomment:
# bin_PROGRAMS += motley
# motley_SOURCES = $(program_sources)
# motley_LDADD = libmotley-suites.la libmotley-core.la

doc_files =
doc_files += .ci/run
doc_files += .clang-format
doc_files += .editorconfig
doc_files += CONTRIBUTING.md
doc_files += LICENSE
doc_files += NEWS
doc_files += README.md
doc_files += docs/config.md
doc_files += docs/design.md
doc_files += docs/numerics.md
doc_files += examples/digits-mlp/digits-mlp.yaml
doc_files += examples/get-mnist.sh
doc_files += examples/mnist-mlp/mnist-mlp.yaml
doc_files += examples/wine/wine.yaml
doc_files += quickstart
EXTRA_DIST += $(doc_files)
