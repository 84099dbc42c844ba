// Which ellipses touch which tile, nearest first.
#ifndef SAS_JAX_KERNELS_CPU_GAUSS_BIN_H_
#define SAS_JAX_KERNELS_CPU_GAUSS_BIN_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "conv_common.h"
#include "gauss_tile.h"
#include "sas_gauss.h"

namespace sas {

// What a list needs of an image: its tiles.
struct GaussGrid {
  explicit GaussGrid(const GaussView& view)
      : columns(CeilDiv(view.width, kGaussTile)), rows(CeilDiv(view.height, kGaussTile)) {}
  int64_t tiles() const { return columns * rows; }
  int64_t columns;
  int64_t rows;
};

// Lists of all tiles, row by row: no more than those that have a pixel of alpha 1/255 or more, up
// to rounding. An ellipse has a slot for each row of tiles that it may touch, one after the other.
class GaussLists {
 public:
  // Throws std::length_error for 2^30 pairs or more.
  GaussLists(const GaussEllipses& ellipses, const GaussGrid& grid, Parallel& parallel);

  const GaussEllipse* ellipses() const { return ellipses_->As<GaussEllipse>(); }
  const int32_t* list(int64_t tile) const { return list_->As<int32_t>() + start_[tile]; }
  int64_t length(int64_t tile) const { return start_[tile + 1] - start_[tile]; }
  // Slots of ellipse g: [slots()[g], slots()[g + 1]), the first in row first_rows()[g].
  const int64_t* slots() const { return slots_->As<int64_t>(); }
  const int32_t* first_rows() const { return first_rows_->As<int32_t>(); }

 private:
  struct Span;
  void FindRows(const GaussEllipses& ellipses, const GaussGrid& grid, Parallel& parallel);
  void FindSpans(const GaussEllipses& ellipses, const GaussGrid& grid, Parallel& parallel);
  void Fill(const std::vector<int32_t>& order, const GaussGrid& grid, Parallel& parallel);

  std::unique_ptr<Scratch> ellipses_, slots_, first_rows_, spans_, list_;
  std::vector<int64_t> start_;
};

}  // namespace sas

#endif  // SAS_JAX_KERNELS_CPU_GAUSS_BIN_H_
