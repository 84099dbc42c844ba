// Normalisation of bfloat16 rows; its loop is in normalize_rows.h.
#include <algorithm>
#include <cstring>

#include "isa.h"
#include "memory.h"
#include "normalize_rows.h"
#include "sas_norm.h"

namespace sas {

void RunNormalizeBf16(const Rows& rows, const NormalizeBf16& op, Parallel& parallel) {
  constexpr int64_t kTaskRows = 1024;
  AdviseHugePages(op.y, sizeof(Bf16) * rows.capacity * rows.channels);
  const Bf16Products* kernels = Bf16ProductsOf(ActiveKernels());
  auto* body = kernels != nullptr ? kernels->normalize : NormalizeRowsOf;
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
