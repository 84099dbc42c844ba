// Portable kernels: 128-bit vectors, which every 64-bit processor has.
#define SAS_LANES 4
#define SAS_REGISTERS 16
#include "gauss_pixels.h"
#include "microkernels.h"

namespace sas {

const IsaKernels* GenericKernels() {
  static const IsaKernels kernels = {
      "generic",     kLanes, 2, CompactScalar, KernelsUpTo2<float>(), KernelsUpTo2<Bf16>(),
      TileKernels(),
  };
  return &kernels;
}

}  // namespace sas
