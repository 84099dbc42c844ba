// Brain floating point: eight bits of exponent, as a float has, and eight significant ones.
//
// Functions are static: those that two files compile for other instruction sets must not become
// one.
#ifndef SAS_JAX_KERNELS_INCLUDE_SAS_BF16_H_
#define SAS_JAX_KERNELS_INCLUDE_SAS_BF16_H_

#include <cstdint>
#include <cstring>

namespace sas {

// The upper half of a float.
struct Bf16 {
  uint16_t bits;
};

static inline float WidenBf16(Bf16 value) {
  const uint32_t bits = uint32_t{value.bits} << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof(wide));
  return wide;
}

// Rounds to nearest even; NaN stays NaN.
static inline Bf16 RoundBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  const uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
  return {static_cast<uint16_t>(value == value ? rounded : (bits >> 16 | 0x40))};
}

}  // namespace sas

#endif  // SAS_JAX_KERNELS_INCLUDE_SAS_BF16_H_
