// Runs kernels on a CUDA stream.
#ifndef SAS_JAX_KERNELS_CUDA_STREAM_LAUNCH_H_
#define SAS_JAX_KERNELS_CUDA_STREAM_LAUNCH_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "device.h"
#include "kernel_tag.h"

namespace sas::cuda {

template <class Kernel>
__global__ void __launch_bounds__(Kernel::kBlockThreads, Kernel::kLeastBlocks)
    RunKernel(const typename Kernel::Args args) {
  extern __shared__ __align__(16) unsigned char memory[];
  Kernel::Run(args, *reinterpret_cast<typename Kernel::Shared*>(memory));
}

class StreamLaunch {
 public:
  explicit StreamLaunch(void* stream) : stream_(static_cast<cudaStream_t>(stream)) {}

  template <class Kernel>
  void operator()(KernelTag<Kernel>, int64_t num_blocks, typename Kernel::Args args) {
    constexpr int kSharedBytes = sizeof(typename Kernel::Shared);
    const void* function = reinterpret_cast<const void*>(&RunKernel<Kernel>);
    if (error_ == cudaSuccess) {
      // More than 48 KiB need to be asked for.
      error_ =
          cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, kSharedBytes);
    }
    if (error_ == cudaSuccess) {
      void* arguments[] = {&args};
      const dim3 grid(static_cast<unsigned>(num_blocks));
      error_ = cudaLaunchKernel(function, grid, dim3(Kernel::kBlockThreads), arguments,
                                kSharedBytes, stream_);
    }
  }

  // Null, or what went wrong first.
  const char* Error() const { return error_ == cudaSuccess ? nullptr : cudaGetErrorString(error_); }

 private:
  cudaStream_t stream_;
  cudaError_t error_ = cudaSuccess;
};

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_CUDA_STREAM_LAUNCH_H_
