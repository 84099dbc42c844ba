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

// How a block gets its part of the result: terms of a step, stages of the pipeline (0: as many as
// fit, three or more), and warps, four or eight.
template <int kRows_, int kColumns_, int kTerms_, int kStages_ = 0, int kWarps_ = 4>
struct TensorShape {
  static constexpr int kRows = kRows_;
  static constexpr int kColumns = kColumns_;
  static constexpr int kTerms = kTerms_;
  static constexpr int kStages = kStages_;
  static constexpr int kWarps = kWarps_;
  // Eight warps lie four by two where the columns have no four pairs of tiles.
  static constexpr int kWarpRows = kWarps == 4 || (kRows < 128 && kColumns % 64 == 0) ? 2 : 4;
};

template <class T, class Shape>
class TensorForward {
 public:
  using Args = ConvForwardOf<T>;

  static constexpr int kRows = Shape::kRows;
  static constexpr int kColumns = Shape::kColumns;
  static constexpr int kTerms = Shape::kTerms;
  static constexpr int kBlockThreads = Shape::kWarps * kWarp;
  using PanelX = TensorPanel<T, kRows, kTerms>;
  using PanelW = TensorPanel<T, kColumns, kTerms>;
  static constexpr int kStages =
      Shape::kStages != 0 ? Shape::kStages : Stages(sizeof(PanelX) + sizeof(PanelW), 3);
  struct Shared {
    PanelX x[kStages];
    PanelW w[kStages];
    OffsetList<kRows, kBlockThreads> list;
  };

  // Blocks of a multiprocessor that registers must suffice for: 128 a thread with up to 48 sums.
  static constexpr int kSums = kRows * kColumns / kBlockThreads;
  static constexpr int kSharedBlocks = 227 * 1024 / static_cast<int>(sizeof(Shared) + 1024);
  static constexpr int kWantedBlocks = Shape::kWarps == 8 ? 2 : kSums <= 48 ? 4 : 3;
  static constexpr int kLeastBlocks = kWantedBlocks < kSharedBlocks ? kWantedBlocks : kSharedBlocks;

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
    TensorProduct<T, kRows, kColumns, Shape::kWarpRows, Shape::kWarps / Shape::kWarpRows> product;
    for (int first = 0; first < conv_.num_offsets; first += list.kOffsets) {
      list.ListOffsets(conv_, num_out_, first);
      const int num_active = list.num_active;
      if (num_active == 0) continue;
      OffsetStep load;
      OffsetStep use;
      // What a step needs of the list is read a step before, while nothing waits for it.
      LookUp(0);
      uint32_t tiles = list.active_tiles[0];
      RunPipeline<kStages>(
          num_active * num_chunks,
          [&](int, int stage) {
            Load(first, load.channel, stage);
            load.Next(conv_.c_in, kTerms);
            if (load.channel == 0 && load.listed < num_active) LookUp(load.listed);
          },
          [&](int stage) {
            product.Add(shared_.x[stage], shared_.w[stage], tiles);
            use.Next(conv_.c_in, kTerms);
            if (use.channel == 0 && use.listed < num_active) tiles = list.active_tiles[use.listed];
          });
    }
    product.ForEachPair([&](int i, int column, float even, float odd) {
      Store(list.rows[i], first_column_ + column, even, odd);
    });
  }

  // Reads which offset, and which rows of x, this thread will copy from.
  SAS_DEVICE void LookUp(int place) {
    listed_ = shared_.list.active[place];
    SAS_UNROLL
    for (int piece = 0; piece < kPieces; ++piece) {
      const int row = PanelX::template RowOfPiece<kBlockThreads>(piece);
      in_[piece] = row < kRows ? shared_.list.in[listed_][row] : -1;
    }
  }

  // Starts copying what the offset that was looked up, of those from `first` on, needs for kTerms
  // channels from first_channel on.
  SAS_DEVICE void Load(int first, int first_channel, int stage) {
    const int64_t c_in = conv_.c_in;
    const int channels_left = conv_.c_in - first_channel;
    const int columns_left = conv_.c_out - first_column_;
    shared_.x[stage].template FillPieces<kBlockThreads>(
        conv_.x, channels_left, [&](int, int piece) -> int64_t {
          const int32_t in = in_[piece];
          return in < 0 ? -1 : in * c_in + first_channel;
        });
    const int k = first + listed_;
    const int64_t source = conv_.reverse_offsets ? conv_.num_offsets - 1 - k : k;
    const T* w = conv_.w + (source * conv_.c_out + first_column_) * c_in + first_channel;
    shared_.w[stage].template FillPieces<kBlockThreads>(
        w, channels_left, [&](int i, int) -> int64_t { return i < columns_left ? i * c_in : -1; });
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
  static constexpr int kPieces = PanelX::template kPiecesOf<kBlockThreads>;
  int32_t in_[kPieces];
  int listed_;
};

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_CUDA_TENSOR_FORWARD_H_
