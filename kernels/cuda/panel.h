// Operands of a block's matrix product in shared memory, and the loop that feeds them.
#ifndef SAS_JAX_KERNELS_CUDA_PANEL_H_
#define SAS_JAX_KERNELS_CUDA_PANEL_H_

#include <cstdint>

#include "device.h"

namespace sas::cuda {

constexpr int kDepth = 32;  // terms of the sums that one step adds

struct alignas(8) Float2 {
  float v[2];
};
struct alignas(16) Float4 {
  float v[4];
};

// One operand: kOuter rows (or columns) of the product by kDepth terms.
//
// Memory rows run either along the terms, one per outer index, or along the outer indices, one per
// term (kDepthMajor); a panel keeps them as they come. The padding of its rows makes the eight
// groups of four lanes that read a fragment hit 32 different banks.
template <int kOuter, bool kDepthMajor>
struct Panel {
  static constexpr int kRows = kDepthMajor ? kDepth : kOuter;
  static constexpr int kWidth = kDepthMajor ? kOuter : kDepth;
  static constexpr int kStride = kWidth + (kDepthMajor ? 8 : 4);

  alignas(16) float data[kRows * kStride];

  SAS_DEVICE float At(int outer, int term) const { return data[Index(outer, term)]; }

  // Elements (outer, term) and (outer + 1, term), outer even.
  SAS_DEVICE Float2 OuterPair(int outer, int term) const {
    if constexpr (kDepthMajor) {
      return *reinterpret_cast<const Float2*>(data + Index(outer, term));
    } else {
      return {At(outer, term), At(outer + 1, term)};
    }
  }

  // Elements (outer, term) to (outer, term + 3), term a multiple of 4.
  SAS_DEVICE Float4 FourTerms(int outer, int term) const {
    if constexpr (kDepthMajor) {
      return {At(outer, term), At(outer, term + 1), At(outer, term + 2), At(outer, term + 3)};
    } else {
      return *reinterpret_cast<const Float4*>(data + Index(outer, term));
    }
  }

  // Starts copying. Row i begins at base + row_at(i), or is zero if that is negative; what lies at
  // or beyond `width` in a row is zero too. by16: see CopiesBy16.
  template <class RowAt>
  SAS_DEVICE void Fill(const float* base, int width, bool by16, RowAt row_at) {
    constexpr int kPieces = kWidth / 4;
    static_assert(kRows * kPieces % kThreads == 0, "threads share the copies evenly");
    SAS_UNROLL
    for (int first = 0; first < kRows * kPieces; first += kThreads) {
      const int i = first + ThreadIndex();
      const int row = i / kPieces;
      const int column = i % kPieces * 4;
      const int64_t offset = row_at(row);
      float* target = data + row * kStride + column;
      if (by16) {
        Copy<16>(target, base, offset, column, width);
      } else {
        for (int j = 0; j < 4; ++j) Copy<4>(target + j, base, offset, column + j, width);
      }
    }
  }

 private:
  static SAS_DEVICE int Index(int outer, int term) {
    return kDepthMajor ? term * kStride + outer : outer * kStride + term;
  }

  template <int kBytes>
  static SAS_DEVICE void Copy(float* target, const float* base, int64_t offset, int column,
                              int width) {
    const bool copy = offset >= 0 && column < width;
    CopyAsync<kBytes>(target, copy ? base + offset + column : base, copy);
  }
};

// How many steps' panels are in flight. Narrow tiles are for few rows, where nothing else covers
// the way from memory; wide ones must leave room for other blocks.
constexpr int Stages(int bytes_of_step, int least) {
  constexpr int kMost = 8;
  const int stages = 32 * 1024 / bytes_of_step;
  return stages < least ? least : stages > kMost ? kMost : stages;
}

// Calls load(step, stage) for every step, kStages - 1 steps ahead of use(stage). All threads of the
// block call; shared memory is theirs again afterwards.
template <int kStages, class Load, class Use>
SAS_DEVICE void RunPipeline(int num_steps, Load load, Use use) {
  for (int step = 0; step < kStages - 1; ++step) {
    if (step < num_steps) load(step, step);
    CommitCopies();
  }
  for (int step = 0; step < num_steps; ++step) {
    WaitForCopies<kStages - 2>();
    // Everyone's copies of this step are there, and everyone is done with the stage that the next
    // load overwrites.
    SyncThreads();
    const int next = step + kStages - 1;
    if (next < num_steps) load(next, next % kStages);
    // An empty group keeps the count of pending groups right.
    CommitCopies();
    use(step % kStages);
  }
  WaitForCopies<0>();
  SyncThreads();
}

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_CUDA_PANEL_H_
