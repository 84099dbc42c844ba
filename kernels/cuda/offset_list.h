// What a block of output rows needs of the neighbour table: the input rows of every offset, and
// which offsets there are at all.
#ifndef SAS_JAX_KERNELS_CUDA_OFFSET_LIST_H_
#define SAS_JAX_KERNELS_CUDA_OFFSET_LIST_H_

#include <cstdint>

#include "device.h"
#include "sas_conv_cuda.h"

namespace sas::cuda {

// Input row of offset k and a valid output row; -1 if there is none.
template <class Conv>
SAS_DEVICE int32_t Neighbour(const Conv& conv, int k, int64_t row) {
  return conv.nbr == nullptr ? static_cast<int32_t>(row) : conv.nbr[k * conv.nbr_stride + row];
}

// Valid output rows; a number that does not fit must not lead out of the arrays.
template <class Conv>
SAS_DEVICE int64_t NumValid(const Conv& conv) {
  const int64_t rows = *conv.num_out;
  return rows < 0 ? 0 : rows > conv.capacity ? conv.capacity : rows;
}

// In shared memory.
template <int kRows, int kBlockThreads = kThreads>
struct OffsetList {
  static constexpr int kOffsets = kWarp;  // listed at a time
  static constexpr int kBatch = 8;        // entries of the table that a thread reads at once
  static_assert(kRows % kWarp == 0, "a warp reads rows of one offset");

  int32_t rows[kRows];  // of y; -1 beyond the capacity
  int32_t in[kOffsets][kRows];
  uint32_t tiles[kOffsets][kRows / kWarp];  // two bits: tiles of 16 rows that have the offset
  int32_t active[kOffsets];                 // the offsets that any row has, ascending
  uint32_t active_tiles[kOffsets];          // and their tiles, a bit each
  int32_t num_active;

  // Lists the output rows from first_row on.
  template <class Conv>
  SAS_DEVICE void ListRows(const Conv& conv, int64_t first_row) {
    for (int i = ThreadIndex(); i < kRows; i += kBlockThreads) {
      const int64_t row = first_row + i;
      int32_t listed = -1;
      if (row < conv.capacity) {
        listed = conv.order == nullptr ? static_cast<int32_t>(row) : conv.order[row];
      }
      rows[i] = listed;
    }
    SyncThreads();
  }

  // Lists the input rows of up to kOffsets offsets, and which tiles of these have any.
  template <class Conv>
  SAS_DEVICE void ListOffsets(const Conv& conv, int64_t num_valid, int first) {
    const int left = conv.num_offsets - first;
    const int count = left < kOffsets ? left : kOffsets;
    const int num_entries = count * kRows;
    for (int begin = ThreadIndex(); begin < num_entries; begin += kBatch * kBlockThreads) {
      int32_t found[kBatch];
      SAS_UNROLL
      for (int j = 0; j < kBatch; ++j) {
        const int i = begin + j * kBlockThreads;
        const int32_t row = i < num_entries ? rows[i % kRows] : -1;
        const bool valid = row >= 0 && row < num_valid;
        found[j] = valid ? Neighbour(conv, first + i / kRows, row) : -1;
      }
      SAS_UNROLL
      for (int j = 0; j < kBatch; ++j) {
        const int i = begin + j * kBlockThreads;
        if (i >= num_entries) break;
        in[i / kRows][i % kRows] = found[j];
        const uint32_t present = Ballot(found[j] >= 0);
        if (Lane() == 0) {
          tiles[i / kRows][i % kRows / kWarp] =
              ((present & 0xffffu) != 0 ? 1u : 0u) | ((present >> 16) != 0 ? 2u : 0u);
        }
      }
    }
    SyncThreads();
    if (WarpIndex() == 0) {
      uint32_t all_tiles = 0;
      if (Lane() < count) {
        SAS_UNROLL
        for (int j = 0; j < kRows / kWarp; ++j) all_tiles |= tiles[Lane()][j] << 2 * j;
      }
      const uint32_t present = Ballot(all_tiles != 0);
      if (all_tiles != 0) {
        const int place = CountBits(present & ((1u << Lane()) - 1));
        active[place] = Lane();
        active_tiles[place] = all_tiles;
      }
      if (Lane() == 0) num_active = CountBits(present);
    }
    SyncThreads();
  }
};

// One step of the loop over listed offsets and their channels.
struct OffsetStep {
  int listed = 0;
  int channel = 0;

  SAS_DEVICE void Next(int c_in, int terms) {
    channel += terms;
    if (channel < c_in) return;
    channel = 0;
    ++listed;
  }
};

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_CUDA_OFFSET_LIST_H_
