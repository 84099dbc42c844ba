// Weight gradient: a block owns 64 x kColumns elements of one offset's gradient and a slab of rows.
//
// It lists the pairs of a window of rows in order and multiplies their rows of x and dy, 32 pairs a
// step, so absent neighbours cost nothing. Slabs write partial gradients; a second kernel adds
// those up in order. Nothing is added atomically.
#ifndef SAS_JAX_KERNELS_CUDA_WEIGHT_GRAD_TILE_H_
#define SAS_JAX_KERNELS_CUDA_WEIGHT_GRAD_TILE_H_

#include <cstdint>

#include "device.h"
#include "forward_tile.h"
#include "panel.h"
#include "product.h"
#include "sas_conv_cuda.h"

namespace sas::cuda {

template <int kColumns, Precision kPrecision>
class WeightGradTile {
 public:
  using Args = ConvWeightGrad;

  static constexpr int kWindow = 1024;  // rows whose pairs are listed at a time

  struct Shared {
    Panel<kTileRows, true> x[kStages];
    Panel<kColumns, true> dy[kStages];
    int32_t in[kWindow];
    int32_t out[kWindow];
    int32_t counts[kThreads];
  };

  static SAS_DEVICE void Run(const Args& conv, Shared& shared) {
    WeightGradTile(conv, shared).Run();
  }

 private:
  SAS_DEVICE WeightGradTile(const Args& conv, Shared& shared) : conv_(conv), shared_(shared) {
    const int64_t row_tiles = CeilDiv(conv.c_in, kTileRows);
    const int64_t column_tiles = CeilDiv(conv.c_out, kColumns);
    int64_t index = BlockIndex();
    first_column_ = static_cast<int>(index % column_tiles) * kColumns;
    index /= column_tiles;
    first_channel_ = static_cast<int>(index % row_tiles) * kTileRows;
    index /= row_tiles;
    offset_ = static_cast<int>(index % conv.num_offsets);
    slab_ = index / conv.num_offsets;
    x_by16_ = CopiesBy16(conv.x, conv.c_in);
    dy_by16_ = CopiesBy16(conv.dy, conv.c_out);
  }

  SAS_DEVICE void Run() {
    const int64_t num_out = NumValid(conv_);
    const int64_t num_slabs = NumSlabs(num_out);
    if (slab_ >= num_slabs) return;
    const int64_t slab_rows = CeilDiv(num_out, num_slabs);
    const int64_t slab_end = (slab_ + 1) * slab_rows;
    const int64_t end = slab_end < num_out ? slab_end : num_out;
    Product<kColumns> product;
    for (int64_t row = slab_ * slab_rows; row < end; row += kWindow) {
      const int num_pairs = ListPairs(row, end);
      RunPipeline(
          static_cast<int>(CeilDiv(num_pairs, kDepth)),
          [&](int step, int stage) { Load(step * kDepth, num_pairs, stage); },
          [&](int stage) {
            product.template Add<kPrecision>(shared_.x[stage], shared_.dy[stage]);
          });
    }
    product.ForEach(
        [&](int i, int j, float sum) { Store(first_channel_ + i, first_column_ + j, sum); });
  }

  // Lists the pairs of rows [begin, begin + kWindow), those before `end`; returns how many.
  SAS_DEVICE int ListPairs(int64_t begin, int64_t end) {
    constexpr int kRowsOfThread = kWindow / kThreads;
    const int64_t first = begin + ThreadIndex() * kRowsOfThread;
    int32_t in[kRowsOfThread];
    int count = 0;
    SAS_UNROLL
    for (int i = 0; i < kRowsOfThread; ++i) {
      in[i] = first + i < end ? Neighbour(conv_, offset_, first + i) : -1;
      count += in[i] >= 0;
    }
    shared_.counts[ThreadIndex()] = count;
    SyncThreads();
    int position = 0;
    int total = 0;
    for (int i = 0; i < kThreads; ++i) {
      if (i == ThreadIndex()) position = total;
      total += shared_.counts[i];
    }
    SAS_UNROLL
    for (int i = 0; i < kRowsOfThread; ++i) {
      if (in[i] < 0) continue;
      shared_.in[position] = in[i];
      shared_.out[position] = static_cast<int32_t>(first + i);
      ++position;
    }
    SyncThreads();
    return total;
  }

  // Starts copying the rows of pairs [first, first + kDepth); those beyond num_pairs are zeros.
  SAS_DEVICE void Load(int first, int num_pairs, int stage) {
    const int64_t c_in = conv_.c_in;
    const int64_t c_out = conv_.c_out;
    shared_.x[stage].Fill(conv_.x, conv_.c_in - first_channel_, x_by16_, [&](int i) -> int64_t {
      return first + i < num_pairs ? shared_.in[first + i] * c_in + first_channel_ : -1;
    });
    shared_.dy[stage].Fill(conv_.dy, conv_.c_out - first_column_, dy_by16_, [&](int i) -> int64_t {
      return first + i < num_pairs ? shared_.out[first + i] * c_out + first_column_ : -1;
    });
  }

  SAS_DEVICE void Store(int channel, int column, float sum) {
    if (channel >= conv_.c_in || column >= conv_.c_out) return;
    const bool whole = conv_.partials == nullptr;
    float* dw = whole ? conv_.dw : conv_.partials;
    const int64_t matrix = (whole ? 0 : slab_ * conv_.num_offsets) + offset_;
    dw[(matrix * conv_.c_in + channel) * conv_.c_out + column] = sum;
  }

  const ConvWeightGrad& conv_;
  Shared& shared_;
  int64_t slab_;
  int offset_;
  int first_channel_;
  int first_column_;
  bool x_by16_;
  bool dy_by16_;
};

// dw = the sum of the slabs' partial gradients, in order.
class AddSlabs {
 public:
  using Args = ConvWeightGrad;
  struct Shared {};

  static SAS_DEVICE void Run(const Args& conv, Shared&) {
    const int64_t num_weights = static_cast<int64_t>(conv.num_offsets) * conv.c_in * conv.c_out;
    const int64_t i = BlockIndex() * kThreads + ThreadIndex();
    if (i >= num_weights) return;
    const int64_t num_slabs = NumSlabs(NumValid(conv));
    float sum = conv.partials[i];
    for (int64_t slab = 1; slab < num_slabs; ++slab) sum += conv.partials[slab * num_weights + i];
    conv.dw[i] = sum;
  }
};

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_CUDA_WEIGHT_GRAD_TILE_H_
