// The seam between loops over tiles (compiled once) and a tile's pixels (per instruction set).
#ifndef SAS_JAX_KERNELS_CPU_GAUSS_TILE_H_
#define SAS_JAX_KERNELS_CPU_GAUSS_TILE_H_

#include <cstdint>

namespace sas {

constexpr int kGaussTile = 16;                         // pixels along a side
constexpr int kGaussPixels = kGaussTile * kGaussTile;  // row by row
constexpr int kGaussMoments = 6;

struct GaussEllipse {
  float x, y;
  float a, b, c;
  float opacity;
  float limit;    // alpha is below 1/255 where s is above
  float reach_y;  // likewise beyond these rows
};

struct GaussTile {
  const GaussEllipse* ellipses;
  const int32_t* list;
  int64_t length;
  float left, top;    // of the tile, pixels
  int columns, rows;  // inside of the image
  float alpha_cap;
  const float* features;  // [ellipses, channels]
  int64_t channels;
};

// Where a gradient is summed: a row for each place in the list. What is not yet `touched` is set.
struct GaussSums {
  const int64_t* slots;  // of each place in the list
  uint8_t* touched;      // by slot
  float* rows;           // [slots, width]
};

// `planes` are [channels][kGaussPixels]: a channel's pixels side by side.
struct GaussKernels {
  void (*forward)(const GaussTile& tile, float* planes, float* alpha);
  void (*feature_grad)(const GaussTile& tile, const float* planes, const GaussSums& sums);
  // Rows of kGaussMoments: with g = -dL/ds, sums of g, g dx, g dy, g dx^2, g dx dy, g dy^2.
  void (*ellipse_grad)(const GaussTile& tile, const float* planes, const float* dalpha,
                       const GaussSums& sums);
};

}  // namespace sas

#endif  // SAS_JAX_KERNELS_CPU_GAUSS_TILE_H_
