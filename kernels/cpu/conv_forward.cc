// Forward and input gradient: output-stationary tiles.
//
// A task owns a tile of output rows and a group of column panels. For each offset it lists the
// pairs of the tile and lets the panel kernel add their products to the output rows, which stay in
// the cache.
#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "conv_common.h"
#include "memory.h"
#include "sas_conv.h"

namespace sas {
namespace {

constexpr int64_t kTileBytes = 256 << 10;  // of outputs, a share of the L2 cache

// How the work is cut. Sums do not depend on it, so it may depend on the number of threads.
struct Cut {
  int64_t tile_rows;
  int64_t num_tiles;
  int64_t num_groups;  // of panels
};

template <class Conv>
Cut ChooseCut(const Conv& conv, int64_t num_panels, int num_threads) {
  const int64_t wanted_tasks = num_threads == 1 ? 1 : 4 * num_threads;
  Cut cut;
  // Deep levels have more weights than rows: every task takes one panel and as many rows as it can,
  // so that weights are fetched once. Elsewhere a task takes all panels of a tile that fits the L2
  // cache.
  const bool deep = conv.num_offsets * conv.c_in > 2 * conv.num_out;
  cut.num_groups = deep ? num_panels : 1;
  const int64_t fits = kTileBytes * cut.num_groups / (4 * conv.c_out);
  cut.tile_rows = std::clamp<int64_t>(fits / 64 * 64, 64, deep ? 1024 : 512);
  auto tasks = [&] { return CeilDiv(conv.num_out, cut.tile_rows) * cut.num_groups; };
  while (cut.num_groups < num_panels && tasks() < wanted_tasks) ++cut.num_groups;
  while (cut.tile_rows > 64 && tasks() < wanted_tasks) cut.tile_rows /= 2;
  cut.num_tiles = CeilDiv(conv.num_out, cut.tile_rows);
  return cut;
}

// Writes up to four rows of `length` floats as columns of `target`.
void Transpose4(const float* rows, int64_t length, int64_t num_rows, float* target,
                int64_t stride) {
  typedef float Vec4 __attribute__((vector_size(16), aligned(4), may_alias));
  int64_t d = 0;
  for (; num_rows == 4 && d + 4 <= length; d += 4) {
    Vec4 row[4];
    for (int i = 0; i < 4; ++i) row[i] = *reinterpret_cast<const Vec4*>(rows + i * length + d);
    const Vec4 low01 = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5);
    const Vec4 high01 = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
    const Vec4 low23 = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
    const Vec4 high23 = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
    const Vec4 columns[4] = {__builtin_shufflevector(low01, low23, 0, 1, 4, 5),
                             __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
                             __builtin_shufflevector(high01, high23, 0, 1, 4, 5),
                             __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
    for (int i = 0; i < 4; ++i) *reinterpret_cast<Vec4*>(target + (d + i) * stride) = columns[i];
  }
  for (; d < length; ++d) {
    for (int64_t j = 0; j < num_rows; ++j) target[d * stride + j] = rows[j * length + d];
  }
}

// Rows of packed weights: those of Bf16 come in pairs.
int64_t PackedDepth(const float*, int64_t c_in) { return c_in; }
int64_t PackedDepth(const Bf16*, int64_t c_in) { return (c_in + 1) / 2 * 2; }

// Packs one offset's weights for one panel as [c_in][vectors * lanes], zero beyond the panel's
// width.
template <class Element>
void PackPanel(const ConvForward<Element, float>& conv, const Panel& panel, const float* w,
               int lanes, float* packed) {
  const int64_t stride = static_cast<int64_t>(panel.vectors) * lanes;
  if (panel.width < stride) std::memset(packed, 0, sizeof(float) * stride * conv.c_in);
  if (!conv.transpose_weights) {
    for (int64_t d = 0; d < conv.c_in; ++d) {
      std::memcpy(packed + d * stride, w + d * conv.c_out + panel.first_column,
                  sizeof(float) * panel.width);
    }
    return;
  }
  for (int64_t j = 0; j < panel.width; j += 4) {
    const float* rows = w + (panel.first_column + j) * conv.c_in;
    Transpose4(rows, conv.c_in, std::min<int64_t>(4, panel.width - j), packed + j, stride);
  }
}

// Packs them in pairs of input channels as [ceil(c_in / 2)][vectors * lanes][2], zero beyond the
// panel's width and C_in.
void PackPanel(const ConvForward<Bf16, Bf16>& conv, const Panel& panel, const Bf16* w, int lanes,
               Bf16* packed) {
  const int64_t stride = static_cast<int64_t>(panel.vectors) * lanes;
  if (panel.width < stride || conv.c_in % 2 != 0) {
    std::memset(packed, 0, sizeof(Bf16) * stride * PackedDepth(w, conv.c_in));
  }
  const int64_t channel_step = conv.transpose_weights ? 1 : conv.c_out;
  const int64_t column_step = conv.transpose_weights ? conv.c_in : 1;
  for (int64_t d = 0; d < conv.c_in; ++d) {
    const Bf16* from = w + d * channel_step + panel.first_column * column_step;
    Bf16* to = packed + d / 2 * 2 * stride + d % 2;
    for (int64_t j = 0; j < panel.width; ++j) to[2 * j] = from[j * column_step];
  }
}

// Where the sums of a tile are taken: the output itself if it is float, else a buffer of the thread
// whose first row is the tile's.
struct TileSums {
  float* rows;
  int64_t first_row;  // number, among `rows`, of the tile's first row
};

TileSums SumsOf(float* y, int64_t begin, int64_t) { return {y, begin}; }

TileSums SumsOf(Bf16*, int64_t, int64_t size) {
  thread_local std::vector<float> buffer;
  if (static_cast<int64_t>(buffer.size()) < size) buffer.resize(size);
  return {buffer.data(), 0};
}

// The kernels of a layer's types, indexed by the panel's width in vectors - 1.
template <class Element>
auto& ProductsFor(const IsaKernels& all, const ConvForward<Element, float>& conv) {
  return KernelsFor(all, conv.x).product;
}
auto& ProductsFor(const IsaKernels& all, const ConvForward<Bf16, Bf16>&) {
  return Bf16ProductsOf(all)->product;
}

template <class Element, class Weight>
class Forward {
 public:
  Forward(const ConvForward<Element, Weight>& conv, Parallel& parallel)
      : conv_(conv),
        kernels_(ActiveKernels()),
        panels_(CutPanels(conv.c_out, kernels_)),
        cut_(ChooseCut(conv, static_cast<int64_t>(panels_.size()), parallel.num_threads())),
        packed_depth_(PackedDepth(conv.w, conv.c_in)),
        packed_columns_(PackedColumns()),
        packed_(sizeof(Weight) * conv.num_offsets * packed_depth_ * packed_columns_) {}

  void Run(Parallel& parallel) {
    AdviseHugePages(conv_.y, sizeof(Element) * conv_.capacity * conv_.c_out);
    const int64_t num_panels = static_cast<int64_t>(panels_.size());
    if (conv_.num_out > 0) {
      parallel.For(conv_.num_offsets * num_panels,
                   [&](int64_t i) { Pack(i / num_panels, panels_[i % num_panels]); });
    }
    const int64_t tasks = cut_.num_tiles * cut_.num_groups;
    const int64_t padding = conv_.capacity - conv_.num_out;
    const int64_t padding_tasks = CeilDiv(padding, kPaddingRows);
    parallel.For(tasks + padding_tasks, [&](int64_t i) {
      if (i < tasks) {
        RunTile(i / cut_.num_groups, i % cut_.num_groups);
      } else {
        ClearPadding(i - tasks);
      }
    });
  }

 private:
  static constexpr int64_t kPaddingRows = 4096;

  int64_t PackedColumns() const {
    int64_t vectors = 0;
    for (const Panel& panel : panels_) vectors += panel.vectors;
    return vectors * kernels_.lanes;
  }

  // Panels start at multiples of a vector, so the ones before take first_column packed columns.
  Weight* Packed(int64_t k, const Panel& panel) const {
    return packed_.As<Weight>() + (k * packed_columns_ + panel.first_column) * packed_depth_;
  }

  void Pack(int64_t k, const Panel& panel) const {
    const int64_t source = conv_.reverse_offsets ? conv_.num_offsets - 1 - k : k;
    const Weight* w = conv_.w + source * conv_.c_in * conv_.c_out;
    PackPanel(conv_, panel, w, kernels_.lanes, Packed(k, panel));
  }

  void RunTile(int64_t tile, int64_t group) const {
    const int64_t begin = tile * cut_.tile_rows;
    const int64_t end = std::min(begin + cut_.tile_rows, conv_.num_out);
    const int64_t num_panels = static_cast<int64_t>(panels_.size());
    const int64_t first = group * num_panels / cut_.num_groups;
    const int64_t last = (group + 1) * num_panels / cut_.num_groups;
    const bool dense = conv_.nbr == nullptr;
    const TileSums sums = SumsOf(conv_.y, begin, cut_.tile_rows * conv_.c_out);
    const int64_t column = panels_[first].first_column;
    const int64_t width = panels_[last - 1].first_column + panels_[last - 1].width - column;
    if (!dense) Clear(sums, end - begin, column, width);
    const NeighbourTable table = {conv_.nbr, conv_.num_offsets, conv_.nbr_stride};
    const PairBuffer pairs = ThreadPairs(cut_.tile_rows);
    for (int64_t k = 0; k < conv_.num_offsets; ++k) {
      const int64_t count = ListPairs(kernels_, table, k, begin, end, sums.first_row, pairs);
      if (count == 0) continue;
      for (int64_t i = first; i < last; ++i) {
        const Panel& panel = panels_[i];
        ProductsFor(kernels_, conv_)[panel.vectors - 1](
            {pairs.in, pairs.out, count, conv_.x, conv_.c_in, Packed(k, panel), conv_.c_in,
             sums.rows + panel.first_column, conv_.c_out, panel.width, !dense});
      }
    }
    if constexpr (std::is_same_v<Element, Bf16>) RoundTile(sums, begin, end, column, width);
  }

  void Clear(const TileSums& sums, int64_t num_rows, int64_t column, int64_t width) const {
    for (int64_t row = sums.first_row; row < sums.first_row + num_rows; ++row) {
      std::memset(sums.rows + row * conv_.c_out + column, 0, sizeof(float) * width);
    }
  }

  void RoundTile(const TileSums& sums, int64_t begin, int64_t end, int64_t column,
                 int64_t width) const {
    for (int64_t row = begin; row < end; ++row) {
      const float* from = sums.rows + (row - begin) * conv_.c_out + column;
      Bf16* to = conv_.y + row * conv_.c_out + column;
      if constexpr (std::is_same_v<Weight, Bf16>) {
        Bf16ProductsOf(kernels_)->round(from, width, to);
      } else {
        for (int64_t i = 0; i < width; ++i) to[i] = RoundBf16(from[i]);
      }
    }
  }

  void ClearPadding(int64_t i) const {
    const int64_t begin = conv_.num_out + i * kPaddingRows;
    const int64_t end = std::min(begin + kPaddingRows, conv_.capacity);
    std::memset(conv_.y + begin * conv_.c_out, 0, sizeof(Element) * (end - begin) * conv_.c_out);
  }

  const ConvForward<Element, Weight>& conv_;
  const IsaKernels& kernels_;
  const std::vector<Panel> panels_;
  const Cut cut_;
  const int64_t packed_depth_;
  const int64_t packed_columns_;
  const Scratch packed_;
};

}  // namespace

template <class Element, class Weight>
void RunForward(const ConvForward<Element, Weight>& conv, Parallel& parallel) {
  if (conv.c_out == 0) return;
  Forward<Element, Weight>(conv, parallel).Run(parallel);
}

bool HasBf16Products() { return Bf16ProductsOf(ActiveKernels()) != nullptr; }

template void RunForward(const ConvForward<float>&, Parallel&);
template void RunForward(const ConvForward<Bf16>&, Parallel&);
template void RunForward(const ConvForward<Bf16, Bf16>&, Parallel&);

}  // namespace sas
