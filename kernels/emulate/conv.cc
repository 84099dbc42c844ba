// C entry points that run the CUDA convolutions on the CPU, for tests.
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "dispatch.h"
#include "emulated_launch.h"
#include "fibers.h"
#include "sas_conv_cuda.h"

namespace {

using sas::cuda::Bfloat16;
using sas::cuda::Precision;
using sas::cuda::emulate::EmulatedLaunch;
using sas::cuda::emulate::Range;
using sas::cuda::emulate::Schedule;

template <class T>
Range Elements(const T* data, int64_t rows, int64_t columns) {
  return {data, sizeof(T) * static_cast<size_t>(rows * columns)};
}

sas::cuda::Tile TileOf(const int* tile) { return {tile[0], tile[1], tile[2], tile[3], tile[4]}; }

template <class T>
int ListShapes(int* shapes) {
  int count = 0;
  sas::cuda::FindShape(typename sas::cuda::TensorShapesOf<T>::type(),
                       [&](auto, const sas::cuda::Tile& tile) {
                         std::memcpy(shapes + 5 * count++, &tile, sizeof(tile));
                         return false;
                       });
  return count;
}

Schedule ScheduleOf(int bits) { return {(bits & 1) != 0, (bits & 2) != 0}; }

// What a call does not compute with: how a tile is cut, and how the block's threads run.
struct Options {
  Precision precision;
  sas::cuda::Tile tile;
  int schedule;
};

template <class T>
int Forward(const void* x, const void* w, const int32_t* nbr, const int32_t* order, void* y,
            const int64_t* sizes, int flags, const Options& options) {
  const int num_offsets = static_cast<int>(sizes[0]);
  const int c_in = static_cast<int>(sizes[1]);
  const int c_out = static_cast<int>(sizes[2]);
  const int32_t num_out = static_cast<int32_t>(sizes[4]);
  const sas::cuda::ConvForwardOf<T> conv{static_cast<const T*>(x),
                                         static_cast<const T*>(w),
                                         nbr,
                                         order,
                                         &num_out,
                                         static_cast<T*>(y),
                                         sizes[3],
                                         sizes[5],
                                         num_offsets,
                                         c_in,
                                         c_out,
                                         (flags & 1) != 0,
                                         (flags & 2) != 0};
  EmulatedLaunch launch(
      ScheduleOf(options.schedule),
      {Elements(conv.x, sizes[6], c_in), Elements(conv.w, int64_t{num_offsets} * c_in, c_out)});
  if constexpr (std::is_same_v<T, Bfloat16>) {
    sas::cuda::LaunchForwardBf16(conv, options.tile, launch);
  } else if (options.precision == Precision::kTf32) {
    sas::cuda::LaunchForwardTf32(conv, options.tile, launch);
  } else {
    sas::cuda::LaunchForwardF32(conv, options.tile, launch);
  }
  return launch.Finish();
}

template <class T>
int WeightGrad(const void* x, const void* dy, const int32_t* nbr, float* dw, float* partials,
               const int64_t* sizes, const Options& options) {
  const int num_offsets = static_cast<int>(sizes[0]);
  const int c_in = static_cast<int>(sizes[1]);
  const int c_out = static_cast<int>(sizes[2]);
  const int32_t num_out = static_cast<int32_t>(sizes[4]);
  const sas::cuda::ConvWeightGradOf<T> conv{static_cast<const T*>(x),
                                            static_cast<const T*>(dy),
                                            nbr,
                                            &num_out,
                                            dw,
                                            partials,
                                            sizes[3],
                                            sizes[5],
                                            num_offsets,
                                            c_in,
                                            c_out};
  EmulatedLaunch launch(ScheduleOf(options.schedule),
                        {Elements(conv.x, sizes[6], c_in), Elements(conv.dy, sizes[5], c_out)});
  if constexpr (std::is_same_v<T, Bfloat16>) {
    sas::cuda::LaunchWeightGradBf16(conv, options.tile, launch);
  } else if (options.precision == Precision::kTf32) {
    sas::cuda::LaunchWeightGradTf32(conv, options.tile, launch);
  } else {
    sas::cuda::LaunchWeightGradF32(conv, options.tile, launch);
  }
  return launch.Finish();
}

}  // namespace

// Sizes of both: offsets, c_in, c_out, table stride, valid rows, capacity, rows of x. precision: 0
// float32, 1 tf32, 2 bfloat16, which x, w, dy and y then are. tile: rows, columns, terms, stages
// and warps, 0 chooses. schedule: bit 0 copies at once, bit 1 threads in descending order. flags:
// bit 0 transposes the weights, bit 1 reverses the offsets. Return 0, or 1 if a GPU would have
// objected.
extern "C" {

int sas_emulate_forward(const void* x, const void* w, const int32_t* nbr, const int32_t* order,
                        void* y, const int64_t* sizes, int flags, int precision, const int* tile,
                        int schedule) {
  const Options options{static_cast<Precision>(precision), TileOf(tile), schedule};
  return precision == 2 ? Forward<Bfloat16>(x, w, nbr, order, y, sizes, flags, options)
                        : Forward<float>(x, w, nbr, order, y, sizes, flags, options);
}

int sas_emulate_weight_grad(const void* x, const void* dy, const int32_t* nbr, float* dw,
                            float* partials, const int64_t* sizes, int precision, const int* tile,
                            int schedule) {
  const Options options{static_cast<Precision>(precision), TileOf(tile), schedule};
  return precision == 2 ? WeightGrad<Bfloat16>(x, dy, nbr, dw, partials, sizes, options)
                        : WeightGrad<float>(x, dy, nbr, dw, partials, sizes, options);
}

// Shapes of the forward on tensor cores, five numbers each as above; returns how many there are.
int sas_emulate_tensor_shapes(int precision, int* shapes) {
  return precision == 2 ? ListShapes<Bfloat16>(shapes) : ListShapes<float>(shapes);
}

const char* sas_emulate_error() { return sas::cuda::emulate::last_error.c_str(); }

int64_t sas_emulate_num_slabs(int64_t num_rows) { return sas::cuda::NumSlabs(num_rows); }

}  // extern "C"
