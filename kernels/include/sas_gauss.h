// Images of Gaussians on the CPU: plain signatures, no XLA types.
//
// G ellipses, nearest first by depth, then by index; f features of each, F of them. In the pixel
// whose centre is p, with d = mean - p and conic (a, b, c):
//   s = (a dx^2 + c dy^2) / 2 + b dx dy       alpha = min(alpha_cap, opacity exp(-s))
// skipped where s < 0 or alpha < 1/255; T' = T (1 - alpha) from T = 1; where T' <= 1e-4 the pixel
// ends without this one; w = alpha T, image += w f, T = T'. The pixels' alpha is 1 - T.
//
// Each pixel sums in the order of ellipses. The gradient of an ellipse sums over its pixels inside
// a tile of 16 x 16 pixels, then over tiles from left to right, then over rows of tiles from the
// top: the same bits for any number of threads.
#ifndef SAS_JAX_KERNELS_INCLUDE_SAS_GAUSS_H_
#define SAS_JAX_KERNELS_INCLUDE_SAS_GAUSS_H_

#include <cstdint>

#include "sas_parallel.h"

namespace sas {

struct GaussEllipses {
  const float* means2d;    // [count, 2] pixels; the centre of the first pixel is (0.5, 0.5)
  const float* depths;     // [count]
  const float* conics;     // [count, 3]
  const float* opacities;  // [count] in 0..1
  const int32_t* radii;    // [count, 2] half boxes in pixels; not above 0: not seen
  int64_t count;
};

struct GaussView {
  int64_t width;
  int64_t height;
  int64_t channels;
  float alpha_cap;
};

struct GaussForward {
  const float* features;  // [count, channels]
  float* image;           // [height, width, channels]
  float* alpha;           // [height, width]
};
void RunGaussForward(const GaussEllipses& ellipses, const GaussView& view, const GaussForward& op,
                     Parallel& parallel);

struct GaussFeatureGrad {
  const float* dimage;  // [height, width, channels]
  float* dfeatures;     // [count, channels]
};
void RunGaussFeatureGrad(const GaussEllipses& ellipses, const GaussView& view,
                         const GaussFeatureGrad& op, Parallel& parallel);

// Order, cuts and the stop have no gradient, nor has an alpha at its cap. With `dfeatures` it does
// what RunGaussFeatureGrad does, to the bit, for little more.
struct GaussEllipseGrad {
  const float* features;
  const float* dimage;
  const float* dalpha;  // [height, width]
  float* dfeatures;     // [count, channels], or null
  float* dmeans2d;      // [count, 2]
  float* dconics;       // [count, 3]
  float* dopacities;    // [count]
};
void RunGaussEllipseGrad(const GaussEllipses& ellipses, const GaussView& view,
                         const GaussEllipseGrad& op, Parallel& parallel);

}  // namespace sas

#endif  // SAS_JAX_KERNELS_INCLUDE_SAS_GAUSS_H_
