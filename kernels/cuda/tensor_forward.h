// Forward and input gradient on tensor cores: a block owns kRows output rows by kColumns channels.
//
// As in forward_tile.h the sums stay in registers from the first offset to the last, and rows of x
// come by way of the neighbour table straight into shared memory. Offsets that no row of the block
// has are skipped; of the others, tiles of 16 rows that have none. Weights are [K, c_out, c_in].
#ifndef SAS_JAX_KERNELS_CUDA_TENSOR_FORWARD_H_
#define SAS_JAX_KERNELS_CUDA_TENSOR_FORWARD_H_

#include <cstdint>

#include "device.h"
#include "elements.h"
#include "forward_tile.h"
#include "sas_conv_cuda.h"
#include "tensor_panel.h"
#include "tensor_product.h"

namespace sas::cuda {

template <class T, int kRows, int kColumns>
class TensorForward {
 public:
  using Args = ConvForwardOf<T>;

  static constexpr int kOffsets = kWarp;  // listed at a time
  static constexpr int kTerms = 32;       // of a stage

  struct Shared {
    TensorPanel<T, kRows, kTerms> x[kStages];
    TensorPanel<T, kColumns, kTerms> w[kStages];
    int32_t rows[kRows];  // of y; -1 beyond the capacity
    int32_t in[kOffsets][kRows];
    uint32_t tiles[kOffsets][kRows / kWarp];  // two bits: tiles of 16 rows that have the offset
    int32_t active[kOffsets];                 // the offsets that any row has, ascending
    uint32_t active_tiles[kOffsets];          // and their tiles, a bit each
    int32_t num_active;
  };

  static SAS_DEVICE void Run(const Args& conv, Shared& shared) {
    TensorForward(conv, shared).Run();
  }

 private:
  // One step of the loop over offsets and channels, without divisions.
  struct Step {
    int listed = 0;
    int channel = 0;

    SAS_DEVICE void Next(int c_in) {
      channel += kTerms;
      if (channel < c_in) return;
      channel = 0;
      ++listed;
    }
  };

  SAS_DEVICE TensorForward(const Args& conv, Shared& shared)
      : conv_(conv), shared_(shared), num_out_(NumValid(conv)) {
    const int64_t column_tiles = CeilDiv(conv.c_out, kColumns);
    first_row_ = BlockIndex() / column_tiles * kRows;
    first_column_ = static_cast<int>(BlockIndex() % column_tiles) * kColumns;
  }

  SAS_DEVICE void Run() {
    ListRows();
    const int num_chunks = static_cast<int>(CeilDiv(conv_.c_in, kTerms));
    TensorProduct<T, kRows, kColumns> product;
    for (int first = 0; first < conv_.num_offsets; first += kOffsets) {
      ListOffsets(first);
      Step load;
      Step use;
      RunPipeline(
          shared_.num_active * num_chunks,
          [&](int, int stage) {
            Load(first, shared_.active[load.listed], load.channel, stage);
            load.Next(conv_.c_in);
          },
          [&](int stage) {
            product.Add(shared_.x[stage], shared_.w[stage], shared_.active_tiles[use.listed]);
            use.Next(conv_.c_in);
          });
    }
    product.ForEachPair([&](int i, int column, float even, float odd) {
      Store(shared_.rows[i], first_column_ + column, even, odd);
    });
  }

  SAS_DEVICE void ListRows() {
    for (int i = ThreadIndex(); i < kRows; i += kThreads) {
      const int64_t row = first_row_ + i;
      int32_t listed = -1;
      if (row < conv_.capacity) {
        listed = conv_.order == nullptr ? static_cast<int32_t>(row) : conv_.order[row];
      }
      shared_.rows[i] = listed;
    }
    SyncThreads();
  }

  // Lists the input rows of up to kOffsets offsets, and which tiles of these have any.
  SAS_DEVICE void ListOffsets(int first) {
    static_assert(kRows % kWarp == 0, "a warp reads rows of one offset");
    const int left = conv_.num_offsets - first;
    const int count = left < kOffsets ? left : kOffsets;
    for (int i = ThreadIndex(); i < count * kRows; i += kThreads) {
      const int k = i / kRows;
      const int32_t row = shared_.rows[i % kRows];
      const int32_t in = row >= 0 && row < num_out_ ? Neighbour(conv_, first + k, row) : -1;
      shared_.in[k][i % kRows] = in;
      const uint32_t present = Ballot(in >= 0);
      if (Lane() == 0) {
        shared_.tiles[k][i % kRows / kWarp] =
            ((present & 0xffffu) != 0 ? 1u : 0u) | ((present >> 16) != 0 ? 2u : 0u);
      }
    }
    SyncThreads();
    if (WarpIndex() == 0) {
      uint32_t tiles = 0;
      if (Lane() < count) {
        SAS_UNROLL
        for (int j = 0; j < kRows / kWarp; ++j) tiles |= shared_.tiles[Lane()][j] << 2 * j;
      }
      const uint32_t all = Ballot(tiles != 0);
      if (tiles != 0) {
        const int place = CountBits(all & ((1u << Lane()) - 1));
        shared_.active[place] = Lane();
        shared_.active_tiles[place] = tiles;
      }
      if (Lane() == 0) shared_.num_active = CountBits(all);
    }
    SyncThreads();
  }

  // Starts copying what offset first + listed needs for kTerms channels from first_channel on.
  SAS_DEVICE void Load(int first, int listed, int first_channel, int stage) {
    const int64_t c_in = conv_.c_in;
    const int channels_left = conv_.c_in - first_channel;
    const int columns_left = conv_.c_out - first_column_;
    shared_.x[stage].Fill(conv_.x, channels_left, [&](int i) -> int64_t {
      const int32_t in = shared_.in[listed][i];
      return in < 0 ? -1 : in * c_in + first_channel;
    });
    const int k = first + listed;
    const int64_t source = conv_.reverse_offsets ? conv_.num_offsets - 1 - k : k;
    const T* w = conv_.w + (source * conv_.c_out + first_column_) * c_in + first_channel;
    shared_.w[stage].Fill(w, channels_left,
                          [&](int i) -> int64_t { return i < columns_left ? i * c_in : -1; });
  }

  SAS_DEVICE void Store(int32_t row, int column, float even, float odd) {
    if (row < 0 || column >= conv_.c_out) return;
    const bool valid = row < num_out_;
    T* y = conv_.y + static_cast<int64_t>(row) * conv_.c_out + column;
    // Two at once where rows have an even length: both then begin at an even element.
    if (conv_.c_out % 2 == 0) {
      StorePair(y, valid ? even : 0.0f, valid ? odd : 0.0f);
      return;
    }
    StoreElement(y, valid ? even : 0.0f);
    if (column + 1 < conv_.c_out) StoreElement(y + 1, valid ? odd : 0.0f);
  }

  const Args& conv_;
  Shared& shared_;
  const int64_t num_out_;
  int64_t first_row_;
  int first_column_;
};

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_CUDA_TENSOR_FORWARD_H_
