// Portable kernels: 128-bit vectors, which every 64-bit processor has.
#define SAS_LANES 4
#define SAS_REGISTERS 16
#include "microkernels.h"

namespace sas {

const IsaKernels* GenericKernels() {
  static const IsaKernels kernels = {
      "generic",
      kLanes,
      2,
      CompactScalar,
      {PanelOf<1>::RunProduct, PanelOf<2>::RunProduct, nullptr, nullptr},
      {PanelOf<1>::RunOuter, PanelOf<2>::RunOuter, nullptr, nullptr},
  };
  return &kernels;
}

}  // namespace sas
