// Normalisation of voxel rows on the CPU: plain signatures.
//
// Notation: x is [capacity, channels], rows >= num_rows are never read; vectors have one entry per
// channel. With residual r (optional) and rectification (optional), the layer is
//   y = relu((x - center) * gain + bias + r)
// Its gradients take, of y, only where it is positive: one bit per value, that of channel c in bit
// c % 8 of byte c / 8 of the row. With dy' = dy where y > 0, else 0 (dy itself without
// rectification), they need
//   sums: S = sum dy', T = sum dy' * (x - center)         dr = dy'
//   dx = dy' * gain + (x - center) * slope + shift
// where slope and shift carry the gradient through the batch statistics (both 0 if those are
// fixed). Sums run over fixed tiles of 256 rows and add these up in order, in double precision: the
// same bits for any thread count and capacity.
#ifndef SAS_JAX_KERNELS_INCLUDE_SAS_NORM_H_
#define SAS_JAX_KERNELS_INCLUDE_SAS_NORM_H_

#include <cstdint>

#include "sas_bf16.h"
#include "sas_parallel.h"

namespace sas {

struct Rows {
  int64_t num_rows;  // valid
  int64_t capacity;
  int64_t channels;

  int64_t GateBytes() const { return (channels + 7) / 8; }  // of a row
};

// mean of each channel and the sum of squared deviations from it, in one pass over memory.
void RunMoments(const Rows& rows, const float* x, float* mean, float* squares, Parallel& parallel);

struct Normalize {
  const float* x;
  const float* center;
  const float* gain;
  const float* bias;
  const float* residual;  // null if absent
  bool rectify;
  float* y;       // rows >= num_rows become 0
  uint8_t* gate;  // where y > 0; null if not wanted; rows >= num_rows are not written
};
void RunNormalize(const Rows& rows, const Normalize& op, Parallel& parallel);

// The same for rows of bfloat16: computed in float, rounded once.
struct NormalizeBf16 {
  const Bf16* x;
  const float* center;
  const float* gain;
  const float* bias;
  const Bf16* residual;  // null if absent
  bool rectify;
  Bf16* y;  // rows >= num_rows become 0
};
void RunNormalizeBf16(const Rows& rows, const NormalizeBf16& op, Parallel& parallel);

struct NormalizeSums {
  const float* dy;
  const float* x;
  const uint8_t* gate;  // null without rectification
  const float* center;
  float* sum;       // S
  float* weighted;  // T
};
void RunNormalizeSums(const Rows& rows, const NormalizeSums& op, Parallel& parallel);

struct NormalizeGrad {
  const float* dy;
  const float* x;
  const uint8_t* gate;  // null without rectification
  const float* center;
  const float* gain;
  const float* slope;
  const float* shift;
  float* dx;         // rows >= num_rows become 0
  float* dresidual;  // null if absent; likewise
};
void RunNormalizeGrad(const Rows& rows, const NormalizeGrad& op, Parallel& parallel);

}  // namespace sas

#endif  // SAS_JAX_KERNELS_INCLUDE_SAS_NORM_H_
