// What the kernels need of the device: threads, barriers, asynchronous copies, tensor cores.
//
// The kernels are plain C++ over this handful of functions. nvcc takes them from ptx.h; any other
// compiler takes them from emulate.h, which runs a block's threads on the CPU, so that all index
// arithmetic can be tested without a GPU.
#ifndef SAS_JAX_KERNELS_CUDA_DEVICE_H_
#define SAS_JAX_KERNELS_CUDA_DEVICE_H_

#include <cstdint>

#ifdef __CUDACC__
#include "ptx.h"
#else
#include "emulate.h"
#endif

namespace sas::cuda {

constexpr int kWarp = 32;
constexpr int kThreads = 128;  // of a block, unless its kernel says otherwise

SAS_DEVICE int Lane() { return ThreadIndex() % kWarp; }
SAS_DEVICE int WarpIndex() { return ThreadIndex() / kWarp; }

// Copies of 16 bytes need addresses that are multiples of 16, in every row.
SAS_DEVICE bool CopiesBy16(const float* rows, int64_t row_length) {
  return row_length % 4 == 0 && reinterpret_cast<uintptr_t>(rows) % 16 == 0;
}

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_CUDA_DEVICE_H_
