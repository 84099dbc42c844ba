// The device functions of device.h as CUDA and PTX; sm_80 and later.
#ifndef SAS_JAX_KERNELS_CUDA_PTX_H_
#define SAS_JAX_KERNELS_CUDA_PTX_H_

#include <cstdint>

#define SAS_DEVICE __device__ __forceinline__
#define SAS_UNROLL _Pragma("unroll")
#define SAS_UNROLL_TWICE _Pragma("unroll 2")

namespace sas::cuda {

SAS_DEVICE int ThreadIndex() { return static_cast<int>(threadIdx.x); }
SAS_DEVICE int64_t BlockIndex() { return blockIdx.x; }

// All threads of the block meet.
SAS_DEVICE void SyncThreads() { __syncthreads(); }

// Bit i is the value of lane i; the whole warp must call.
SAS_DEVICE uint32_t Ballot(bool value) { return __ballot_sync(0xffffffffu, value); }
SAS_DEVICE int CountBits(uint32_t bits) { return __popc(bits); }
SAS_DEVICE int LowestBit(uint32_t bits) { return __ffs(static_cast<int>(bits)) - 1; }

// Starts a copy of 4 or 16 bytes to shared memory; writes zeros, and reads nothing, unless `copy`.
template <int kBytes>
SAS_DEVICE void CopyAsync(void* shared, const void* global, bool copy) {
  static_assert(kBytes == 4 || kBytes == 16, "unsupported size of a copy");
  const uint32_t target = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  const int size = copy ? kBytes : 0;
  // Only copies of 16 bytes can bypass L1. Rows are read once; weights by many blocks, but leaving
  // them in L1 made the kernels slower (4 to 12 % on an H200).
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(global),
                 "r"(size)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(target), "l"(global),
                 "r"(size)
                 : "memory");
  }
}

// Closes this thread's group of copies; waits until all its groups but the last kPending arrived.
SAS_DEVICE void CommitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kPending>
SAS_DEVICE void WaitForCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// Rounds to the nearest tf32; without it the tensor core would cut bits off.
SAS_DEVICE uint32_t ToTf32(float value) {
  uint32_t result;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "f"(value));
  return result;
}

// The same for a float's bits.
SAS_DEVICE uint32_t RoundToTf32(uint32_t bits) { return ToTf32(__uint_as_float(bits)); }

// Two numbers as bfloat16, rounded to nearest even; `low` in the lower half.
SAS_DEVICE uint32_t PackBf16(float low, float high) {
  uint32_t result;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
}

// Four 8 x 8 matrices of 16-bit elements from shared memory; lane 8 i + r names row r of matrix i,
// lane 4 r + c gets elements 2 c and 2 c + 1 of every matrix's row r (transposed: column r).
SAS_DEVICE void LoadMatrices(uint32_t (&parts)[4], const void* row) {
  const uint32_t source = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(parts[0]), "=r"(parts[1]), "=r"(parts[2]), "=r"(parts[3])
               : "r"(source)
               : "memory");
}
SAS_DEVICE void LoadMatricesTransposed(uint32_t (&parts)[4], const void* row) {
  const uint32_t source = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(parts[0]), "=r"(parts[1]), "=r"(parts[2]), "=r"(parts[3])
               : "r"(source)
               : "memory");
}

// sum += a b for one 16 x 8 tile over 8 terms; the fragments of a warp as PTX lays them out.
SAS_DEVICE void MmaTf32(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The same over 16 terms of bfloat16.
SAS_DEVICE void MmaBf16(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_CUDA_PTX_H_
