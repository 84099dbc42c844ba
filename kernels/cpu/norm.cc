// Streaming loops over voxel rows. All of them wait for memory, so plain loops that the compiler
// vectorises for any processor are as fast as hand-written ones, and give the same bits on all.
#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "memory.h"
#include "sas_norm.h"

namespace sas {
namespace {

constexpr int64_t kTileRows = 256;
constexpr int64_t kTaskRows = 1024;

// Calls body(begin, end) for ranges of valid rows and clear(begin, end) for ranges of padding.
template <class Body, class Clear>
void ForRows(const Rows& rows, Parallel& parallel, Body body, Clear clear) {
  parallel.For((rows.capacity + kTaskRows - 1) / kTaskRows, [&](int64_t i) {
    const int64_t begin = i * kTaskRows;
    const int64_t end = std::min(begin + kTaskRows, rows.capacity);
    const int64_t valid_end = std::clamp(rows.num_rows, begin, end);
    if (begin < valid_end) body(begin, valid_end);
    if (valid_end < end) clear(valid_end, end);
  });
}

void ClearRows(float* y, const Rows& rows, int64_t begin, int64_t end) {
  std::memset(y + begin * rows.channels, 0, sizeof(float) * (end - begin) * rows.channels);
}

void AdviseRows(float* y, const Rows& rows) {
  AdviseHugePages(y, sizeof(float) * rows.capacity * rows.channels);
}

// Two sums per channel and tile.
class TileSums {
 public:
  TileSums(const Rows& rows)
      : rows_(rows),
        num_tiles_((rows.num_rows + kTileRows - 1) / kTileRows),
        sums_(num_tiles_ * 2 * rows.channels, 0.0f) {}

  // Calls body(begin, end, first sums, second sums) for every tile.
  template <class Body>
  void Fill(Parallel& parallel, Body body) {
    parallel.For(num_tiles_, [&](int64_t tile) {
      const int64_t begin = tile * kTileRows;
      const int64_t end = std::min(begin + kTileRows, rows_.num_rows);
      body(begin, end, First(tile), Second(tile));
    });
  }

  int64_t num_tiles() const { return num_tiles_; }
  int64_t TileSize(int64_t tile) const {
    return std::min(kTileRows, rows_.num_rows - tile * kTileRows);
  }
  float* First(int64_t tile) { return sums_.data() + tile * 2 * rows_.channels; }
  float* Second(int64_t tile) { return First(tile) + rows_.channels; }

 private:
  const Rows& rows_;
  const int64_t num_tiles_;
  std::vector<float> sums_;
};

// Calls body(first channel, number of channels) for groups of eight, whose gates share a byte. The
// number is a constant but for the last group, so that the compiler vectorises what it does.
template <class Body>
inline void ForGroups(int64_t channels, Body body) {
  int64_t c = 0;
  for (; c + 8 <= channels; c += 8) body(c, std::integral_constant<int, 8>());
  if (c < channels) body(c, static_cast<int>(channels - c));
}

constexpr int32_t kBits[8] = {1, 2, 4, 8, 16, 32, 64, 128};

template <bool Rectify, bool Residual, bool Gate>
void NormalizeRows(const Rows& rows, const Normalize& op, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float* x = op.x + row * rows.channels;
    const float* residual = Residual ? op.residual + row * rows.channels : nullptr;
    float* __restrict y = op.y + row * rows.channels;
    uint8_t* __restrict gate = Gate ? op.gate + row * rows.GateBytes() : nullptr;
    ForGroups(rows.channels, [&](int64_t first, auto count) {
      int32_t bits = 0;
      for (int i = 0; i < count; ++i) {
        const int64_t c = first + i;
        float value = (x[c] - op.center[c]) * op.gain[c] + op.bias[c];
        if constexpr (Residual) value += residual[c];
        if constexpr (Gate) bits |= value > 0.0f ? kBits[i] : 0;
        // Written so that a NaN stays one.
        if constexpr (Rectify) value = value < 0.0f ? 0.0f : value;
        y[c] = value;
      }
      if constexpr (Gate) gate[first / 8] = static_cast<uint8_t>(bits);
    });
  }
}

// Calls body(channel, dy where the layer's output is positive) for the channels of a row.
template <bool Rectify, class Body>
inline void ForGated(const Rows& rows, const float* dy, const uint8_t* gate, int64_t row,
                     Body body) {
  ForGroups(rows.channels, [&](int64_t first, auto count) {
    const int32_t bits = Rectify ? gate[row * rows.GateBytes() + first / 8] : 0;
    for (int i = 0; i < count; ++i) {
      const float value = dy[row * rows.channels + first + i];
      body(first + i, !Rectify || (bits & kBits[i]) != 0 ? value : 0.0f);
    }
  });
}

template <bool Rectify>
void SumRows(const Rows& rows, const NormalizeSums& op, int64_t begin, int64_t end,
             float* __restrict sum, float* __restrict weighted) {
  for (int64_t row = begin; row < end; ++row) {
    const float* x = op.x + row * rows.channels;
    ForGated<Rectify>(rows, op.dy, op.gate, row, [&](int64_t c, float gated) {
      sum[c] += gated;
      weighted[c] += gated * (x[c] - op.center[c]);
    });
  }
}

template <bool Rectify, bool Residual>
void GradRows(const Rows& rows, const NormalizeGrad& op, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float* x = op.x + row * rows.channels;
    float* __restrict dx = op.dx + row * rows.channels;
    float* __restrict dresidual = Residual ? op.dresidual + row * rows.channels : nullptr;
    ForGated<Rectify>(rows, op.dy, op.gate, row, [&](int64_t c, float gated) {
      dx[c] = gated * op.gain[c] + ((x[c] - op.center[c]) * op.slope[c] + op.shift[c]);
      if constexpr (Residual) dresidual[c] = gated;
    });
  }
}

// Sum and squared deviations of a tile, which is still in the cache for the second look.
void TileMoments(const Rows& rows, const float* x, int64_t begin, int64_t end,
                 float* __restrict mean, float* __restrict squares) {
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t c = 0; c < rows.channels; ++c) mean[c] += x[row * rows.channels + c];
  }
  const float scale = 1.0f / static_cast<float>(end - begin);
  for (int64_t c = 0; c < rows.channels; ++c) mean[c] *= scale;
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t c = 0; c < rows.channels; ++c) {
      const float deviation = x[row * rows.channels + c] - mean[c];
      squares[c] += deviation * deviation;
    }
  }
}

}  // namespace

void RunMoments(const Rows& rows, const float* x, float* mean, float* squares, Parallel& parallel) {
  TileSums tiles(rows);
  tiles.Fill(parallel, [&](int64_t begin, int64_t end, float* tile_mean, float* tile_squares) {
    TileMoments(rows, x, begin, end, tile_mean, tile_squares);
  });
  // Chan's formula joins the tiles: deviations from a tile's mean become deviations from the joint
  // mean.
  for (int64_t c = 0; c < rows.channels; ++c) {
    double count = 0.0, joint_mean = 0.0, joint_squares = 0.0;
    for (int64_t tile = 0; tile < tiles.num_tiles(); ++tile) {
      const double size = static_cast<double>(tiles.TileSize(tile));
      const double step = tiles.First(tile)[c] - joint_mean;
      joint_squares += tiles.Second(tile)[c] + step * step * count * size / (count + size);
      joint_mean += step * size / (count + size);
      count += size;
    }
    mean[c] = static_cast<float>(joint_mean);
    squares[c] = static_cast<float>(joint_squares);
  }
}

void RunNormalize(const Rows& rows, const Normalize& op, Parallel& parallel) {
  AdviseRows(op.y, rows);
  const bool residual = op.residual != nullptr;
  auto* body = NormalizeRows<false, false, false>;
  if (op.rectify && op.gate != nullptr) {
    body = residual ? NormalizeRows<true, true, true> : NormalizeRows<true, false, true>;
  } else if (op.rectify) {
    body = residual ? NormalizeRows<true, true, false> : NormalizeRows<true, false, false>;
  } else if (residual) {
    body = NormalizeRows<false, true, false>;
  }
  ForRows(
      rows, parallel, [&](int64_t begin, int64_t end) { body(rows, op, begin, end); },
      [&](int64_t begin, int64_t end) { ClearRows(op.y, rows, begin, end); });
}

void RunNormalizeSums(const Rows& rows, const NormalizeSums& op, Parallel& parallel) {
  TileSums tiles(rows);
  auto* body = op.gate != nullptr ? SumRows<true> : SumRows<false>;
  tiles.Fill(parallel, [&](int64_t begin, int64_t end, float* sum, float* weighted) {
    body(rows, op, begin, end, sum, weighted);
  });
  for (int64_t c = 0; c < rows.channels; ++c) {
    double sum = 0.0, weighted = 0.0;
    for (int64_t tile = 0; tile < tiles.num_tiles(); ++tile) {
      sum += tiles.First(tile)[c];
      weighted += tiles.Second(tile)[c];
    }
    op.sum[c] = static_cast<float>(sum);
    op.weighted[c] = static_cast<float>(weighted);
  }
}

void RunNormalizeGrad(const Rows& rows, const NormalizeGrad& op, Parallel& parallel) {
  const bool residual = op.dresidual != nullptr;
  AdviseRows(op.dx, rows);
  if (residual) AdviseRows(op.dresidual, rows);
  auto* body = op.gate != nullptr ? (residual ? GradRows<true, true> : GradRows<true, false>)
                                  : (residual ? GradRows<false, true> : GradRows<false, false>);
  ForRows(
      rows, parallel, [&](int64_t begin, int64_t end) { body(rows, op, begin, end); },
      [&](int64_t begin, int64_t end) {
        ClearRows(op.dx, rows, begin, end);
        if (residual) ClearRows(op.dresidual, rows, begin, end);
      });
}

}  // namespace sas
