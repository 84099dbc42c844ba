// Weight gradient: a block owns kRows x kColumns elements of one offset's gradient and a slab of
// rows.
//
// It lists the pairs of a window of rows in order and multiplies their rows of x and dy, 32 pairs a
// step, so absent neighbours cost nothing. Slabs write partial gradients; a second kernel adds
// those up in order. Nothing is added atomically.
#ifndef SAS_JAX_KERNELS_CUDA_WEIGHT_GRAD_TILE_H_
#define SAS_JAX_KERNELS_CUDA_WEIGHT_GRAD_TILE_H_

#include <cstdint>

#include "device.h"
#include "offset_list.h"
#include "panel.h"
#include "product.h"
#include "sas_conv_cuda.h"
#include "tensor_panel.h"
#include "tensor_product.h"

namespace sas::cuda {

// How a block multiplies: exactly, in float.
template <int kRows_, int kColumns_>
struct ExactMath {
  using Element = float;
  static constexpr int kRows = kRows_;
  static constexpr int kColumns = kColumns_;
  static constexpr int kWindow = 1024;
  using PanelX = Panel<kRows, true>;
  using PanelDy = Panel<kColumns, true>;
  using Sums = Product<kRows, kColumns>;

  template <class AnyPanel, class RowAt>
  static SAS_DEVICE void Fill(AnyPanel& panel, const float* base, int width, int row_length,
                              RowAt row_at) {
    panel.Fill(base, width, CopiesBy16(base, row_length), row_at);
  }
  static SAS_DEVICE void Add(Sums& sums, const PanelX& x, const PanelDy& dy) { sums.AddAll(x, dy); }
  template <class Store>
  static SAS_DEVICE void ForEach(const Sums& sums, Store store) {
    sums.ForEach(store);
  }
};

// On tensor cores, in tf32.
template <int kRows_, int kColumns_>
struct Tf32Math {
  using Element = float;
  static constexpr int kRows = kRows_;
  static constexpr int kColumns = kColumns_;
  static constexpr int kWindow = 1024;
  using PanelX = Panel<kRows, true>;
  using PanelDy = Panel<kColumns, true>;
  using Sums = TensorProduct<float, kRows, kColumns>;

  template <class AnyPanel, class RowAt>
  static SAS_DEVICE void Fill(AnyPanel& panel, const float* base, int width, int row_length,
                              RowAt row_at) {
    panel.Fill(base, width, CopiesBy16(base, row_length), row_at);
  }
  static SAS_DEVICE void Add(Sums& sums, const PanelX& x, const PanelDy& dy) {
    sums.AddTransposedTf32(x, dy);
  }
  template <class Store>
  static SAS_DEVICE void ForEach(const Sums& sums, Store store) {
    sums.ForEachPair([&](int row, int column, float even, float odd) {
      store(row, column, even);
      store(row, column + 1, odd);
    });
  }
};

// On tensor cores, in bfloat16.
template <int kRows_, int kColumns_>
struct Bf16Math {
  using Element = Bfloat16;
  static constexpr int kRows = kRows_;
  static constexpr int kColumns = kColumns_;
  static constexpr int kWindow = 2048;
  using PanelX = TensorPanel<Bfloat16, kDepth, kRows>;
  using PanelDy = TensorPanel<Bfloat16, kDepth, kColumns>;
  using Sums = TensorProduct<Bfloat16, kRows, kColumns>;

  template <class AnyPanel, class RowAt>
  static SAS_DEVICE void Fill(AnyPanel& panel, const Bfloat16* base, int width, int, RowAt row_at) {
    panel.Fill(base, width, row_at);
  }
  static SAS_DEVICE void Add(Sums& sums, const PanelX& x, const PanelDy& dy) {
    sums.AddTransposed(x, dy);
  }
  template <class Store>
  static SAS_DEVICE void ForEach(const Sums& sums, Store store) {
    sums.ForEachPair([&](int row, int column, float even, float odd) {
      store(row, column, even);
      store(row, column + 1, odd);
    });
  }
};

template <class Math>
class WeightGradTile {
 public:
  using Element = typename Math::Element;
  using Args = ConvWeightGradOf<Element>;

  static constexpr int kBlockThreads = kThreads;
  static constexpr int kLeastBlocks = 1;

  static constexpr int kRows = Math::kRows;
  static constexpr int kColumns = Math::kColumns;
  static constexpr int kWindow = Math::kWindow;  // rows whose pairs are listed at a time
  static constexpr int kStages = 3;

  struct Shared {
    typename Math::PanelX x[kStages];
    typename Math::PanelDy dy[kStages];
    int32_t in[kWindow];
    int32_t out[kWindow];
    int32_t counts[kThreads / kWarp];
  };

  static SAS_DEVICE void Run(const Args& conv, Shared& shared) {
    WeightGradTile(conv, shared).Run();
  }

 private:
  SAS_DEVICE WeightGradTile(const Args& conv, Shared& shared) : conv_(conv), shared_(shared) {
    const int64_t row_tiles = CeilDiv(conv.c_in, kRows);
    const int64_t column_tiles = CeilDiv(conv.c_out, kColumns);
    int64_t index = BlockIndex();
    first_column_ = static_cast<int>(index % column_tiles) * kColumns;
    index /= column_tiles;
    first_channel_ = static_cast<int>(index % row_tiles) * kRows;
    index /= row_tiles;
    offset_ = static_cast<int>(index % conv.num_offsets);
    slab_ = index / conv.num_offsets;
  }

  SAS_DEVICE void Run() {
    const int64_t num_out = NumValid(conv_);
    const int64_t num_slabs = NumSlabs(num_out);
    if (slab_ >= num_slabs) return;
    const int64_t slab_rows = CeilDiv(num_out, num_slabs);
    const int64_t slab_end = (slab_ + 1) * slab_rows;
    const int64_t end = slab_end < num_out ? slab_end : num_out;
    typename Math::Sums sums;
    for (int64_t row = slab_ * slab_rows; row < end; row += kWindow) {
      const int num_pairs = ListPairs(row, end);
      RunPipeline<kStages>(
          static_cast<int>(CeilDiv(num_pairs, kDepth)),
          [&](int step, int stage) { Load(step * kDepth, num_pairs, stage); },
          [&](int stage) { Math::Add(sums, shared_.x[stage], shared_.dy[stage]); });
    }
    Math::ForEach(
        sums, [&](int i, int j, float sum) { Store(first_channel_ + i, first_column_ + j, sum); });
  }

  // Lists the pairs of rows [begin, begin + kWindow), those before `end`; returns how many.
  SAS_DEVICE int ListPairs(int64_t begin, int64_t end) {
    constexpr int kWarps = kThreads / kWarp;
    constexpr int kReads = kWindow / kThreads;
    const int64_t first = begin + WarpIndex() * (kWindow / kWarps) + Lane();
    int32_t in[kReads];
    int places[kReads];
    int count = 0;
    SAS_UNROLL
    for (int i = 0; i < kReads; ++i) {
      const int64_t row = first + i * kWarp;
      in[i] = row < end ? Neighbour(conv_, offset_, row) : -1;
      const uint32_t present = Ballot(in[i] >= 0);
      places[i] = count + CountBits(present & ((1u << Lane()) - 1));
      count += CountBits(present);
    }
    if (Lane() == 0) shared_.counts[WarpIndex()] = count;
    SyncThreads();
    int before = 0;
    int total = 0;
    SAS_UNROLL
    for (int warp = 0; warp < kWarps; ++warp) {
      if (warp == WarpIndex()) before = total;
      total += shared_.counts[warp];
    }
    SAS_UNROLL
    for (int i = 0; i < kReads; ++i) {
      if (in[i] < 0) continue;
      shared_.in[before + places[i]] = in[i];
      shared_.out[before + places[i]] = static_cast<int32_t>(first + i * kWarp);
    }
    SyncThreads();
    return total;
  }

  // Starts copying the rows of pairs [first, first + kDepth); those beyond num_pairs are zeros.
  SAS_DEVICE void Load(int first, int num_pairs, int stage) {
    const int64_t c_in = conv_.c_in;
    const int64_t c_out = conv_.c_out;
    Math::Fill(shared_.x[stage], conv_.x, conv_.c_in - first_channel_, conv_.c_in,
               [&](int i) -> int64_t {
                 return first + i < num_pairs ? shared_.in[first + i] * c_in + first_channel_ : -1;
               });
    Math::Fill(shared_.dy[stage], conv_.dy, conv_.c_out - first_column_, conv_.c_out,
               [&](int i) -> int64_t {
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

  const Args& conv_;
  Shared& shared_;
  int64_t slab_;
  int offset_;
  int first_channel_;
  int first_column_;
};

// dw = the sum of the slabs' partial gradients, in order.
template <class T>
class AddSlabs {
 public:
  using Args = ConvWeightGradOf<T>;

  static constexpr int kBlockThreads = kThreads;
  static constexpr int kLeastBlocks = 1;
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
