// Neighbour tables on CUDA: plain signatures, no XLA and no CUDA types.
//
// Keys are those of sas_plan.h in two words, as XLA has no 64-bit integers by default. Rows of no
// voxel hold the largest key, which no voxel and no neighbour of one has, and so sort last. All
// pointers are device memory, num_centres too: the host never learns it. Nothing allocates or
// waits, so calls can be captured into a CUDA graph.
#ifndef SAS_JAX_KERNELS_INCLUDE_SAS_PLAN_CUDA_H_
#define SAS_JAX_KERNELS_INCLUDE_SAS_PLAN_CUDA_H_

#include <cstdint>

namespace sas::cuda {

struct KeyWords {
  const uint32_t* high;
  const uint32_t* low;
  int64_t size;
};

struct NeighbourSearch {
  KeyWords keys;               // sorted; of voxels distinct
  KeyWords centres;            // where to look from
  const int32_t* num_centres;  // how many of them are voxels
  const uint32_t* deltas;      // [2, steps, columns]: words of what an offset adds to a key. Within
                               // a column ascending, and no voxel lies between two steps
  int64_t num_steps;
  int64_t num_columns;
  int32_t* nbr;  // [steps, columns, centres]; row of keys, -1 where there is no voxel; written
};

// nbr[s][c][o] = i where keys[i] = centres[o] + deltas[s][c], for o < num_centres. Enqueues on a
// stream, a cudaStream_t. Returns null, or what CUDA says went wrong.
const char* RunNeighbours(const NeighbourSearch& search, void* stream);

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_INCLUDE_SAS_PLAN_CUDA_H_
