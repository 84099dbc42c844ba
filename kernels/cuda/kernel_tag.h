// Names a kernel's class as a value.
//
// A kernel is a class with Args, Shared and a device function Run(const Args&, Shared&);
// `launch(KernelTag<Kernel>(), num_blocks, args)` runs one: on a stream, or emulated in tests.
#ifndef SAS_JAX_KERNELS_CUDA_KERNEL_TAG_H_
#define SAS_JAX_KERNELS_CUDA_KERNEL_TAG_H_

namespace sas::cuda {

template <class Kernel>
struct KernelTag {
  using type = Kernel;
};

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_CUDA_KERNEL_TAG_H_
