// The matrix product of a block on tensor cores: kRows by kColumns sums in the registers of its
// warps, from panels in shared memory.
//
// A chunk of 16 bytes is 4 terms of tf32 or 8 of bfloat16; either way two chunks are one step of
// the tensor core, and lanes hold rows, columns and sums alike (PTX ISA, "Matrix Fragments for
// mma.m16n8k8" and "mma.m16n8k16"). Lane 4g + m holds rows g and g + 8, columns 2m and 2m + 1.
#ifndef SAS_JAX_KERNELS_CUDA_TENSOR_PRODUCT_H_
#define SAS_JAX_KERNELS_CUDA_TENSOR_PRODUCT_H_

#include <cstdint>

#include "device.h"
#include "sas_conv_cuda.h"
#include "tensor_panel.h"

namespace sas::cuda {

// float: products of tf32. Columns (operand B) are rounded by whoever wrote them, rows here.
SAS_DEVICE void MultiplyAdd(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                            float) {
  MmaTf32(sum, a, b);
}
SAS_DEVICE void MultiplyAdd(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                            Bfloat16) {
  MmaBf16(sum, a, b);
}

SAS_DEVICE void RoundRows(uint32_t (&a)[4], float) {
  SAS_UNROLL
  for (int e = 0; e < 4; ++e) a[e] = RoundToTf32(a[e]);
}
SAS_DEVICE void RoundRows(uint32_t (&)[4], Bfloat16) {}

// kWarpRows by kWarpColumns warps share the block.
template <class T, int kRows, int kColumns, int kWarpRows = 2, int kWarpColumns = 2>
class TensorProduct {
 public:
  static constexpr int kRowTiles = kRows / kWarpRows / 16;          // of a warp
  static constexpr int kColumnTiles = kColumns / kWarpColumns / 8;  // of a warp
  static_assert(kRows % (16 * kWarpRows) == 0 && kColumns % (16 * kWarpColumns) == 0,
                "a warp has whole tiles, and loads pairs of them along the columns");

  SAS_DEVICE TensorProduct()
      : first_row_(WarpIndex() / kWarpColumns * (kRows / kWarpRows)),
        first_column_(WarpIndex() % kWarpColumns * (kColumns / kWarpColumns)) {
    SAS_UNROLL
    for (int i = 0; i < kRowTiles; ++i) {
      SAS_UNROLL
      for (int j = 0; j < kColumnTiles; ++j) {
        SAS_UNROLL
        for (int e = 0; e < 4; ++e) sums_[i][j][e] = 0.0f;
      }
    }
  }

  // Adds a b^T: panels of kRows and of kColumns rows, terms along them. Bit i of `tiles` says
  // whether rows [16 i, 16 i + 16) of the block have anything to add.
  template <class PanelA, class PanelB>
  SAS_DEVICE void Add(const PanelA& a, const PanelB& b, uint32_t tiles) {
    constexpr uint32_t kAll = (1u << kRowTiles) - 1;
    const uint32_t own = tiles >> (first_row_ / 16) & kAll;
    // No branch lies between the chunks of a case, so that loads may overtake products.
    if (own == kAll) {
      AddTiles<0, kRowTiles>(a, b);
    } else {
      AddOneByOne<0>(a, b, own);
    }
  }

  // Adds a^T b: panels of terms, kRows and kColumns elements wide; bfloat16 only.
  template <class PanelA, class PanelB>
  SAS_DEVICE void AddTransposed(const PanelA& a, const PanelB& b) {
    SAS_UNROLL
    for (int term = 0; term < PanelA::kRows; term += 16) {
      uint32_t b_part[kColumnTiles][2];
      SAS_UNROLL
      for (int j = 0; j < kColumnTiles; j += 2) {
        // Lanes 0-7: terms 0-7 of the pair's first eight columns; 8-15: terms 8-15; then the
        // second eight columns.
        const int column = first_column_ + 8 * j + Lane() / 16 * 8;
        uint32_t parts[4];
        LoadMatricesTransposed(parts, b.Chunk(term + Lane() % 16, column / PanelB::kElements));
        SAS_UNROLL
        for (int e = 0; e < 4; ++e) b_part[j + e / 2][e % 2] = parts[e];
      }
      SAS_UNROLL
      for (int i = 0; i < kRowTiles; ++i) {
        // Lanes 0-7: terms 0-7 of rows 0-7; 8-15: of rows 8-15; then terms 8-15 of both.
        const int row = first_row_ + 16 * i + Lane() / 8 % 2 * 8;
        uint32_t a_part[4];
        LoadMatricesTransposed(
            a_part, a.Chunk(term + Lane() % 8 + Lane() / 16 * 8, row / PanelA::kElements));
        SAS_UNROLL
        for (int j = 0; j < kColumnTiles; ++j) MultiplyAdd(sums_[i][j], a_part, b_part[j], T());
      }
    }
  }

  // The same in tf32. Nothing loads transposed fragments of 32-bit elements at once, so lanes read
  // theirs one by one, from panels of panel.h.
  template <class PanelA, class PanelB>
  SAS_DEVICE void AddTransposedTf32(const PanelA& a, const PanelB& b) {
    const int group = Lane() / 4;
    const int member = Lane() % 4;
    SAS_UNROLL
    for (int term = 0; term < PanelA::kRows; term += 8) {
      uint32_t b_part[kColumnTiles][2];
      SAS_UNROLL
      for (int j = 0; j < kColumnTiles; ++j) {
        const int column = first_column_ + 8 * j + group;
        SAS_UNROLL
        for (int e = 0; e < 2; ++e) b_part[j][e] = ToTf32(b.At(column, term + member + 4 * e));
      }
      SAS_UNROLL
      for (int i = 0; i < kRowTiles; ++i) {
        uint32_t a_part[4];
        SAS_UNROLL
        for (int e = 0; e < 4; ++e) {
          const int row = first_row_ + 16 * i + 8 * (e % 2) + group;
          a_part[e] = ToTf32(a.At(row, term + member + e / 2 * 4));
        }
        SAS_UNROLL
        for (int j = 0; j < kColumnTiles; ++j) MmaTf32(sums_[i][j], a_part, b_part[j]);
      }
    }
  }

  // Calls store(row, column, sums of the column and the next) for this thread's elements.
  template <class Store>
  SAS_DEVICE void ForEachPair(Store store) const {
    SAS_UNROLL
    for (int i = 0; i < kRowTiles; ++i) {
      SAS_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int row = first_row_ + 16 * i + 8 * half + Lane() / 4;
        SAS_UNROLL
        for (int j = 0; j < kColumnTiles; ++j) {
          store(row, first_column_ + 8 * j + Lane() % 4 * 2, sums_[i][j][2 * half],
                sums_[i][j][2 * half + 1]);
        }
      }
    }
  }

 private:
  template <int kTile, class PanelA, class PanelB>
  SAS_DEVICE void AddOneByOne(const PanelA& a, const PanelB& b, uint32_t own) {
    if constexpr (kTile < kRowTiles) {
      if ((own >> kTile & 1) != 0) AddTiles<kTile, kTile + 1>(a, b);
      AddOneByOne<kTile + 1>(a, b, own);
    }
  }

  // Adds to the warp's tiles of rows [kBegin, kEnd).
  template <int kBegin, int kEnd, class PanelA, class PanelB>
  SAS_DEVICE void AddTiles(const PanelA& a, const PanelB& b) {
    SAS_UNROLL
    for (int chunk = 0; chunk < PanelA::kChunks; chunk += 2) {
      uint32_t b_part[kColumnTiles][2];
      SAS_UNROLL
      for (int j = 0; j < kColumnTiles; j += 2) {
        // Lanes 0-7: columns 0-7 of the pair, first chunk; 8-15: second chunk; then columns 8-15.
        const int column = first_column_ + 8 * j + Lane() % 8 + Lane() / 16 * 8;
        uint32_t parts[4];
        LoadMatrices(parts, b.Chunk(column, chunk + Lane() / 8 % 2));
        SAS_UNROLL
        for (int e = 0; e < 4; ++e) b_part[j + e / 2][e % 2] = parts[e];
      }
      SAS_UNROLL
      for (int i = kBegin; i < kEnd; ++i) {
        // Lanes 0-7: rows 0-7, first chunk; 8-15: rows 8-15; then the same of the second chunk.
        uint32_t a_part[4];
        LoadMatrices(a_part, a.Chunk(first_row_ + 16 * i + Lane() % 16, chunk + Lane() / 16));
        RoundRows(a_part, T());
        SAS_UNROLL
        for (int j = 0; j < kColumnTiles; ++j) MultiplyAdd(sums_[i][j], a_part, b_part[j], T());
      }
    }
  }

  const int first_row_;
  const int first_column_;
  float sums_[kRowTiles][kColumnTiles][4];
};

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_CUDA_TENSOR_PRODUCT_H_
