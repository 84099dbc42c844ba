// Sparse convolution on CUDA: plain signatures, no XLA and no CUDA types.
//
// Notation and formulas are those of sas_conv.h. All pointers are device memory, num_out too: the
// host never learns how many rows are valid. Work is enqueued for the capacity; what lies beyond
// num_out returns early. Nothing allocates or waits, so calls can be captured into a CUDA graph.
//
// Every output element is summed in one fixed order that depends on shapes and num_out alone:
//   forward: for k ascending, for C_in ascending, one running float32 sum;
//   weight grad: slabs of rows (NumSlabs), inside a slab rows ascending, then slabs ascending.
#ifndef SAS_JAX_KERNELS_INCLUDE_SAS_CONV_CUDA_H_
#define SAS_JAX_KERNELS_INCLUDE_SAS_CONV_CUDA_H_

#include <cstdint>

#ifdef __CUDACC__
#define SAS_HOST_DEVICE __host__ __device__
#else
#define SAS_HOST_DEVICE
#endif

namespace sas::cuda {

// A bfloat16 as XLA keeps it.
struct Bfloat16 {
  uint16_t bits;
};

// How products are formed; sums are float32 in all. kTf32 rounds every factor to 11 significant
// bits, which is what tensor cores take of a float; weights come rounded. kBf16 is for rows and
// weights of bfloat16.
enum class Precision { kF32, kTf32, kBf16 };

// T: float or Bfloat16.
template <class T>
struct ConvForwardOf {
  const T* x;            // [rows of the input, c_in]; only rows named by nbr are read
  const T* w;            // [num_offsets, c_in, c_out], or [num_offsets, c_out, c_in] if transposed
  const int32_t* nbr;    // [num_offsets, nbr_stride]; null: one offset, row o pairs with row o
  const int32_t* order;  // any permutation of [0, capacity), in which rows share tiles; null: as
                         // they come. Results do not depend on it, speed does
  const int32_t* num_out;  // valid output rows
  T* y;                    // [capacity, c_out]; every row is written, rows >= num_out with zeros
  int64_t nbr_stride;
  int64_t capacity;
  int num_offsets;
  int c_in;
  int c_out;
  bool transpose_weights;
  bool reverse_offsets;  // row k of the table goes with W[num_offsets - 1 - k]
};

template <class T>
struct ConvWeightGradOf {
  const T* x;
  const T* dy;             // [capacity, c_out]; rows >= num_out are not read
  const int32_t* nbr;      // as above
  const int32_t* num_out;  // valid output rows
  float* dw;               // [num_offsets, c_in, c_out]; written
  float* partials;         // [NumSlabs(capacity), num_offsets, c_in, c_out], null for one slab
  int64_t nbr_stride;
  int64_t capacity;
  int num_offsets;
  int c_in;
  int c_out;
};

using ConvForward = ConvForwardOf<float>;
using ConvWeightGrad = ConvWeightGradOf<float>;

// Rows are cut into slabs by their number alone, so that sums do not depend on the capacity. The
// bound keeps `partials` small however large a batch is.
constexpr int64_t kMinSlabRows = 4096;
constexpr int64_t kMaxSlabs = 16;

SAS_HOST_DEVICE constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

SAS_HOST_DEVICE constexpr int64_t NumSlabs(int64_t num_rows) {
  const int64_t slabs = CeilDiv(num_rows, kMinSlabRows);
  return slabs < 1 ? 1 : slabs > kMaxSlabs ? kMaxSlabs : slabs;
}

// Rows of so few channels take no tiles, and are always multiplied exactly.
constexpr int kFewChannels = 4;

// Whether tensor cores can take rows of this many channels: they are copied in pieces of 16 bytes.
template <class T>
constexpr bool FitsTensorCores(int c_in) {
  return c_in > 0 && c_in % (16 / static_cast<int>(sizeof(T))) == 0;
}

// Rows and columns of a block's part of the result, and for forwards on tensor cores how it gets
// there: terms of a step, stages of the pipeline, warps. 0 chooses. Results do not depend on it,
// speed does.
struct Tile {
  int rows = 0;
  int columns = 0;
  int terms = 0;
  int stages = 0;
  int warps = 0;
};

// Enqueue on a stream, a cudaStream_t. Return null, or what CUDA says went wrong. On tensor cores
// (Tf32 of more than kFewChannels, Bf16) the forward takes transposed weights and a c_in that fits
// them; the weight gradient of bfloat16 needs c_in and c_out to fit.
const char* RunForwardF32(const ConvForward& conv, Tile tile, void* stream);
const char* RunForwardTf32(const ConvForward& conv, Tile tile, void* stream);
const char* RunForwardBf16(const ConvForwardOf<Bfloat16>& conv, Tile tile, void* stream);
const char* RunWeightGradF32(const ConvWeightGrad& conv, Tile tile, void* stream);
const char* RunWeightGradTf32(const ConvWeightGrad& conv, Tile tile, void* stream);
const char* RunWeightGradBf16(const ConvWeightGradOf<Bfloat16>& conv, Tile tile, void* stream);

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_INCLUDE_SAS_CONV_CUDA_H_
