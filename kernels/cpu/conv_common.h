// What the forward and the weight-gradient loops share: column panels and scratch memory.
#ifndef SAS_JAX_KERNELS_CPU_CONV_COMMON_H_
#define SAS_JAX_KERNELS_CPU_CONV_COMMON_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "isa.h"

namespace sas {

// A run of columns that one inner kernel handles: `vectors` vectors, of which `width` floats count.
struct Panel {
  int64_t first_column;
  int64_t width;
  int vectors;
};

// Cuts `columns` into panels of the preferred width, using the next wider or narrower one for the
// rest.
std::vector<Panel> CutPanels(int64_t columns, const IsaKernels& kernels);

// The kernels for rows of a type; the pointer only names it.
inline const PanelKernels<float>& KernelsFor(const IsaKernels& all, const float*) {
  return all.f32;
}
inline const PanelKernels<Bf16>& KernelsFor(const IsaKernels& all, const Bf16*) { return all.bf16; }

// Memory aligned to cache lines, taken from and given back to a process-wide store: pages that have
// been touched once stay, since faulting in fresh ones costs a tenth of a layer.
class Scratch {
 public:
  explicit Scratch(size_t num_bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <typename T>
  T* As() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_;
  size_t size_;
};

// Pair lists of one task; they belong to the thread and live as long as it does.
struct PairBuffer {
  int32_t* in;
  int32_t* out;
};
PairBuffer ThreadPairs(int64_t num_rows);

struct NeighbourTable {
  const int32_t* nbr;  // null: one offset, row o pairs with row o
  int64_t num_offsets;
  int64_t stride;
};

// Lists the pairs of offset k among output rows [begin, end), numbering those from first_row on,
// and has the next offset's part of the table fetched meanwhile: it lies too far away for the
// processor to foresee.
int64_t ListPairs(const IsaKernels& kernels, const NeighbourTable& table, int64_t k, int64_t begin,
                  int64_t end, int64_t first_row, const PairBuffer& pairs);

inline int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace sas

#endif  // SAS_JAX_KERNELS_CPU_CONV_COMMON_H_
