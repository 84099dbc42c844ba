// The exact matrix product of a block: kRows by kColumns sums in the registers of four warps.
//
// Two by two warps own a quarter each, as tiles of 16 x 8 whose elements lie in the lanes as
// in tensor_product.h: lane 4g + m holds rows g and g + 8, columns 2m and 2m + 1.
#ifndef SAS_JAX_KERNELS_CUDA_PRODUCT_H_
#define SAS_JAX_KERNELS_CUDA_PRODUCT_H_

#include "device.h"
#include "panel.h"
#include "sas_conv_cuda.h"

namespace sas::cuda {

template <int kRows, int kColumns>
class Product {
 public:
  SAS_DEVICE Product()
      : group_(Lane() / 4),
        member_(Lane() % 4),
        first_row_(WarpIndex() / 2 * (kRows / 2)),
        first_column_(WarpIndex() % 2 * (kColumns / 2)) {
    SAS_UNROLL
    for (int i = 0; i < kRowTiles; ++i) {
      SAS_UNROLL
      for (int j = 0; j < kColumnTiles; ++j) {
        SAS_UNROLL
        for (int e = 0; e < 4; ++e) sums_[i][j][e] = 0.0f;
      }
    }
  }

  // Adds a b^T: a is a panel of kRows, b one of kColumns.
  template <class PanelA, class PanelB>
  SAS_DEVICE void AddAll(const PanelA& a, const PanelB& b) {
    SAS_UNROLL
    for (int term = 0; term < kDepth; term += 4) AddFourTerms<0, kRowTiles>(a, b, term);
  }

  // The same for some of the rows. Bit i of `tiles` says whether rows
  // [16 i, 16 i + 16) of the block have anything to add.
  template <class PanelA, class PanelB>
  SAS_DEVICE void Add(const PanelA& a, const PanelB& b, uint32_t tiles) {
    constexpr uint32_t kAll = (1u << kRowTiles) - 1;
    const uint32_t own = tiles >> (first_row_ / 16) & kAll;
    if (own == kAll) {
      SAS_UNROLL_TWICE
      for (int term = 0; term < kDepth; term += 4) AddFourTerms<0, kRowTiles>(a, b, term);
      return;
    }
    AddTiles<0>(a, b, own);
  }

  // Calls store(row, column, sum) for this thread's elements.
  template <class Store>
  SAS_DEVICE void ForEach(Store store) const {
    SAS_UNROLL
    for (int i = 0; i < kRowTiles; ++i) {
      SAS_UNROLL
      for (int j = 0; j < kColumnTiles; ++j) {
        SAS_UNROLL
        for (int e = 0; e < 4; ++e) {
          store(Row(i, e / 2), first_column_ + 8 * j + 2 * member_ + e % 2, sums_[i][j][e]);
        }
      }
    }
  }

 private:
  static_assert(kColumns % 16 == 0, "two warps share the columns, in tiles of 8");
  static constexpr int kRowTiles = kRows / 2 / 16;
  static constexpr int kColumnTiles = kColumns / 2 / 8;

  SAS_DEVICE int Row(int tile, int half) const {
    return first_row_ + 16 * tile + 8 * half + group_;
  }

  // Adds to one tile after the other.
  template <int kTile, class PanelA, class PanelB>
  SAS_DEVICE void AddTiles(const PanelA& a, const PanelB& b, uint32_t own) {
    if constexpr (kTile < kRowTiles) {
      if ((own >> kTile & 1) != 0) {
        SAS_UNROLL_TWICE
        for (int term = 0; term < kDepth; term += 4) AddFourTerms<kTile, kTile + 1>(a, b, term);
      }
      AddTiles<kTile + 1>(a, b, own);
    }
  }

  template <int kBegin, int kEnd, class PanelA, class PanelB>
  SAS_DEVICE void AddFourTerms(const PanelA& a, const PanelB& b, int term) {
    Float4 a_part[kRowTiles][2];
    SAS_UNROLL
    for (int i = kBegin; i < kEnd; ++i) {
      SAS_UNROLL
      for (int half = 0; half < 2; ++half) a_part[i][half] = a.FourTerms(Row(i, half), term);
    }
    SAS_UNROLL
    for (int t = 0; t < 4; ++t) {
      SAS_UNROLL
      for (int j = 0; j < kColumnTiles; ++j) {
        const Float2 b_part = b.OuterPair(first_column_ + 8 * j + 2 * member_, term + t);
        SAS_UNROLL
        for (int i = kBegin; i < kEnd; ++i) {
          SAS_UNROLL
          for (int e = 0; e < 4; ++e) sums_[i][j][e] += a_part[i][e / 2].v[t] * b_part.v[e % 2];
        }
      }
    }
  }

  const int group_;
  const int member_;
  const int first_row_;
  const int first_column_;
  float sums_[kRowTiles][kColumnTiles][4];
};

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_CUDA_PRODUCT_H_
