#include "gauss_bin.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace sas {
namespace {

constexpr int64_t kTaskEllipses = 2048;
constexpr int64_t kMostBlocks = 16;
constexpr int64_t kMostPairs = int64_t{1} << 30;
// Rounding in a pixel must not find what the bounds, in double precision, leave out.
constexpr double kLimitMargin = 1e-3;
constexpr double kReachMargin = 1e-2;  // pixels

int64_t Clamped(double value, int64_t low, int64_t high) {
  // Written so that a NaN becomes `low`.
  if (!(value > static_cast<double>(low))) return low;
  return value < static_cast<double>(high) ? static_cast<int64_t>(value) : high;
}

// Tiles [first, second) that a box touches, and those with a centre of a pixel in [low, high].
std::pair<int64_t, int64_t> TilesOf(double low, double high, int64_t tiles) {
  return {Clamped(std::floor(low / kGaussTile), 0, tiles),
          Clamped(std::ceil(high / kGaussTile), 0, tiles)};
}
std::pair<int64_t, int64_t> TilesOfCentres(double low, double high, int64_t tiles) {
  return {Clamped(std::ceil((low + 0.5) / kGaussTile - 1), 0, tiles),
          Clamped(std::floor((high - 0.5) / kGaussTile) + 1, 0, tiles)};
}

// Half the extent in y and x, and half of (a, b, c) dot products: what a span needs.
struct Shape {
  explicit Shape(const GaussEllipse& e)
      : a(e.a), b(e.b), c(e.c), limit(e.limit), determinant(a * c - b * b) {
    // Conics of very large ellipses may be rounded to what is none: then the box decides.
    exact = a > 0 && c > 0 && determinant > 0 && std::isfinite(determinant);
  }
  double ReachX() const { return std::sqrt(2 * limit * c / determinant); }
  double ReachY() const { return std::sqrt(2 * limit * a / determinant); }
  // The extent of d_x where d_y is `dy`: its middle and half its length.
  double Middle(double dy) const { return -b / a * dy; }
  double Half(double dy) const {
    const double square = 2 * limit * a - determinant * dy * dy;
    return square > 0 ? std::sqrt(square) / a : 0;
  }

  double a, b, c, limit, determinant;
  bool exact;
};

// Stable sort by key, 11 bits at a time.
void SortByKey(std::vector<std::pair<uint32_t, int32_t>>* items) {
  constexpr int kBits = 11;
  constexpr uint32_t kMask = (1u << kBits) - 1;
  std::vector<std::pair<uint32_t, int32_t>> other(items->size());
  for (int shift = 0; shift < 32; shift += kBits) {
    std::array<int64_t, kMask + 2> start{};
    for (const auto& item : *items) ++start[((item.first >> shift) & kMask) + 1];
    for (size_t i = 1; i < start.size(); ++i) start[i] += start[i - 1];
    for (const auto& item : *items) other[start[(item.first >> shift) & kMask]++] = item;
    items->swap(other);
  }
}

// Whole numbers in the order of floats.
uint32_t OrderedBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
}

template <class Body>
void ForRanges(int64_t count, int64_t size, Parallel& parallel, Body body) {
  parallel.For(CeilDiv(count, size),
               [&](int64_t i) { body(i * size, std::min(count, (i + 1) * size)); });
}

}  // namespace

// Columns of tiles in one row of tiles.
struct GaussLists::Span {
  int32_t begin, end;
};

GaussLists::GaussLists(const GaussEllipses& ellipses, const GaussGrid& grid, Parallel& parallel) {
  FindRows(ellipses, grid, parallel);
  FindSpans(ellipses, grid, parallel);
  const int64_t* slots = slots_->As<int64_t>();
  std::vector<std::pair<uint32_t, int32_t>> items;
  for (int64_t g = 0; g < ellipses.count; ++g) {
    if (slots[g + 1] == slots[g]) continue;
    items.emplace_back(OrderedBits(ellipses.depths[g]), static_cast<int32_t>(g));
  }
  SortByKey(&items);
  std::vector<int32_t> order(items.size());
  std::transform(items.begin(), items.end(), order.begin(),
                 [](const auto& item) { return item.second; });
  Fill(order, grid, parallel);
}

// Fills ellipses, first rows and slots.
void GaussLists::FindRows(const GaussEllipses& ellipses, const GaussGrid& grid,
                          Parallel& parallel) {
  const int64_t count = ellipses.count;
  ellipses_ = std::make_unique<Scratch>(sizeof(GaussEllipse) * count);
  slots_ = std::make_unique<Scratch>(sizeof(int64_t) * (count + 1));
  first_rows_ = std::make_unique<Scratch>(sizeof(int32_t) * count);
  auto* all = ellipses_->As<GaussEllipse>();
  auto* slots = slots_->As<int64_t>();
  auto* first_rows = first_rows_->As<int32_t>();
  ForRanges(count, kTaskEllipses, parallel, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      slots[g + 1] = 0;
      first_rows[g] = 0;
      const int32_t* radii = ellipses.radii + 2 * g;
      const float opacity = ellipses.opacities[g];
      // Written so that a NaN is not seen.
      if (radii[0] <= 0 || radii[1] <= 0 || !(opacity * 255 > 0.999f)) continue;
      const float* conic = ellipses.conics + 3 * g;
      GaussEllipse& e = all[g];
      e = {ellipses.means2d[2 * g],
           ellipses.means2d[2 * g + 1],
           conic[0],
           conic[1],
           conic[2],
           opacity,
           0,
           0};
      e.limit = static_cast<float>(std::log(255.0 * opacity) + kLimitMargin);
      if (!(e.limit > 0)) continue;
      const Shape shape(e);
      auto [first, last] = TilesOf(double{e.y} - radii[1], double{e.y} + radii[1], grid.rows);
      e.reach_y = static_cast<float>(grid.rows * kGaussTile) + std::fabs(e.y);
      if (shape.exact) {
        const double reach = shape.ReachY() + kReachMargin;
        const auto [low, high] = TilesOfCentres(e.y - reach, e.y + reach, grid.rows);
        first = std::max(first, low);
        last = std::min(last, high);
        e.reach_y = static_cast<float>(std::min<double>(reach, e.reach_y));
      }
      first_rows[g] = static_cast<int32_t>(first);
      slots[g + 1] = std::max<int64_t>(0, last - first);
    }
  });
  slots[0] = 0;
  for (int64_t g = 0; g < count; ++g) slots[g + 1] += slots[g];
}

void GaussLists::FindSpans(const GaussEllipses& ellipses, const GaussGrid& grid,
                           Parallel& parallel) {
  const auto* all = ellipses_->As<GaussEllipse>();
  const auto* slots = slots_->As<int64_t>();
  const auto* first_rows = first_rows_->As<int32_t>();
  spans_ = std::make_unique<Scratch>(sizeof(Span) * slots[ellipses.count]);
  auto* spans = spans_->As<Span>();
  ForRanges(ellipses.count, kTaskEllipses, parallel, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      if (slots[g + 1] == slots[g]) continue;
      const GaussEllipse& e = all[g];
      const Shape shape(e);
      const double box = ellipses.radii[2 * g];
      const auto [first, last] = TilesOf(e.x - box, e.x + box, grid.columns);
      const double reach = shape.exact ? shape.ReachX() : 0;
      // Where the ellipse is farthest to the right, with d as mean - pixel on the left.
      const double farthest = shape.exact ? -shape.b / shape.c * reach : 0;
      for (int64_t slot = slots[g]; slot < slots[g + 1]; ++slot) {
        Span& span = spans[slot];
        span = {static_cast<int32_t>(first), static_cast<int32_t>(last)};
        if (!shape.exact) continue;
        // d_y of the centres of the lowest and the highest pixels of this row of tiles.
        const double top = static_cast<double>((first_rows[g] + slot - slots[g]) * kGaussTile);
        const double low = e.y - (top + kGaussTile - 0.5) - kReachMargin;
        const double high = e.y - (top + 0.5) + kReachMargin;
        const double at_most = std::clamp(farthest, low, high);
        const double at_least = std::clamp(-farthest, low, high);
        const double most = shape.Middle(at_most) + shape.Half(at_most) + kReachMargin;
        const double least = shape.Middle(at_least) - shape.Half(at_least) - kReachMargin;
        // Pixels are at mean - d.
        const auto [from, to] = TilesOfCentres(e.x - most, e.x - least, grid.columns);
        span.begin = static_cast<int32_t>(std::max(first, from));
        span.end = static_cast<int32_t>(std::max<int64_t>(span.begin, std::min(last, to)));
      }
    }
  });
}

// Counts, then places: blocks of the order have places of their own in every tile's list.
void GaussLists::Fill(const std::vector<int32_t>& order, const GaussGrid& grid,
                      Parallel& parallel) {
  const auto* slots = slots_->As<int64_t>();
  const auto* first_rows = first_rows_->As<int32_t>();
  const auto* spans = spans_->As<Span>();
  const int64_t size = static_cast<int64_t>(order.size());
  const int64_t length = std::max<int64_t>(CeilDiv(size, kMostBlocks), 1);
  const int64_t blocks = CeilDiv(size, length);
  const int64_t tiles = grid.tiles();
  std::vector<int64_t> places(blocks * tiles, 0);
  const auto for_tiles = [&](auto body) {
    ForRanges(size, length, parallel, [&](int64_t begin, int64_t end) {
      int64_t* place = places.data() + begin / length * tiles;
      for (int64_t i = begin; i < end; ++i) {
        const int32_t g = order[i];
        int64_t row = first_rows[g] * grid.columns;
        for (int64_t slot = slots[g]; slot < slots[g + 1]; ++slot, row += grid.columns) {
          body(place + row + spans[slot].begin, place + row + spans[slot].end, g);
        }
      }
    });
  };
  for_tiles([](int64_t* first, int64_t* last, int32_t) {
    for (; first != last; ++first) ++*first;
  });
  start_.assign(tiles + 1, 0);
  int64_t pairs = 0;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    start_[tile] = pairs;
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t here = std::exchange(places[block * tiles + tile], pairs);
      pairs += here;
    }
  }
  start_[tiles] = pairs;
  if (pairs >= kMostPairs) {
    throw std::length_error(
        "less than 2^30 pairs of ellipses and tiles are required, got more. Render smaller "
        "images or fewer Gaussians.");
  }
  list_ = std::make_unique<Scratch>(sizeof(int32_t) * pairs);
  auto* list = list_->As<int32_t>();
  for_tiles([list](int64_t* first, int64_t* last, int32_t g) {
    for (; first != last; ++first) list[(*first)++] = g;
  });
}

}  // namespace sas
