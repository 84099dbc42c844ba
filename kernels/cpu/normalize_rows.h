// The loop of a normalisation of bfloat16 rows: that of norm.cc between two conversions.
//
// Waiting for memory is not all that it does, so it is compiled twice: for the platform's baseline,
// and beside the products of bfloat16. A file that includes this is compiled without contraction
// of a * b + c (setup.py) or for processors that have no such operation: the bits are the same.
#ifndef SAS_JAX_KERNELS_CPU_NORMALIZE_ROWS_H_
#define SAS_JAX_KERNELS_CPU_NORMALIZE_ROWS_H_

#include "sas_norm.h"

namespace sas {
namespace {

template <bool Rectify, bool Residual>
void NormalizeRows(const Rows& rows, const NormalizeBf16& op, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const Bf16* x = op.x + row * rows.channels;
    const Bf16* residual = Residual ? op.residual + row * rows.channels : nullptr;
    Bf16* __restrict y = op.y + row * rows.channels;
    for (int64_t c = 0; c < rows.channels; ++c) {
      float value = (WidenBf16(x[c]) - op.center[c]) * op.gain[c] + op.bias[c];
      if constexpr (Residual) value += WidenBf16(residual[c]);
      // Written so that a NaN stays one.
      if constexpr (Rectify) value = value < 0.0f ? 0.0f : value;
      y[c] = RoundBf16(value);
    }
  }
}

inline void NormalizeRowsOf(const Rows& rows, const NormalizeBf16& op, int64_t begin, int64_t end) {
  auto* body = op.rectify
                   ? (op.residual ? NormalizeRows<true, true> : NormalizeRows<true, false>)
                   : (op.residual ? NormalizeRows<false, true> : NormalizeRows<false, false>);
  body(rows, op, begin, end);
}

}  // namespace
}  // namespace sas

#endif  // SAS_JAX_KERNELS_CPU_NORMALIZE_ROWS_H_
