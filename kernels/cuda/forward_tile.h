// Exact forward and input gradient: a block owns 64 output rows by kColumns channels.
//
// The sums stay in registers from the first offset to the last. Rows of x come by way of the
// neighbour table straight into shared memory, absent ones as zeros, so nothing is gathered into a
// buffer. Offsets that no row of the tile has are skipped.
#ifndef SAS_JAX_KERNELS_CUDA_FORWARD_TILE_H_
#define SAS_JAX_KERNELS_CUDA_FORWARD_TILE_H_

#include <cstdint>

#include "device.h"
#include "panel.h"
#include "product.h"
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

template <int kColumns, bool kTransposed>
class ForwardTile {
 public:
  using Args = ConvForward;

  static constexpr int kOffsets = kWarp;  // listed at a time

  struct Shared {
    Panel<kTileRows, false> x[kStages];
    Panel<kColumns, !kTransposed> w[kStages];
    int32_t rows[kTileRows];  // of y; -1 beyond the capacity
    int32_t in[kOffsets][kTileRows];
    int32_t present[kOffsets];
    int32_t active[kOffsets];  // the offsets that are present, ascending
    int32_t num_active;
  };

  static SAS_DEVICE void Run(const Args& conv, Shared& shared) { ForwardTile(conv, shared).Run(); }

 private:
  SAS_DEVICE ForwardTile(const Args& conv, Shared& shared)
      : conv_(conv),
        shared_(shared),
        num_out_(NumValid(conv)),
        num_chunks_(static_cast<int>(CeilDiv(conv.c_in, kDepth))) {
    const int64_t column_tiles = CeilDiv(conv.c_out, kColumns);
    first_row_ = BlockIndex() / column_tiles * kTileRows;
    first_column_ = static_cast<int>(BlockIndex() % column_tiles) * kColumns;
    x_by16_ = CopiesBy16(conv.x, conv.c_in);
    w_by16_ = CopiesBy16(conv.w, kTransposed ? conv.c_in : conv.c_out);
  }

  SAS_DEVICE void Run() {
    ListRows();
    Product<kColumns> product;
    for (int first = 0; first < conv_.num_offsets; first += kOffsets) {
      ListOffsets(first);
      RunPipeline(
          shared_.num_active * num_chunks_,
          [&](int step, int stage) {
            const int listed = shared_.active[step / num_chunks_];
            Load(first, listed, step % num_chunks_ * kDepth, stage);
          },
          [&](int stage) { product.Add(shared_.x[stage], shared_.w[stage]); });
    }
    product.ForEach([&](int i, int column, float sum) { Store(i, first_column_ + column, sum); });
  }

  SAS_DEVICE void ListRows() {
    for (int i = ThreadIndex(); i < kTileRows; i += kThreads) {
      const int64_t row = first_row_ + i;
      int32_t listed = -1;
      if (row < conv_.capacity) {
        listed = conv_.order == nullptr ? static_cast<int32_t>(row) : conv_.order[row];
      }
      shared_.rows[i] = listed;
    }
    SyncThreads();
  }

  // Lists the input rows of up to kOffsets offsets, and which of these have any.
  SAS_DEVICE void ListOffsets(int first) {
    const int left = conv_.num_offsets - first;
    const int count = left < kOffsets ? left : kOffsets;
    for (int i = ThreadIndex(); i < kOffsets; i += kThreads) shared_.present[i] = 0;
    SyncThreads();
    for (int i = ThreadIndex(); i < count * kTileRows; i += kThreads) {
      const int k = i / kTileRows;
      const int32_t row = shared_.rows[i % kTileRows];
      const int32_t in = row >= 0 && row < num_out_ ? Neighbour(conv_, first + k, row) : -1;
      shared_.in[k][i % kTileRows] = in;
      // Whoever writes, writes the same.
      if (in >= 0) shared_.present[k] = 1;
    }
    SyncThreads();
    if (WarpIndex() == 0) {
      const bool present = shared_.present[Lane()] != 0;
      const uint32_t all = Ballot(present);
      const uint32_t before = all & ((1u << Lane()) - 1);
      if (present) shared_.active[CountBits(before)] = Lane();
      if (Lane() == 0) shared_.num_active = CountBits(all);
    }
    SyncThreads();
  }

  // Starts copying what offset first + listed needs for the kDepth channels from first_channel on.
  SAS_DEVICE void Load(int first, int listed, int first_channel, int stage) {
    const int64_t c_in = conv_.c_in;
    const int64_t c_out = conv_.c_out;
    const int channels_left = conv_.c_in - first_channel;
    const int columns_left = conv_.c_out - first_column_;
    shared_.x[stage].Fill(conv_.x, channels_left, x_by16_, [&](int i) -> int64_t {
      const int32_t in = shared_.in[listed][i];
      return in < 0 ? -1 : in * c_in + first_channel;
    });
    const int k = first + listed;
    const int64_t source = conv_.reverse_offsets ? conv_.num_offsets - 1 - k : k;
    const float* w = conv_.w + source * c_in * c_out;
    if constexpr (kTransposed) {
      shared_.w[stage].Fill(w, channels_left, w_by16_, [&](int i) -> int64_t {
        return i < columns_left ? (first_column_ + i) * c_in + first_channel : -1;
      });
    } else {
      shared_.w[stage].Fill(w, columns_left, w_by16_, [&](int i) -> int64_t {
        return i < channels_left ? (first_channel + i) * c_out + first_column_ : -1;
      });
    }
  }

  SAS_DEVICE void Store(int i, int column, float sum) {
    const int32_t row = shared_.rows[i];
    if (row < 0 || column >= conv_.c_out) return;
    // The sums of rows beyond num_out are zeros times weights, NaN if a weight is not finite.
    conv_.y[static_cast<int64_t>(row) * conv_.c_out + column] = row < num_out_ ? sum : 0.0f;
  }

  const ConvForward& conv_;
  Shared& shared_;
  const int64_t num_out_;
  const int num_chunks_;
  int64_t first_row_;
  int first_column_;
  bool x_by16_;
  bool w_by16_;
};

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_CUDA_FORWARD_TILE_H_
