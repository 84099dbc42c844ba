// Exact forward and input gradient: a block owns kRows output rows by kColumns channels.
//
// The sums stay in registers from the first offset to the last. Rows of x come by way of the
// neighbour table straight into shared memory, absent ones as zeros, so nothing is gathered into a
// buffer. Offsets that no row of the block has are skipped; of the others, tiles of 16 rows that
// have none.
#ifndef SAS_JAX_KERNELS_CUDA_FORWARD_TILE_H_
#define SAS_JAX_KERNELS_CUDA_FORWARD_TILE_H_

#include <cstdint>

#include "device.h"
#include "offset_list.h"
#include "panel.h"
#include "product.h"
#include "sas_conv_cuda.h"

namespace sas::cuda {

template <int kRows, int kColumns, bool kTransposed>
class ForwardTile {
 public:
  using Args = ConvForward;

  static constexpr int kBlockThreads = kThreads;
  static constexpr int kLeastBlocks = 1;
  using PanelX = Panel<kRows, false>;
  using PanelW = Panel<kColumns, !kTransposed>;

  static constexpr int kStages = Stages(sizeof(PanelX) + sizeof(PanelW), 2);

  struct Shared {
    PanelX x[kStages];
    PanelW w[kStages];
    OffsetList<kRows> list;
  };

  static SAS_DEVICE void Run(const Args& conv, Shared& shared) { ForwardTile(conv, shared).Run(); }

 private:
  SAS_DEVICE ForwardTile(const Args& conv, Shared& shared)
      : conv_(conv), shared_(shared), num_out_(NumValid(conv)) {
    const int64_t column_tiles = CeilDiv(conv.c_out, kColumns);
    first_row_ = BlockIndex() / column_tiles * kRows;
    first_column_ = static_cast<int>(BlockIndex() % column_tiles) * kColumns;
    x_by16_ = CopiesBy16(conv.x, conv.c_in);
    w_by16_ = CopiesBy16(conv.w, kTransposed ? conv.c_in : conv.c_out);
  }

  SAS_DEVICE void Run() {
    auto& list = shared_.list;
    list.ListRows(conv_, first_row_);
    const int num_chunks = static_cast<int>(CeilDiv(conv_.c_in, kDepth));
    Product<kRows, kColumns> product;
    for (int first = 0; first < conv_.num_offsets; first += list.kOffsets) {
      list.ListOffsets(conv_, num_out_, first);
      OffsetStep load;
      OffsetStep use;
      RunPipeline<kStages>(
          list.num_active * num_chunks,
          [&](int, int stage) {
            Load(first, list.active[load.listed], load.channel, stage);
            load.Next(conv_.c_in, kDepth);
          },
          [&](int stage) {
            product.Add(shared_.x[stage], shared_.w[stage], list.active_tiles[use.listed]);
            use.Next(conv_.c_in, kDepth);
          });
    }
    product.ForEach([&](int i, int column, float sum) { Store(i, first_column_ + column, sum); });
  }

  // Starts copying what offset first + listed needs for the kDepth channels from first_channel on.
  SAS_DEVICE void Load(int first, int listed, int first_channel, int stage) {
    const int64_t c_in = conv_.c_in;
    const int64_t c_out = conv_.c_out;
    const int channels_left = conv_.c_in - first_channel;
    const int columns_left = conv_.c_out - first_column_;
    shared_.x[stage].Fill(conv_.x, channels_left, x_by16_, [&](int i) -> int64_t {
      const int32_t in = shared_.list.in[listed][i];
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
    const int32_t row = shared_.list.rows[i];
    if (row < 0 || column >= conv_.c_out) return;
    // The sums of rows beyond num_out are zeros times weights, NaN if a weight is not finite.
    conv_.y[static_cast<int64_t>(row) * conv_.c_out + column] = row < num_out_ ? sum : 0.0f;
  }

  const ConvForward& conv_;
  Shared& shared_;
  const int64_t num_out_;
  int64_t first_row_;
  int first_column_;
  bool x_by16_;
  bool w_by16_;
};

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_CUDA_FORWARD_TILE_H_
