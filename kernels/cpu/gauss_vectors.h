// Comparisons and the exponential of the vectors of microkernels.h, per instruction set.
#ifndef SAS_JAX_KERNELS_CPU_GAUSS_VECTORS_H_
#define SAS_JAX_KERNELS_CPU_GAUSS_VECTORS_H_

#include <cstdint>

#if SAS_LANES > 4
#include <immintrin.h>
#endif

#include "microkernels.h"

namespace sas {
namespace {

typedef int32_t IntVec __attribute__((vector_size(SAS_LANES * 4)));

inline Vec Fill(float value) { return Vec{} + value; }

inline Vec Iota() {
  Vec v;
  for (int i = 0; i < kLanes; ++i) v[i] = static_cast<float>(i);
  return v;
}

#if SAS_LANES == 16

typedef __mmask16 Mask;
inline Mask AtLeast(Vec a, Vec b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GE_OQ); }
inline Mask Above(Vec a, Vec b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ); }
inline bool Any(Mask mask) { return mask != 0; }
inline bool Same(Mask a, Mask b) { return a == b; }
inline Vec Choose(Mask mask, Vec yes, Vec no) {
  return (Vec)_mm512_mask_blend_ps(mask, (__m512)no, (__m512)yes);
}
inline float SumOf(Vec v) {
  typedef float Half __attribute__((vector_size(32)));
  typedef float Quarter __attribute__((vector_size(16)));
  union {
    Vec whole;
    Half halves[2];
  } all = {v};
  union {
    Half half;
    Quarter quarters[2];
  } some = {all.halves[0] + all.halves[1]};
  const Quarter last = some.quarters[0] + some.quarters[1];
  return (last[0] + last[2]) + (last[1] + last[3]);
}

#else

typedef IntVec Mask;
inline Mask AtLeast(Vec a, Vec b) { return (Mask)(a >= b); }
inline Mask Above(Vec a, Vec b) { return (Mask)(a > b); }
inline Vec Choose(Mask mask, Vec yes, Vec no) {
  return (Vec)((mask & (IntVec)yes) | (~mask & (IntVec)no));
}
#if SAS_LANES == 8
inline bool Any(Mask mask) { return _mm256_movemask_ps((__m256)mask) != 0; }
inline float SumOf(Vec v) {
  const __m128 half =
      _mm_add_ps(_mm256_castps256_ps128((__m256)v), _mm256_extractf128_ps((__m256)v, 1));
  const __m128 pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}
#else
inline bool Any(Mask mask) {
  typedef int64_t Halves __attribute__((vector_size(16)));
  const Halves halves = (Halves)mask;
  return (halves[0] | halves[1]) != 0;
}
inline float SumOf(Vec v) { return (v[0] + v[2]) + (v[1] + v[3]); }
#endif
inline bool Same(Mask a, Mask b) { return !Any(a ^ b); }

#endif

inline Vec Least(Vec a, Vec b) { return Choose(Above(b, a), a, b); }

// exp(-x) for x in 0..80, to a unit in the last place or so; anything elsewhere. x = n log 2 - r
// with |r| <= log(2) / 2; e^r = 1 + r + r^2 q(r), with q fitted to the least relative error (4e-9).
inline Vec ExpOfMinus(Vec x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  const Vec shifted = x * -1.44269504f + kRound;
  const Vec n = shifted - kRound;
  Vec r = -x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  Vec q = Fill(1.38143206e-3f);
  q = q * r + 8.36885069e-3f;
  q = q * r + 4.16684002e-2f;
  q = q * r + 1.66665196e-1f;
  q = q * r + 4.99999940e-1f;
  const Vec power = (q * r) * r + (r + 1.0f);
  return (Vec)((IntVec)power + ((IntVec)shifted << 23));
}

}  // namespace
}  // namespace sas

#endif  // SAS_JAX_KERNELS_CPU_GAUSS_VECTORS_H_
