// Advice to the operating system about large fresh arrays.
#ifndef SAS_JAX_KERNELS_CPU_MEMORY_H_
#define SAS_JAX_KERNELS_CPU_MEMORY_H_

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace sas {

constexpr size_t kHugePage = size_t{1} << 21;

// Asks for huge pages inside [data, data + num_bytes). XLA allocates its arrays afresh for every
// run, and faulting them in by 4 kB pages costs as much as a pass over them. Purely a hint: errors
// do not matter.
inline void AdviseHugePages([[maybe_unused]] void* data, [[maybe_unused]] size_t num_bytes) {
#if defined(MADV_HUGEPAGE)
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + kHugePage - 1) & ~(kHugePage - 1);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + num_bytes) & ~(kHugePage - 1);
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace sas

#endif  // SAS_JAX_KERNELS_CPU_MEMORY_H_
