// Which kernels an operation takes, and how many blocks of them.
//
// `launch(Kernel{}, num_blocks, args)` runs one kernel: on a stream, or emulated in tests. A kernel
// is a class with Args, Shared and a device function Run(const Args&, Shared&).
#ifndef SAS_JAX_KERNELS_CUDA_DISPATCH_H_
#define SAS_JAX_KERNELS_CUDA_DISPATCH_H_

#include <cstdint>

#include "few_channels.h"
#include "forward_tile.h"
#include "sas_conv_cuda.h"
#include "weight_grad_tile.h"

namespace sas::cuda {

// Names a kernel's class as a value.
template <class Kernel>
struct KernelTag {
  using type = Kernel;
};

// Enough to keep a large GPU busy; narrower tiles read rows more often but make more blocks.
constexpr int64_t kEnoughBlocks = 256;

// The widest tile that pads c_out least and still makes enough blocks.
inline int ChooseColumns(int64_t blocks_per_column_tile, int64_t c_out) {
  int best = 32;
  for (int columns : {64, 96}) {
    const int64_t tiles = CeilDiv(c_out, columns);
    const bool tight = tiles * columns <= CeilDiv(c_out, best) * best;
    if (tight && tiles * blocks_per_column_tile >= kEnoughBlocks) best = columns;
  }
  return best;
}

template <int kColumns, class Launch>
void LaunchForwardTiles(const ConvForward& conv, Precision precision, Launch& launch) {
  const int64_t blocks = CeilDiv(conv.capacity, kTileRows) * CeilDiv(conv.c_out, kColumns);
  auto run = [&](auto tag) { launch(tag, blocks, conv); };
  const bool exact = precision == Precision::kF32;
  if (exact && !conv.transpose_weights) {
    run(KernelTag<ForwardTile<kColumns, Precision::kF32, false>>());
  } else if (exact) {
    run(KernelTag<ForwardTile<kColumns, Precision::kF32, true>>());
  } else if (!conv.transpose_weights) {
    run(KernelTag<ForwardTile<kColumns, Precision::kTf32, false>>());
  } else {
    run(KernelTag<ForwardTile<kColumns, Precision::kTf32, true>>());
  }
}

// columns: of a tile; 0 chooses.
template <class Launch>
void LaunchForward(const ConvForward& conv, Precision precision, int columns, Launch& launch) {
  if (conv.capacity == 0 || conv.c_out == 0) return;
  if (conv.c_in <= FewChannels::kMaxChannels) {
    const int64_t column_tiles = CeilDiv(conv.c_out, FewChannels::kColumns);
    const int64_t blocks = CeilDiv(conv.capacity, FewChannels::kRows) * column_tiles;
    launch(KernelTag<FewChannels>(), blocks, conv);
    return;
  }
  if (columns == 0) columns = ChooseColumns(CeilDiv(conv.capacity, kTileRows), conv.c_out);
  if (columns == 96) {
    LaunchForwardTiles<96>(conv, precision, launch);
  } else if (columns == 64) {
    LaunchForwardTiles<64>(conv, precision, launch);
  } else {
    LaunchForwardTiles<32>(conv, precision, launch);
  }
}

template <int kColumns, class Launch>
void LaunchWeightGradTiles(const ConvWeightGrad& conv, Precision precision, int64_t row_blocks,
                           Launch& launch) {
  const int64_t blocks = row_blocks * CeilDiv(conv.c_out, kColumns);
  if (precision == Precision::kF32) {
    launch(KernelTag<WeightGradTile<kColumns, Precision::kF32>>(), blocks, conv);
  } else {
    launch(KernelTag<WeightGradTile<kColumns, Precision::kTf32>>(), blocks, conv);
  }
}

template <class Launch>
void LaunchWeightGrad(const ConvWeightGrad& conv, Precision precision, int columns,
                      Launch& launch) {
  const int64_t num_weights = static_cast<int64_t>(conv.num_offsets) * conv.c_in * conv.c_out;
  if (num_weights == 0) return;
  const int64_t slabs = conv.partials == nullptr ? 1 : NumSlabs(conv.capacity);
  const int64_t row_blocks = slabs * conv.num_offsets * CeilDiv(conv.c_in, kTileRows);
  if (columns == 0) columns = ChooseColumns(row_blocks, conv.c_out);
  if (columns == 96) {
    LaunchWeightGradTiles<96>(conv, precision, row_blocks, launch);
  } else if (columns == 64) {
    LaunchWeightGradTiles<64>(conv, precision, row_blocks, launch);
  } else {
    LaunchWeightGradTiles<32>(conv, precision, row_blocks, launch);
  }
  if (conv.partials != nullptr) {
    launch(KernelTag<AddSlabs>(), CeilDiv(num_weights, kThreads), conv);
  }
}

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_CUDA_DISPATCH_H_
