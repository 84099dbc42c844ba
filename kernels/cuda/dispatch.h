// Which kernels an operation takes, and how many blocks of them.
//
// See kernel_tag.h for what `launch` is.
#ifndef SAS_JAX_KERNELS_CUDA_DISPATCH_H_
#define SAS_JAX_KERNELS_CUDA_DISPATCH_H_

#include <cstdint>
#include <type_traits>

#include "few_channels.h"
#include "forward_tile.h"
#include "kernel_tag.h"
#include "sas_conv_cuda.h"
#include "tensor_forward.h"
#include "weight_grad_tile.h"

namespace sas::cuda {

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

// Whether tiles of so many columns pad `width` least.
inline bool IsTight(int64_t width, int columns) {
  return CeilDiv(width, columns) * columns == CeilDiv(width, 32) * 32;
}

template <class... Shapes>
struct TensorShapes {};

// The first is taken whose columns are tight, whose steps c_in fills, and which makes enough
// blocks; of 32 rows by up to 64 columns any number is enough, for small layers gain more from
// long steps than from blocks. Steps of kAnyTerms take any c_in. The order is what an H200 showed:
// benchmarks/results/gpu_shapes.jsonl.
constexpr int kAnyTerms = 32;
template <class T>
struct TensorShapesOf;

template <>
struct TensorShapesOf<Bfloat16> {
  using type =
      TensorShapes<TensorShape<64, 128, 64, 2>, TensorShape<64, 128, 32>,
                   TensorShape<128, 96, 64, 2, 8>, TensorShape<64, 96, 32>, TensorShape<32, 96, 32>,
                   TensorShape<64, 64, 64>, TensorShape<32, 64, 128>, TensorShape<32, 64, 64>,
                   TensorShape<32, 64, 32>, TensorShape<64, 32, 64>, TensorShape<64, 32, 32>,
                   TensorShape<32, 32, 128>, TensorShape<32, 32, 64>, TensorShape<32, 32, 32>>;
};

template <>
struct TensorShapesOf<float> {
  using type =
      TensorShapes<TensorShape<128, 128, 32, 2, 8>, TensorShape<32, 128, 32>,
                   TensorShape<128, 96, 32, 2, 8>, TensorShape<64, 96, 32, 2>,
                   TensorShape<32, 96, 32>, TensorShape<64, 64, 32>, TensorShape<32, 64, 64>,
                   TensorShape<32, 64, 32>, TensorShape<64, 32, 32>, TensorShape<32, 32, 64>,
                   TensorShape<32, 32, 32>>;
};

// Calls run(shape, its tile) for each shape until one returns true.
template <class... Shapes, class Run>
bool FindShape(TensorShapes<Shapes...>, Run run) {
  return (run(Shapes(), Tile{Shapes::kRows, Shapes::kColumns, Shapes::kTerms, Shapes::kStages,
                             Shapes::kWarps}) ||
          ...);
}

// Whether a shape is the tile that a caller names, whose zeros match anything.
inline bool IsNamed(const Tile& tile, const Tile& shape) {
  return tile.rows == shape.rows && tile.columns == shape.columns &&
         (tile.terms == 0 || tile.terms == shape.terms) &&
         (tile.stages == 0 || tile.stages == shape.stages) &&
         (tile.warps == 0 || tile.warps == shape.warps);
}

template <class T>
bool IsChosen(const ConvForwardOf<T>& conv, const Tile& shape, int64_t blocks) {
  const bool fits = shape.terms == kAnyTerms || conv.c_in % shape.terms == 0;
  const bool enough = blocks >= kEnoughBlocks || (shape.rows == 32 && shape.columns <= 64);
  return fits && enough && IsTight(conv.c_out, shape.columns);
}

template <class T, class Launch>
void LaunchTensorForward(const ConvForwardOf<T>& conv, const Tile& tile, Launch& launch) {
  FindShape(typename TensorShapesOf<T>::type(), [&](auto shape, const Tile& has) {
    const int64_t blocks = CeilDiv(conv.capacity, has.rows) * CeilDiv(conv.c_out, has.columns);
    if (!(tile.rows == 0 ? IsChosen(conv, has, blocks) : IsNamed(tile, has))) return false;
    launch(KernelTag<TensorForward<T, decltype(shape)>>(), blocks, conv);
    return true;
  });
}

// 64 rows by the widest tight columns, unless that leaves a large GPU idle.
inline Tile ChooseExactTile(int64_t capacity, int64_t c_out) {
  const int columns = IsTight(c_out, 96) ? 96 : IsTight(c_out, 64) ? 64 : 32;
  const int64_t blocks = CeilDiv(capacity, 64) * CeilDiv(c_out, columns);
  return blocks >= kEnoughBlocks ? Tile{64, columns} : Tile{32, 32};
}

template <int kRows, int kColumns, class Launch>
void LaunchExactForward(const ConvForward& conv, Launch& launch) {
  const int64_t blocks = CeilDiv(conv.capacity, kRows) * CeilDiv(conv.c_out, kColumns);
  if (conv.transpose_weights) {
    launch(KernelTag<ForwardTile<kRows, kColumns, true>>(), blocks, conv);
  } else {
    launch(KernelTag<ForwardTile<kRows, kColumns, false>>(), blocks, conv);
  }
}

template <class Launch>
void LaunchForwardF32(const ConvForward& conv, Tile tile, Launch& launch) {
  if (IsEmpty(conv)) return;
  if (conv.c_in <= kFewChannels) return LaunchFewChannels(conv, launch);
  if (tile.rows == 0) tile = ChooseExactTile(conv.capacity, conv.c_out);
  if (tile.rows == 32) return LaunchExactForward<32, 32>(conv, launch);
  WithWidth<32, 64, 96>(tile.columns,
                        [&](auto width) { LaunchExactForward<64, width()>(conv, launch); });
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
