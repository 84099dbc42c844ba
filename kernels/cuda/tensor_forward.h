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
#include "offset_list.h"
#include "panel.h"
#include "sas_conv_cuda.h"
#include "tensor_panel.h"
#include "tensor_product.h"

namespace sas::cuda {

template <class T, int kRows, int kColumns>
class TensorForward {
 public:
  using Args = ConvForwardOf<T>;

  static constexpr int kTerms = 32;  // of a stage
  using PanelX = TensorPanel<T, kRows, kTerms>;
  using PanelW = TensorPanel<T, kColumns, kTerms>;
  static constexpr int kStages = Stages(sizeof(PanelX) + sizeof(PanelW), 3);

  struct Shared {
    PanelX x[kStages];
    PanelW w[kStages];
    OffsetList<kRows> list;
  };

  static SAS_DEVICE void Run(const Args& conv, Shared& shared) {
    TensorForward(conv, shared).Run();
  }

 private:
  SAS_DEVICE TensorForward(const Args& conv, Shared& shared)
      : conv_(conv), shared_(shared), num_out_(NumValid(conv)) {
    const int64_t column_tiles = CeilDiv(conv.c_out, kColumns);
    first_row_ = BlockIndex() / column_tiles * kRows;
    first_column_ = static_cast<int>(BlockIndex() % column_tiles) * kColumns;
  }

  SAS_DEVICE void Run() {
    auto& list = shared_.list;
    list.ListRows(conv_, first_row_);
    const int num_chunks = static_cast<int>(CeilDiv(conv_.c_in, kTerms));
    TensorProduct<T, kRows, kColumns> product;
    for (int first = 0; first < conv_.num_offsets; first += list.kOffsets) {
      list.ListOffsets(conv_, num_out_, first);
      OffsetStep load;
      OffsetStep use;
      RunPipeline<kStages>(
          list.num_active * num_chunks,
          [&](int, int stage) {
            Load(first, list.active[load.listed], load.channel, stage);
            load.Next(conv_.c_in, kTerms);
          },
          [&](int stage) {
            product.Add(shared_.x[stage], shared_.w[stage], list.active_tiles[use.listed]);
            use.Next(conv_.c_in, kTerms);
          });
    }
    product.ForEachPair([&](int i, int column, float even, float odd) {
      Store(list.rows[i], first_column_ + column, even, odd);
    });
  }

  // Starts copying what offset first + listed needs for kTerms channels from first_channel on.
  SAS_DEVICE void Load(int first, int listed, int first_channel, int stage) {
    const int64_t c_in = conv_.c_in;
    const int channels_left = conv_.c_in - first_channel;
    const int columns_left = conv_.c_out - first_column_;
    shared_.x[stage].Fill(conv_.x, channels_left, [&](int i) -> int64_t {
      const int32_t in = shared_.list.in[listed][i];
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
