// AVX-512 kernels; compiled with those flags, called only where the processor has them.
#include "isa.h"

#if defined(__AVX512F__) && defined(__AVX512VL__)
#include <immintrin.h>

#define SAS_LANES 16
#define SAS_REGISTERS 32
#include "gauss_pixels.h"
#include "microkernels.h"

namespace sas {
namespace {

// Compresses in registers and stores whole vectors: the compressing store is microcoded on some
// processors, and what is written beyond the count is overwritten by the next step.
int64_t CompactVector(const int32_t* nbr, int64_t n, int32_t first_row, int32_t* in, int32_t* out) {
  __m512i rows =
      _mm512_add_epi32(_mm512_set1_epi32(first_row),
                       _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  int64_t count = 0;
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 inside = n - i >= 16 ? 0xFFFF : static_cast<__mmask16>((1u << (n - i)) - 1);
    const __m512i entries = _mm512_mask_loadu_epi32(_mm512_set1_epi32(-1), inside, nbr + i);
    const __mmask16 present = _mm512_cmpge_epi32_mask(entries, _mm512_setzero_si512());
    _mm512_storeu_si512(in + count, _mm512_maskz_compress_epi32(present, entries));
    _mm512_storeu_si512(out + count, _mm512_maskz_compress_epi32(present, rows));
    // GCC 12, short of registers, spills the mask as 16 bits and counts 32. This keeps it in a
    // register that was widened.
    unsigned present_bits = present;
    asm("" : "+r"(present_bits));
    count += __builtin_popcount(present_bits);
    rows = _mm512_add_epi32(rows, _mm512_set1_epi32(16));
  }
  return count;
}

}  // namespace

const IsaKernels* Avx512Kernels() {
  static const IsaKernels kernels = {
      "avx512",      kLanes, 3, CompactVector, KernelsUpTo4<float>(), KernelsUpTo4<Bf16>(),
      TileKernels(),
  };
  return &kernels;
}

}  // namespace sas

#else

namespace sas {
const IsaKernels* Avx512Kernels() { return nullptr; }
}  // namespace sas

#endif
