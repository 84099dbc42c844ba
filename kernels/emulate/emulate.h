// The device functions of device.h on the CPU, for tests of the CUDA kernels' logic.
//
// Every thread of a block is a fiber that runs until it meets a barrier. Shared memory starts as
// NaN. Copies are checked as the hardware would (alignment, bounds), and arrive either as late as
// the kernel allows or at once; fibers run in ascending or descending order: a missing wait or
// barrier shows as a wrong result in one of the modes. Fragments of the tensor core are held by
// lanes as "Matrix Fragments for mma.m16n8k8" and "mma.m16n8k16" of the PTX ISA say.
#ifndef SAS_JAX_KERNELS_EMULATE_EMULATE_H_
#define SAS_JAX_KERNELS_EMULATE_EMULATE_H_

#include <cstdint>
#include <string>

#include "fibers.h"

#define SAS_DEVICE inline
#define SAS_UNROLL
#define SAS_UNROLL_TWICE

namespace sas::cuda {

SAS_DEVICE int ThreadIndex() { return emulate::Block::Current().thread(); }
SAS_DEVICE int64_t BlockIndex() { return emulate::Block::Current().index(); }
SAS_DEVICE void SyncThreads() { emulate::Block::Current().WaitForBlock(); }

SAS_DEVICE uint32_t Ballot(bool value) { return emulate::Block::Current().Ballot(value); }
SAS_DEVICE int CountBits(uint32_t bits) { return __builtin_popcount(bits); }
SAS_DEVICE int LowestBit(uint32_t bits) { return __builtin_ctz(bits); }

template <int kBytes>
SAS_DEVICE void CopyAsync(void* shared, const void* global, bool copy) {
  static_assert(kBytes == 4 || kBytes == 16, "unsupported size of a copy");
  emulate::Block::Current().Copy({shared, global, kBytes, copy});
}
SAS_DEVICE void CommitCopies() { emulate::Block::Current().CommitCopies(); }
template <int kPending>
SAS_DEVICE void WaitForCopies() {
  emulate::Block::Current().WaitForCopies(kPending);
}

// To nearest with ties away from zero: 10 bits of mantissa are kept.
SAS_DEVICE uint32_t ToTf32(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  return (bits + 0x1000u) & ~0x1fffu;
}

SAS_DEVICE void MmaTf32(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulate::Block::Current().MmaTf32(sum, a, b);
}

SAS_DEVICE uint32_t RoundToTf32(uint32_t bits) { return (bits + 0x1000u) & ~0x1fffu; }

// To nearest, ties to even.
SAS_DEVICE uint32_t RoundToBf16(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  return value == value ? (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16 : 0x7fffu;
}
SAS_DEVICE uint32_t PackBf16(float low, float high) {
  return RoundToBf16(low) | RoundToBf16(high) << 16;
}

SAS_DEVICE void LoadMatrices(uint32_t (&parts)[4], const void* row) {
  emulate::Block::Current().LoadMatrices(parts, row, false);
}
SAS_DEVICE void LoadMatricesTransposed(uint32_t (&parts)[4], const void* row) {
  emulate::Block::Current().LoadMatrices(parts, row, true);
}

SAS_DEVICE void MmaBf16(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulate::Block::Current().MmaBf16(sum, a, b);
}

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_EMULATE_EMULATE_H_
