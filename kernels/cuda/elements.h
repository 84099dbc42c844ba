// Writing sums as the elements of an array.
#ifndef SAS_JAX_KERNELS_CUDA_ELEMENTS_H_
#define SAS_JAX_KERNELS_CUDA_ELEMENTS_H_

#include <cstdint>

#include "device.h"
#include "sas_conv_cuda.h"

namespace sas::cuda {

SAS_DEVICE void StoreElement(float* target, float value) { *target = value; }
SAS_DEVICE void StoreElement(Bfloat16* target, float value) {
  target->bits = static_cast<uint16_t>(PackBf16(value, 0.0f));
}

// Two elements at once; the target is aligned to both.
SAS_DEVICE void StorePair(float* target, float first, float second) {
  struct alignas(8) Pair {
    float v[2];
  };
  *reinterpret_cast<Pair*>(target) = {first, second};
}
SAS_DEVICE void StorePair(Bfloat16* target, float first, float second) {
  *reinterpret_cast<uint32_t*>(target) = PackBf16(first, second);
}

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_CUDA_ELEMENTS_H_
