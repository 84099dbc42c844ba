// Which kernels an operation takes, and how many blocks of them.
//
// `launch(Kernel{}, num_blocks, args)` runs one kernel: on a stream, or emulated in tests. A kernel
// is a class with Args, Shared and a device function Run(const Args&, Shared&).
#ifndef SAS_JAX_KERNELS_CUDA_DISPATCH_H_
#define SAS_JAX_KERNELS_CUDA_DISPATCH_H_

#include <cstdint>
#include <type_traits>

#include "few_channels.h"
#include "forward_tile.h"
#include "sas_conv_cuda.h"
#include "tensor_forward.h"
#include "weight_grad_tile.h"

namespace sas::cuda {

// Names a kernel's class as a value.
template <class Kernel>
struct KernelTag {
  using type = Kernel;
};

// Enough to keep a large GPU busy; narrower tiles read rows more often but make more blocks.
constexpr int64_t kEnoughBlocks = 256;

// The widest of some tiles that pads `width` least and still makes enough blocks; the first one
// otherwise.
template <int kNumWidths>
int ChooseWidth(const int (&widths)[kNumWidths], int64_t blocks_per_tile, int64_t width) {
  int best = widths[0];
  for (int candidate : widths) {
    const int64_t tiles = CeilDiv(width, candidate);
    const bool tight = tiles * candidate <= CeilDiv(width, best) * best;
    if (tight && tiles * blocks_per_tile >= kEnoughBlocks) best = candidate;
  }
  return best;
}

// Runs one of the widths as a constant: run(std::integral_constant<int, width>).
template <int kWidth, int... kOthers, class Run>
void WithWidth(int width, Run run) {
  if constexpr (sizeof...(kOthers) == 0) {
    run(std::integral_constant<int, kWidth>());
  } else if (width == kWidth) {
    run(std::integral_constant<int, kWidth>());
  } else {
    WithWidth<kOthers...>(width, run);
  }
}

template <class T>
bool IsEmpty(const ConvForwardOf<T>& conv) {
  return conv.capacity == 0 || conv.c_out == 0;
}

template <class Launch>
void LaunchFewChannels(const ConvForward& conv, Launch& launch) {
  const int64_t column_tiles = CeilDiv(conv.c_out, FewChannels::kColumns);
  launch(KernelTag<FewChannels>(), CeilDiv(conv.capacity, FewChannels::kRows) * column_tiles, conv);
}

// Rows of a block: 64, unless that leaves a large GPU idle.
inline int ChooseRows(int64_t capacity, int64_t c_out) {
  return CeilDiv(capacity, 64) * CeilDiv(c_out, 64) >= kEnoughBlocks ? 64 : 32;
}

template <class... Shapes>
struct TensorShapes {};

// Of shapes with the same rows and columns the first is taken whose steps c_in fills: what stands
// first is chosen by what a GPU took. Steps of kAnyTerms take any c_in.
constexpr int kAnyTerms = 32;
template <class T>
struct TensorShapesOf;

template <>
struct TensorShapesOf<Bfloat16> {
  using type = TensorShapes<
      TensorShape<32, 32, 32>, TensorShape<32, 64, 32>, TensorShape<32, 96, 32>,
      TensorShape<32, 128, 32>, TensorShape<64, 32, 32>, TensorShape<64, 64, 32>,
      TensorShape<64, 96, 32>, TensorShape<64, 128, 32>,
      // Longer steps.
      TensorShape<32, 32, 64>, TensorShape<32, 32, 128>, TensorShape<32, 32, 128, 4>,
      TensorShape<32, 64, 64>, TensorShape<32, 64, 128>, TensorShape<64, 32, 64>,
      TensorShape<64, 32, 128>, TensorShape<64, 64, 64>, TensorShape<64, 64, 128>,
      TensorShape<64, 96, 64>, TensorShape<64, 96, 96, 2>, TensorShape<64, 96, 96, 3>,
      TensorShape<64, 128, 64, 2>, TensorShape<64, 128, 64, 3>,
      // More warps.
      TensorShape<32, 64, 64, 0, 8>, TensorShape<32, 64, 128, 0, 8>, TensorShape<64, 64, 64, 0, 8>,
      TensorShape<64, 64, 128, 0, 8>, TensorShape<64, 96, 32, 4, 8>, TensorShape<64, 96, 64, 3, 8>,
      TensorShape<64, 96, 96, 2, 8>, TensorShape<64, 96, 96, 3, 8>, TensorShape<64, 128, 32, 4, 8>,
      TensorShape<64, 128, 64, 3, 8>, TensorShape<64, 128, 128, 2, 8>,
      // Weights shared by twice as many rows.
      TensorShape<128, 96, 32, 3, 8>, TensorShape<128, 96, 64, 2, 8>,
      TensorShape<128, 96, 96, 2, 8>, TensorShape<128, 128, 32, 3, 8>,
      TensorShape<128, 128, 64, 2, 8>, TensorShape<128, 128, 64, 3, 8>>;
};

template <>
struct TensorShapesOf<float> {
  using type = TensorShapes<
      TensorShape<32, 32, 32>, TensorShape<32, 64, 32>, TensorShape<32, 96, 32>,
      TensorShape<32, 128, 32>, TensorShape<64, 32, 32>, TensorShape<64, 64, 32>,
      TensorShape<64, 96, 32>, TensorShape<64, 128, 32>,
      // Longer steps.
      TensorShape<32, 32, 64>, TensorShape<32, 32, 64, 4>, TensorShape<32, 32, 128>,
      TensorShape<32, 64, 64>, TensorShape<64, 32, 64>, TensorShape<64, 64, 64>,
      TensorShape<64, 64, 64, 2>, TensorShape<64, 96, 32, 2>, TensorShape<64, 96, 64, 2>,
      TensorShape<64, 128, 32, 2>, TensorShape<64, 128, 64, 2>,
      // More warps.
      TensorShape<32, 64, 32, 0, 8>, TensorShape<32, 64, 64, 0, 8>, TensorShape<32, 128, 32, 3, 8>,
      TensorShape<64, 64, 32, 0, 8>, TensorShape<64, 64, 64, 2, 8>, TensorShape<64, 96, 32, 2, 8>,
      TensorShape<64, 96, 32, 3, 8>, TensorShape<64, 96, 64, 2, 8>, TensorShape<64, 128, 32, 2, 8>,
      TensorShape<64, 128, 32, 3, 8>, TensorShape<64, 128, 64, 2, 8>,
      // Weights shared by twice as many rows.
      TensorShape<128, 96, 32, 2, 8>, TensorShape<128, 96, 32, 3, 8>,
      TensorShape<128, 128, 32, 2, 8>, TensorShape<128, 128, 32, 3, 8>>;
};

// Calls run(shape, its tile) for each shape until one returns true.
template <class... Shapes, class Run>
bool FindShape(TensorShapes<Shapes...>, Run run) {
  return (run(Shapes(), Tile{Shapes::kRows, Shapes::kColumns, Shapes::kTerms, Shapes::kStages,
                             Shapes::kWarps}) ||
          ...);
}

template <class T, class Launch>
void LaunchTensorForward(const ConvForwardOf<T>& conv, Tile tile, Launch& launch) {
  if (tile.rows == 0) tile.rows = ChooseRows(conv.capacity, conv.c_out);
  const int64_t row_blocks = CeilDiv(conv.capacity, tile.rows);
  if (tile.columns == 0) tile.columns = ChooseWidth({32, 64, 96, 128}, row_blocks, conv.c_out);
  FindShape(typename TensorShapesOf<T>::type(), [&](auto shape, const Tile& has) {
    if (tile.rows != has.rows || tile.columns != has.columns) return false;
    const bool fits = has.terms == kAnyTerms || conv.c_in % has.terms == 0;
    if (tile.terms != 0 ? tile.terms != has.terms : !fits) return false;
    if (tile.warps != 0 && tile.warps != has.warps) return false;
    if (tile.stages != 0 && tile.stages != has.stages) return false;
    const int64_t blocks = row_blocks * CeilDiv(conv.c_out, has.columns);
    launch(KernelTag<TensorForward<T, decltype(shape)>>(), blocks, conv);
    return true;
  });
}

template <class Launch>
void LaunchForwardF32(const ConvForward& conv, Tile tile, Launch& launch) {
  if (IsEmpty(conv)) return;
  if (conv.c_in <= kFewChannels) return LaunchFewChannels(conv, launch);
  if (tile.rows == 0) tile.rows = ChooseRows(conv.capacity, conv.c_out);
  const int64_t row_blocks = CeilDiv(conv.capacity, tile.rows);
  if (tile.columns == 0) tile.columns = ChooseWidth({32, 64, 96}, row_blocks, conv.c_out);
  WithWidth<32, 64>(tile.rows, [&](auto height) {
    WithWidth<32, 64, 96>(tile.columns, [&](auto width) {
      const int64_t blocks = row_blocks * CeilDiv(conv.c_out, width());
      if (conv.transpose_weights) {
        launch(KernelTag<ForwardTile<height(), width(), true>>(), blocks, conv);
      } else {
        launch(KernelTag<ForwardTile<height(), width(), false>>(), blocks, conv);
      }
    });
  });
}

template <class Launch>
void LaunchForwardTf32(const ConvForward& conv, Tile tile, Launch& launch) {
  if (IsEmpty(conv)) return;
  if (conv.c_in <= kFewChannels) return LaunchFewChannels(conv, launch);
  LaunchTensorForward(conv, tile, launch);
}

template <class Launch>
void LaunchForwardBf16(const ConvForwardOf<Bfloat16>& conv, Tile tile, Launch& launch) {
  if (!IsEmpty(conv)) LaunchTensorForward(conv, tile, launch);
}

template <class T>
int64_t SlabsOf(const ConvWeightGradOf<T>& conv) {
  return conv.partials == nullptr ? 1 : NumSlabs(conv.capacity);
}

template <class Math, class Args, class Launch>
void LaunchWeightGradTiles(const Args& conv, Launch& launch) {
  const int64_t num_weights = static_cast<int64_t>(conv.num_offsets) * conv.c_in * conv.c_out;
  if (num_weights == 0) return;
  const int64_t tiles = CeilDiv(conv.c_in, Math::kRows) * CeilDiv(conv.c_out, Math::kColumns);
  launch(KernelTag<WeightGradTile<Math>>(), SlabsOf(conv) * conv.num_offsets * tiles, conv);
  if (conv.partials == nullptr) return;
  launch(KernelTag<AddSlabs<typename Math::Element>>(), CeilDiv(num_weights, kThreads), conv);
}

// Math: a template of rows and columns.
template <template <int, int> class Math, class T, class Launch>
void LaunchWeightGradMath(const ConvWeightGradOf<T>& conv, Tile tile, Launch& launch) {
  int64_t blocks = SlabsOf(conv) * conv.num_offsets;
  if (tile.rows == 0) {
    tile.rows = ChooseWidth({32, 64, 96}, blocks * CeilDiv(conv.c_out, 64), conv.c_in);
  }
  blocks *= CeilDiv(conv.c_in, tile.rows);
  if (tile.columns == 0) tile.columns = ChooseWidth({32, 64, 96}, blocks, conv.c_out);
  WithWidth<32, 64, 96>(tile.rows, [&](auto height) {
    WithWidth<32, 64, 96>(tile.columns, [&](auto width) {
      LaunchWeightGradTiles<Math<height(), width()>>(conv, launch);
    });
  });
}

template <class Launch>
void LaunchWeightGradF32(const ConvWeightGrad& conv, Tile tile, Launch& launch) {
  LaunchWeightGradMath<ExactMath>(conv, tile, launch);
}

template <class Launch>
void LaunchWeightGradTf32(const ConvWeightGrad& conv, Tile tile, Launch& launch) {
  LaunchWeightGradMath<Tf32Math>(conv, tile, launch);
}

template <class Launch>
void LaunchWeightGradBf16(const ConvWeightGradOf<Bfloat16>& conv, Tile tile, Launch& launch) {
  LaunchWeightGradMath<Bf16Math>(conv, tile, launch);
}

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_CUDA_DISPATCH_H_
