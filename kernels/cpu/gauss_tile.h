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

// What a kernel keeps from tile to tile; it belongs to one task.
struct GaussMemory {
  void* data = nullptr;
  void (*free)(void* data) = nullptr;

  GaussMemory() = default;
  GaussMemory(const GaussMemory&) = delete;
  GaussMemory& operator=(const GaussMemory&) = delete;
  ~GaussMemory() {
    if (free != nullptr) free(data);
  }
};

// Where gradients are summed: a row of `width` for each slot. What is not yet `touched` is set.
struct GaussSums {
  const int64_t* slots;  // of each place in the list
  uint8_t* touched;      // by slot
  float* rows;
  int64_t width;
};

// `planes` are [channels][kGaussPixels]: a channel's pixels side by side.
struct GaussKernels {
  void (*forward)(const GaussTile& tile, GaussMemory* memory, float* planes, float* alpha);
  // Rows begin with the gradients of features.
  void (*feature_grad)(const GaussTile& tile, GaussMemory* memory, const float* planes,
                       const GaussSums& sums);
  // Rows begin with moments: with g = -dL/ds, sums of g, g dx, g dy, g dx^2, g dx dy, g dy^2.
  // Gradients of features follow, if rows are wide enough for them.
  void (*ellipse_grad)(const GaussTile& tile, GaussMemory* memory, const float* planes,
                       const float* dalpha, const GaussSums& sums);
};

}  // namespace sas

#endif  // SAS_JAX_KERNELS_CPU_GAUSS_TILE_H_
