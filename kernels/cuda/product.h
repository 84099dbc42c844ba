// The exact matrix product of a block: 64 rows by kColumns columns in the registers of four warps.
//
// Two by two warps own 32 x kColumns/2 each, as tiles of 16 x 8 whose elements lie in the lanes as
// in tensor_product.h: lane 4g + m holds rows g and g + 8, columns 2m and 2m + 1.
#ifndef SAS_JAX_KERNELS_CUDA_PRODUCT_H_
#define SAS_JAX_KERNELS_CUDA_PRODUCT_H_

#include "device.h"
#include "panel.h"
#include "sas_conv_cuda.h"

namespace sas::cuda {

constexpr int kTileRows = 64;

template <int kColumns>
class Product {
 public:
  SAS_DEVICE Product()
      : group_(Lane() / 4),
        member_(Lane() % 4),
        first_row_(WarpIndex() / 2 * (kTileRows / 2)),
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

  // Adds a b^T: a is a panel of kTileRows, b one of kColumns.
  template <class PanelA, class PanelB>
  SAS_DEVICE void Add(const PanelA& a, const PanelB& b) {
    SAS_UNROLL
    for (int term = 0; term < kDepth; term += 4) AddFourTerms(a, b, term);
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
  static constexpr int kRowTiles = kTileRows / 2 / 16;
  static constexpr int kColumnTiles = kColumns / 2 / 8;

  SAS_DEVICE int Row(int tile, int half) const {
    return first_row_ + 16 * tile + 8 * half + group_;
  }

  template <class PanelA, class PanelB>
  SAS_DEVICE void AddFourTerms(const PanelA& a, const PanelB& b, int term) {
    Float4 a_part[kRowTiles][2];
    SAS_UNROLL
    for (int i = 0; i < kRowTiles; ++i) {
      SAS_UNROLL
      for (int half = 0; half < 2; ++half) a_part[i][half] = a.FourTerms(Row(i, half), term);
    }
    SAS_UNROLL
    for (int t = 0; t < 4; ++t) {
      SAS_UNROLL
      for (int j = 0; j < kColumnTiles; ++j) {
        const Float2 b_part = b.OuterPair(first_column_ + 8 * j + 2 * member_, term + t);
        SAS_UNROLL
        for (int i = 0; i < kRowTiles; ++i) {
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
