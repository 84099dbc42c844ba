// Sorting of voxel keys and neighbour tables between sorted levels: plain signatures.
//
// A key is any 64-bit packing of (batch, x, y, z) whose numeric order is lexicographic, so that
// moving a voxel by an offset adds a constant to its key, and voxels that differ in z alone are
// contiguous.
#ifndef SAS_JAX_KERNELS_INCLUDE_SAS_PLAN_H_
#define SAS_JAX_KERNELS_INCLUDE_SAS_PLAN_H_

#include <cstdint>

#include "sas_parallel.h"

namespace sas {

// Writes the sorted distinct keys and, for each, its first row in `keys`; returns how many there
// are. `first` may be null. Both outputs have room for n entries.
int64_t SortUnique(const uint64_t* keys, int64_t n, uint64_t* unique, int32_t* first);

struct TableRequest {
  const uint64_t* keys_in;  // sorted, distinct
  int64_t num_in;
  const uint64_t* keys_out;  // sorted, distinct
  int64_t num_out;
  const uint64_t* deltas;  // [num_offsets]: what an offset adds to a key, modulo 2^64
  int64_t num_offsets;
  uint64_t z_step;  // what one step along z adds to a key
  int32_t* nbr;     // [num_offsets, capacity_out]; written, -1 where there is no voxel
  int64_t capacity_out;
  int32_t* transposed;  // [num_offsets, capacity_in]; written. Null if the level meets itself in a
                        // centred kernel: then deltas[K - 1 - k] = -deltas[k] and half is searched
  int64_t capacity_in;
};

// nbr[k][o] = i and transposed[k][i] = o where keys_in[i] = keys_out[o] + deltas[k]. Returns false
// if the request is not symmetric although `transposed` is null.
bool FillTables(const TableRequest& request, Parallel& parallel);

}  // namespace sas

#endif  // SAS_JAX_KERNELS_INCLUDE_SAS_PLAN_H_
