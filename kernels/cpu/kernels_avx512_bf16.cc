// Products of bfloat16 by bfloat16 with AVX512_BF16; compiled with that flag where the compiler has
// it, called only where the processor does.
//
// One instruction adds two products to each sum: of channels 2d and 2d + 1, the latter first. Both
// additions round to nearest even, whatever the caller's mode; denormal factors, sums and results
// are zero.
#include "isa.h"

#if defined(__AVX512BF16__) && defined(__AVX512F__)
#include <immintrin.h>

#define SAS_LANES 16
#define SAS_REGISTERS 32
#include "microkernels.h"
#include "normalize_rows.h"

namespace sas {
namespace {

// Channels 2d and 2d + 1 of a row, in every lane.
inline __m512bh BroadcastPair(const Bf16* row) {
  int32_t pair;
  std::memcpy(&pair, row, sizeof(pair));
  return reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
}

// The last channel of an odd number, beside a zero: what follows in memory is not the row's.
inline __m512bh BroadcastLast(const Bf16* row) {
  return reinterpret_cast<__m512bh>(_mm512_set1_epi32(row->bits));
}

template <int Rows, int Vectors, class Broadcast>
inline void AddPair(__m512 (&sums)[Rows][Vectors], const Bf16* const (&a)[Rows], int64_t channel,
                    const Bf16* b, Broadcast broadcast) {
  __m512bh panel[Vectors];
#pragma GCC unroll 4
  for (int v = 0; v < Vectors; ++v) {
    panel[v] = reinterpret_cast<__m512bh>(_mm512_load_si512(b + 2 * v * kLanes));
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
    const __m512bh pair = broadcast(a[r] + channel);
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) sums[r][v] = _mm512_dpbf16_ps(sums[r][v], panel[v], pair);
  }
}

template <int Rows, int Vectors>
inline void PairBlock(const PanelProduct<Bf16, Bf16> p, const int32_t* in, const int32_t* out) {
  __m512 sums[Rows][Vectors] = {};
  const Bf16* a[Rows];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) a[r] = p.a + in[r] * p.lda;
  const Bf16* b = p.b;
  int64_t d = 0;
  for (; d + 2 <= p.depth; d += 2, b += 2 * Vectors * kLanes) {
    AddPair(sums, a, d, b, BroadcastPair);
  }
  if (d < p.depth) AddPair(sums, a, d, b, BroadcastLast);
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
    Vec row[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) row[v] = reinterpret_cast<Vec>(sums[r][v]);
    WriteRow<Vectors>(p.c + out[r] * p.ldc, row, p.width, p.accumulate);
  }
}

template <int Vectors>
struct PairsOf {
  template <int Rows>
  struct Product {
    static void Run(const PanelProduct<Bf16, Bf16>* p, int64_t i) {
      PairBlock<Rows, Vectors>(*p, p->in + i, p->out + i);
    }
  };

  static void Run(const PanelProduct<Bf16, Bf16>& p) {
    constexpr int kRows = BlockRows(Vectors);
    ForBlocks<kRows>(p.count, [&p](int64_t i, int rows) { Dispatch<kRows, Product>(rows, &p, i); });
  }
};

void RoundVector(const float* from, int64_t count, Bf16* to) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int64_t rest = count - i;
    const __mmask16 inside = rest >= kLanes ? 0xFFFF : static_cast<__mmask16>((1u << rest) - 1);
    const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(inside, from + i));
    _mm256_mask_storeu_epi16(to + i, inside, reinterpret_cast<__m256i>(rounded));
  }
}

}  // namespace

const Bf16Products* Avx512Bf16Products() {
  static const Bf16Products products = {
      {PairsOf<1>::Run, PairsOf<2>::Run, PairsOf<3>::Run, PairsOf<4>::Run},
      RoundVector,
      NormalizeRowsOf};
  return &products;
}

}  // namespace sas

#else

namespace sas {
const Bf16Products* Avx512Bf16Products() { return nullptr; }
}  // namespace sas

#endif
