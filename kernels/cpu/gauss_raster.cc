// Loops over tiles, and over rows of tiles where gradients are summed.
#include <algorithm>
#include <cstring>
#include <vector>

#include "gauss_bin.h"
#include "isa.h"
#include "memory.h"
#include "sas_gauss.h"

namespace sas {
namespace {

constexpr int64_t kChannelsAtOnce = 16;
constexpr int64_t kTaskEllipses = 1024;
// Floats in the sums of gradients by ellipse and row of tiles; more channels take several passes.
constexpr int64_t kMostSums = int64_t{1} << 26;

// The part of an image that a tile covers.
struct TileRect {
  TileRect(const GaussView& view, const GaussGrid& grid, int64_t tile)
      : left(tile % grid.columns * kGaussTile),
        top(tile / grid.columns * kGaussTile),
        columns(static_cast<int>(std::min<int64_t>(kGaussTile, view.width - left))),
        rows(static_cast<int>(std::min<int64_t>(kGaussTile, view.height - top))) {}

  // Calls body(pixel of the tile, pixel of the image).
  template <class Body>
  void ForPixels(const GaussView& view, Body body) const {
    for (int row = 0; row < rows; ++row) {
      const int64_t first = (top + row) * view.width + left;
      for (int column = 0; column < columns; ++column) {
        body(row * kGaussTile + column, first + column);
      }
    }
  }

  int64_t left, top;
  int columns, rows;
};

GaussTile TileOf(const GaussLists& lists, const GaussView& view, const TileRect& rect, int64_t tile,
                 const float* features) {
  return {lists.ellipses(),
          lists.list(tile),
          lists.length(tile),
          static_cast<float>(rect.left),
          static_cast<float>(rect.top),
          rect.columns,
          rect.rows,
          view.alpha_cap,
          features,
          view.channels};
}

// Between an image of `stride` channels and planes of some of them, a few at once: those of a tile
// stay in the nearest cache.
template <class Body>
void ForBlocks(int64_t channels, const TileRect& rect, const GaussView& view, int64_t stride,
               Body body) {
  for (int64_t first = 0; first < channels; first += kChannelsAtOnce) {
    const int64_t last = std::min(channels, first + kChannelsAtOnce);
    rect.ForPixels(view, [&](int64_t in_tile, int64_t in_image) {
      for (int64_t c = first; c < last; ++c) {
        body(c * kGaussPixels + in_tile, in_image * stride + c);
      }
    });
  }
}

// Channels [first, first + count) of a tile of an image; 0 outside of it.
void ReadPlanes(const float* image, const TileRect& rect, const GaussView& view, int64_t first,
                int64_t count, float* planes) {
  std::memset(planes, 0, sizeof(float) * count * kGaussPixels);
  ForBlocks(count, rect, view, view.channels,
            [&](int64_t to, int64_t from) { planes[to] = image[first + from]; });
}

// Sums by ellipse and row of tiles.
class SlotSums {
 public:
  SlotSums(const GaussLists& lists, int64_t count, int64_t width)
      : lists_(lists),
        count_(count),
        width_(width),
        rows_(sizeof(float) * lists.slots()[count] * width),
        touched_(lists.slots()[count]) {}

  // Calls body(tile, rect, memory, sums) for all tiles; those of a row one after the other.
  template <class Body>
  void Fill(const GaussView& view, const GaussGrid& grid, Parallel& parallel, Body body) {
    std::fill(touched_.begin(), touched_.end(), uint8_t{0});
    parallel.For(grid.rows, [&](int64_t row) {
      std::vector<int64_t> slots;
      GaussMemory memory;
      for (int64_t tile = row * grid.columns; tile < (row + 1) * grid.columns; ++tile) {
        const int32_t* list = lists_.list(tile);
        slots.resize(lists_.length(tile));
        for (size_t i = 0; i < slots.size(); ++i) {
          slots[i] = lists_.slots()[list[i]] + row - lists_.first_rows()[list[i]];
        }
        body(tile, TileRect(view, grid, tile), &memory,
             GaussSums{slots.data(), touched_.data(), rows_.As<float>(), width_});
      }
    });
  }

  // Calls body(ellipse, sum), with the sum over rows of tiles from the top.
  template <class Body>
  void Reduce(Parallel& parallel, Body body) const {
    parallel.For(CeilDiv(count_, kTaskEllipses), [&](int64_t task) {
      std::vector<float> sum(width_);
      const int64_t end = std::min(count_, (task + 1) * kTaskEllipses);
      for (int64_t g = task * kTaskEllipses; g < end; ++g) {
        std::fill(sum.begin(), sum.end(), 0.0f);
        for (int64_t slot = lists_.slots()[g]; slot < lists_.slots()[g + 1]; ++slot) {
          if (touched_[slot] == 0) continue;
          const float* row = rows_.As<float>() + slot * width_;
          for (int64_t i = 0; i < width_; ++i) sum[i] += row[i];
        }
        body(g, sum.data());
      }
    });
  }

 private:
  const GaussLists& lists_;
  int64_t count_, width_;
  Scratch rows_;
  std::vector<uint8_t> touched_;
};

// Tiles of a task of the forward pass.
constexpr int64_t kTaskTiles = 4;

}  // namespace

void RunGaussForward(const GaussEllipses& ellipses, const GaussView& view, const GaussForward& op,
                     Parallel& parallel) {
  const GaussKernels& kernels = ActiveKernels().gauss;
  const GaussGrid grid(view);
  const GaussLists lists(ellipses, grid, parallel);
  AdviseHugePages(op.image, sizeof(float) * view.width * view.height * view.channels);
  parallel.For(CeilDiv(grid.tiles(), kTaskTiles), [&](int64_t task) {
    GaussMemory memory;
    const Scratch planes(sizeof(float) * kGaussPixels * view.channels);
    const int64_t end = std::min(grid.tiles(), (task + 1) * kTaskTiles);
    for (int64_t tile = task * kTaskTiles; tile < end; ++tile) {
      const TileRect rect(view, grid, tile);
      alignas(64) float alpha[kGaussPixels];
      float* from = planes.As<float>();
      kernels.forward(TileOf(lists, view, rect, tile, op.features), &memory, from, alpha);
      ForBlocks(view.channels, rect, view, view.channels,
                [&](int64_t in_planes, int64_t in_image) { op.image[in_image] = from[in_planes]; });
      rect.ForPixels(
          view, [&](int64_t in_tile, int64_t in_image) { op.alpha[in_image] = alpha[in_tile]; });
    }
  });
}

void RunGaussFeatureGrad(const GaussEllipses& ellipses, const GaussView& view,
                         const GaussFeatureGrad& op, Parallel& parallel) {
  const GaussKernels& kernels = ActiveKernels().gauss;
  const GaussGrid grid(view);
  const GaussLists lists(ellipses, grid, parallel);
  const int64_t slots = std::max<int64_t>(lists.slots()[ellipses.count], 1);
  const int64_t most = std::max(kMostSums / slots / kChannelsAtOnce, int64_t{1}) * kChannelsAtOnce;
  AdviseHugePages(op.dfeatures, sizeof(float) * ellipses.count * view.channels);
  for (int64_t first = 0; first < view.channels; first += most) {
    const int64_t width = std::min(view.channels - first, most);
    SlotSums sums(lists, ellipses.count, width);
    sums.Fill(view, grid, parallel,
              [&](int64_t tile, const TileRect& rect, GaussMemory* memory, const GaussSums& rows) {
                const Scratch planes(sizeof(float) * kGaussPixels * width);
                ReadPlanes(op.dimage, rect, view, first, width, planes.As<float>());
                GaussTile one = TileOf(lists, view, rect, tile, nullptr);
                one.channels = width;
                kernels.feature_grad(one, memory, planes.As<float>(), rows);
              });
    sums.Reduce(parallel, [&](int64_t g, const float* sum) {
      std::memcpy(op.dfeatures + g * view.channels + first, sum, sizeof(float) * width);
    });
  }
}

void RunGaussEllipseGrad(const GaussEllipses& ellipses, const GaussView& view,
                         const GaussEllipseGrad& op, Parallel& parallel) {
  const GaussKernels& kernels = ActiveKernels().gauss;
  const GaussGrid grid(view);
  const GaussLists lists(ellipses, grid, parallel);
  GaussView one_channel = view;
  one_channel.channels = 1;
  const int64_t both = kGaussMoments + view.channels;
  const bool fits = lists.slots()[ellipses.count] * both <= kMostSums;
  const bool together = op.dfeatures != nullptr && fits;
  SlotSums sums(lists, ellipses.count, together ? both : kGaussMoments);
  sums.Fill(view, grid, parallel,
            [&](int64_t tile, const TileRect& rect, GaussMemory* memory, const GaussSums& rows) {
              const Scratch planes(sizeof(float) * kGaussPixels * view.channels);
              alignas(64) float dalpha[kGaussPixels];
              ReadPlanes(op.dimage, rect, view, 0, view.channels, planes.As<float>());
              ReadPlanes(op.dalpha, rect, one_channel, 0, 1, dalpha);
              kernels.ellipse_grad(TileOf(lists, view, rect, tile, op.features), memory,
                                   planes.As<float>(), dalpha, rows);
            });
  sums.Reduce(parallel, [&](int64_t g, const float* m) {
    const float* conic = ellipses.conics + 3 * g;
    const float a = conic[0], b = conic[1], c = conic[2];
    op.dmeans2d[2 * g] = -(a * m[1] + b * m[2]);
    op.dmeans2d[2 * g + 1] = -(b * m[1] + c * m[2]);
    op.dconics[3 * g] = -0.5f * m[3];
    op.dconics[3 * g + 1] = -m[4];
    op.dconics[3 * g + 2] = -0.5f * m[5];
    // Without pixels all sums are 0, and the opacity may be anything.
    op.dopacities[g] = m[0] == 0.0f ? 0.0f : m[0] / ellipses.opacities[g];
    if (!together) return;
    std::memcpy(op.dfeatures + g * view.channels, m + kGaussMoments, sizeof(float) * view.channels);
  });
  if (op.dfeatures != nullptr && !together) {
    RunGaussFeatureGrad(ellipses, view, {op.dimage, op.dfeatures}, parallel);
  }
}

}  // namespace sas
