// AVX2 + FMA kernels; compiled with those flags, called only where the processor has them.
#include "isa.h"

#if defined(__AVX2__) && defined(__FMA__)
#define SAS_LANES 8
#define SAS_REGISTERS 16
#include "gauss_pixels.h"
#include "microkernels.h"

namespace sas {

const IsaKernels* Avx2Kernels() {
  static const IsaKernels kernels = {
      "avx2", kLanes, 2, CompactScalar, KernelsUpTo2<float>(), KernelsUpTo2<Bf16>(), TileKernels(),
  };
  return &kernels;
}

}  // namespace sas

#else

namespace sas {
const IsaKernels* Avx2Kernels() { return nullptr; }
}  // namespace sas

#endif
