// Forward for up to four input channels: the first layer of a network, 5^3 offsets on colours.
//
// A tensor-core tile would be mostly padding there. Here a warp takes a row, its lanes 32 output
// channels, and it visits only the offsets that the row has. Products are exact.
#ifndef SAS_JAX_KERNELS_CUDA_FEW_CHANNELS_H_
#define SAS_JAX_KERNELS_CUDA_FEW_CHANNELS_H_

#include <cstdint>

#include "device.h"
#include "offset_list.h"
#include "sas_conv_cuda.h"

namespace sas::cuda {

class FewChannels {
 public:
  using Args = ConvForward;

  static constexpr int kBlockThreads = kThreads;
  static constexpr int kLeastBlocks = 1;

  static constexpr int kRows = 32;  // of a block
  static constexpr int kColumns = kWarp;
  static constexpr int kOffsets = kWarp;  // listed at a time

  struct Shared {
    int32_t in[kRows][kOffsets + 1];  // lanes write columns and read rows: no two share a bank
  };

  static SAS_DEVICE void Run(const Args& conv, Shared& shared) { FewChannels(conv, shared).Run(); }

 private:
  static constexpr int kWarps = kThreads / kWarp;
  static constexpr int kRowsOfWarp = kRows / kWarps;

  SAS_DEVICE FewChannels(const Args& conv, Shared& shared)
      : conv_(conv), shared_(shared), num_out_(NumValid(conv)) {
    const int64_t column_tiles = CeilDiv(conv.c_out, kColumns);
    first_row_ = BlockIndex() / column_tiles * kRows;
    column_ = BlockIndex() % column_tiles * kColumns + Lane();
    channel_step_ = conv.transpose_weights ? 1 : conv.c_out;
    column_step_ = conv.transpose_weights ? conv.c_in : 1;
  }

  SAS_DEVICE void Run() {
    float sums[kRowsOfWarp];
    SAS_UNROLL
    for (int j = 0; j < kRowsOfWarp; ++j) sums[j] = 0.0f;
    for (int first = 0; first < conv_.num_offsets; first += kOffsets) {
      ListOffsets(first);
      SyncThreads();
      SAS_UNROLL
      for (int j = 0; j < kRowsOfWarp; ++j) sums[j] = AddOffsets(first, RowOfWarp(j), sums[j]);
      SyncThreads();
    }
    if (column_ >= conv_.c_out) return;
    SAS_UNROLL
    for (int j = 0; j < kRowsOfWarp; ++j) {
      const int64_t row = first_row_ + RowOfWarp(j);
      if (row < conv_.capacity) conv_.y[row * conv_.c_out + column_] = sums[j];
    }
  }

  SAS_DEVICE int RowOfWarp(int j) const { return WarpIndex() * kRowsOfWarp + j; }

  SAS_DEVICE void ListOffsets(int first) {
    static_assert(kOffsets * kRows % kThreads == 0, "threads share the table evenly");
    SAS_UNROLL
    for (int begin = 0; begin < kOffsets * kRows; begin += kThreads) {
      const int i = begin + ThreadIndex();
      const int k = i / kRows;
      const int64_t row = first_row_ + i % kRows;
      const bool there = first + k < conv_.num_offsets && row < num_out_;
      shared_.in[i % kRows][k] = there ? Neighbour(conv_, first + k, row) : -1;
    }
  }

  SAS_DEVICE float AddOffsets(int first, int row, float sum) const {
    for (uint32_t left = Ballot(shared_.in[row][Lane()] >= 0); left != 0; left &= left - 1) {
      const int listed = LowestBit(left);
      const int k = first + listed;
      const int64_t source = conv_.reverse_offsets ? conv_.num_offsets - 1 - k : k;
      const float* w = conv_.w + source * conv_.c_in * conv_.c_out + column_ * column_step_;
      const float* x = conv_.x + static_cast<int64_t>(shared_.in[row][listed]) * conv_.c_in;
      if (column_ >= conv_.c_out) continue;
      for (int c = 0; c < conv_.c_in; ++c) sum += x[c] * w[c * channel_step_];
    }
    return sum;
  }

  const ConvForward& conv_;
  Shared& shared_;
  const int64_t num_out_;
  int64_t first_row_;
  int64_t column_;
  int64_t channel_step_;
  int64_t column_step_;
};

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_CUDA_FEW_CHANNELS_H_
