// Neighbour tables by bisection: a thread looks from one row along one column of offsets.
//
// Offsets of a column differ in z alone, and keys of one (x, y) lie side by side: where the lowest
// would be is found by bisection, the others can only lie right behind. Threads of a warp look from
// neighbouring rows, so they read nearly the same keys and write one line of the table.
#ifndef SAS_JAX_KERNELS_CUDA_NEIGHBOURS_H_
#define SAS_JAX_KERNELS_CUDA_NEIGHBOURS_H_

#include <cstdint>

#include "device.h"
#include "kernel_tag.h"
#include "sas_plan_cuda.h"

namespace sas::cuda {

class Neighbours {
 public:
  using Args = NeighbourSearch;

  static constexpr int kBlockThreads = kThreads;
  static constexpr int kLeastBlocks = 1;

  struct Shared {};

  static SAS_DEVICE int64_t BlocksOfColumn(int64_t num_rows) {
    return (num_rows + kBlockThreads - 1) / kBlockThreads;
  }

  static SAS_DEVICE void Run(const Args& search, Shared&) {
    const int64_t num_rows = search.centres.size;
    const int64_t blocks = BlocksOfColumn(num_rows);
    const int64_t column = BlockIndex() / blocks;
    const int64_t row = BlockIndex() % blocks * kBlockThreads + ThreadIndex();
    if (row >= num_rows) return;
    const int64_t step_size = search.num_columns * num_rows;
    int32_t* nbr = search.nbr + column * num_rows + row;
    if (row >= *search.num_centres) {
      for (int64_t s = 0; s < search.num_steps; ++s) nbr[s * step_size] = -1;
      return;
    }
    const uint64_t centre = Key(search.centres, row);
    int64_t cursor = LowerBound(search.keys, centre + Delta(search, 0, column));
    for (int64_t s = 0; s < search.num_steps; ++s) {
      const uint64_t wanted = centre + Delta(search, s, column);
      const bool found = cursor < search.keys.size && Key(search.keys, cursor) == wanted;
      nbr[s * step_size] = found ? static_cast<int32_t>(cursor) : -1;
      cursor += found ? 1 : 0;
    }
  }

 private:
  static SAS_DEVICE uint64_t Join(uint32_t high, uint32_t low) {
    return static_cast<uint64_t>(high) << 32 | low;
  }

  static SAS_DEVICE uint64_t Key(const KeyWords& keys, int64_t row) {
    return Join(keys.high[row], keys.low[row]);
  }

  static SAS_DEVICE uint64_t Delta(const Args& search, int64_t step, int64_t column) {
    const int64_t index = step * search.num_columns + column;
    return Join(search.deltas[index], search.deltas[search.num_steps * search.num_columns + index]);
  }

  // How many of the sorted keys are smaller.
  static SAS_DEVICE int64_t LowerBound(const KeyWords& keys, uint64_t wanted) {
    int64_t first = 0;
    int64_t last = keys.size;
    while (first < last) {
      const int64_t middle = (first + last) / 2;
      if (Key(keys, middle) < wanted) {
        first = middle + 1;
      } else {
        last = middle;
      }
    }
    return first;
  }
};

template <class Launch>
void LaunchNeighbours(const NeighbourSearch& search, Launch& launch) {
  const int64_t num_rows = search.centres.size;
  if (num_rows == 0 || search.num_columns == 0 || search.num_steps == 0) return;
  const int64_t blocks = (num_rows + kThreads - 1) / kThreads;
  launch(KernelTag<Neighbours>(), blocks * search.num_columns, search);
}

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_CUDA_NEIGHBOURS_H_
