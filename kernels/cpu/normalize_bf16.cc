// Normalisation of bfloat16 rows: the loop of norm.cc between two conversions.
#include <algorithm>
#include <cstring>

#include "memory.h"
#include "sas_norm.h"

namespace sas {
namespace {

constexpr int64_t kTaskRows = 1024;

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

}  // namespace

void RunNormalizeBf16(const Rows& rows, const NormalizeBf16& op, Parallel& parallel) {
  AdviseHugePages(op.y, sizeof(Bf16) * rows.capacity * rows.channels);
  const bool residual = op.residual != nullptr;
  auto* body = op.rectify ? (residual ? NormalizeRows<true, true> : NormalizeRows<true, false>)
                          : (residual ? NormalizeRows<false, true> : NormalizeRows<false, false>);
  parallel.For((rows.capacity + kTaskRows - 1) / kTaskRows, [&](int64_t i) {
    const int64_t begin = i * kTaskRows;
    const int64_t end = std::min(begin + kTaskRows, rows.capacity);
    const int64_t valid_end = std::clamp(rows.num_rows, begin, end);
    body(rows, op, begin, valid_end);
    std::memset(op.y + valid_end * rows.channels, 0,
                sizeof(Bf16) * (end - valid_end) * rows.channels);
  });
}

}  // namespace sas
