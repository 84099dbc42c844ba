// XLA handlers for CUDA: unpack, check, enqueue. The mathematics is in the .cu files.
//
// Operands of both as in kernels/ffi/conv_handlers.cc, but in device memory: num_out cannot be
// checked here, the kernels clamp it. Besides, the forward takes `order`, a permutation of the
// output rows or [0] for none, and the weight gradient has a second result, its workspace
// [NumSlabs, K, C_in, C_out], or [0, ...] if one slab is enough. precision is "f32", "tf32" or
// "bf16": the last for rows of bfloat16, the others for float32.
#include <cstdint>
#include <string>
#include <string_view>

#include "sas_c_api.h"
#include "sas_conv_cuda.h"
#include "xla/ffi/api/ffi.h"

// What cudaStream_t points to; the handlers only pass it on, and need no header of CUDA for that.
struct CUstream_st;

namespace {

namespace ffi = xla::ffi;

using sas::cuda::Bfloat16;
using sas::cuda::Precision;
using Stream = CUstream_st*;
using Weights = ffi::Buffer<ffi::F32, 3>;
using Partials = ffi::Buffer<ffi::F32, 4>;
using Table = ffi::Buffer<ffi::S32, 2>;
using Order = ffi::Buffer<ffi::S32, 1>;
using Scalar = ffi::Buffer<ffi::S32, 0>;

ffi::Error Invalid(const char* op, const char* requirement) {
  return ffi::Error::InvalidArgument(std::string(op) + ": " + requirement);
}

ffi::Error Result(const char* op, const char* error) {
  if (error == nullptr) return ffi::Error::Success();
  return ffi::Error::Internal(std::string(op) + ": " + error);
}

bool IsIdentity(const Table& nbr) { return nbr.dimensions()[1] == 0; }

const int32_t* TableOrNull(const Table& nbr) {
  return IsIdentity(nbr) ? nullptr : nbr.typed_data();
}

ffi::ErrorOr<Precision> ParsePrecision(const char* op, std::string_view name) {
  if (name == "f32") return Precision::kF32;
  if (name == "tf32") return Precision::kTf32;
  if (name == "bf16") return Precision::kBf16;
  return ffi::Unexpected(Invalid(op, "precision must be f32, tf32 or bf16"));
}

ffi::Error CheckRows(const char* op, Precision precision, const ffi::AnyBuffer& rows) {
  const auto type = precision == Precision::kBf16 ? ffi::DataType::BF16 : ffi::DataType::F32;
  if (rows.element_type() != type) return Invalid(op, "rows must have the type of the precision");
  if (rows.dimensions().size() != 2) return Invalid(op, "rows must have two dimensions");
  return ffi::Error::Success();
}

bool IsAligned(const ffi::AnyBuffer& array) {
  return reinterpret_cast<uintptr_t>(array.untyped_data()) % 16 == 0;
}

ffi::Error CheckTable(const char* op, const Table& nbr, int64_t num_offsets, int64_t rows_in,
                      int64_t capacity) {
  const auto shape = nbr.dimensions();
  if (shape[0] != num_offsets) return Invalid(op, "nbr must have one row per offset of w");
  if (IsIdentity(nbr) && capacity != 0) {
    if (num_offsets != 1) return Invalid(op, "several offsets need a neighbour table");
    if (rows_in < capacity) return Invalid(op, "x must have as many rows as the output or more");
  } else if (shape[1] != capacity) {
    return Invalid(op, "nbr and the output rows must have the same capacity");
  }
  return ffi::Error::Success();
}

template <class T>
sas::cuda::ConvForwardOf<T> Forward(const ffi::AnyBuffer& x, const ffi::AnyBuffer& w,
                                    const Table& nbr, const Scalar& num_out, const Order& order,
                                    ffi::AnyBuffer& y, bool transpose_weights,
                                    bool reverse_offsets) {
  return {static_cast<const T*>(x.untyped_data()),
          static_cast<const T*>(w.untyped_data()),
          TableOrNull(nbr),
          order.dimensions()[0] == 0 ? nullptr : order.typed_data(),
          num_out.typed_data(),
          static_cast<T*>(y.untyped_data()),
          nbr.dimensions()[1],
          y.dimensions()[0],
          static_cast<int>(w.dimensions()[0]),
          static_cast<int>(x.dimensions()[1]),
          static_cast<int>(y.dimensions()[1]),
          transpose_weights,
          reverse_offsets};
}

ffi::Error ConvForward(Stream stream, ffi::AnyBuffer x, ffi::AnyBuffer w, Table nbr, Scalar num_out,
                       Order order, ffi::Result<ffi::AnyBuffer> y, bool transpose_weights,
                       bool reverse_offsets, std::string_view precision_name) {
  constexpr char kOp[] = "sas_conv_forward";
  ffi::ErrorOr<Precision> precision = ParsePrecision(kOp, precision_name);
  if (!precision.has_value()) return precision.error();
  for (const ffi::AnyBuffer& rows : {x, *y}) {
    ffi::Error error = CheckRows(kOp, *precision, rows);
    if (error.failure()) return error;
  }
  const auto w_shape = w.dimensions();
  if (w_shape.size() != 3) return Invalid(kOp, "w must have three dimensions");
  if (w.element_type() != x.element_type()) return Invalid(kOp, "w must have the type of x");
  const int64_t c_in = w_shape[transpose_weights ? 2 : 1];
  const int64_t c_out = w_shape[transpose_weights ? 1 : 2];
  const int64_t capacity = y->dimensions()[0];
  const int64_t num_ordered = order.dimensions()[0];
  if (x.dimensions()[1] != c_in) return Invalid(kOp, "x and w must agree in C_in");
  if (y->dimensions()[1] != c_out) return Invalid(kOp, "w and y must agree in C_out");
  if (num_ordered != 0 && num_ordered != capacity) {
    return Invalid(kOp, "order must have no rows or as many as the output");
  }
  ffi::Error error = CheckTable(kOp, nbr, w_shape[0], x.dimensions()[0], capacity);
  if (error.failure()) return error;
  const bool few = *precision == Precision::kTf32 && c_in <= sas::cuda::kFewChannels;
  if (*precision != Precision::kF32 && !few) {
    const bool fits = *precision == Precision::kBf16 ? sas::cuda::FitsTensorCores<Bfloat16>(c_in)
                                                     : sas::cuda::FitsTensorCores<float>(c_in);
    if (!fits || !transpose_weights || !IsAligned(x) || !IsAligned(w) || !IsAligned(*y)) {
      return Invalid(kOp,
                     "tensor cores take aligned rows of whole 16 bytes and transposed weights");
    }
  }
  const sas::cuda::Tile any;
  if (*precision == Precision::kBf16) {
    const auto conv =
        Forward<Bfloat16>(x, w, nbr, num_out, order, *y, transpose_weights, reverse_offsets);
    return Result(kOp, sas::cuda::RunForwardBf16(conv, any, stream));
  }
  const auto conv =
      Forward<float>(x, w, nbr, num_out, order, *y, transpose_weights, reverse_offsets);
  return Result(kOp, *precision == Precision::kTf32 ? sas::cuda::RunForwardTf32(conv, any, stream)
                                                    : sas::cuda::RunForwardF32(conv, any, stream));
}

template <class T>
sas::cuda::ConvWeightGradOf<T> WeightGrad(const ffi::AnyBuffer& x, const ffi::AnyBuffer& dy,
                                          const Table& nbr, const Scalar& num_out, Weights& dw,
                                          float* partials) {
  const auto shape = dw.dimensions();
  return {static_cast<const T*>(x.untyped_data()),
          static_cast<const T*>(dy.untyped_data()),
          TableOrNull(nbr),
          num_out.typed_data(),
          dw.typed_data(),
          partials,
          nbr.dimensions()[1],
          dy.dimensions()[0],
          static_cast<int>(shape[0]),
          static_cast<int>(shape[1]),
          static_cast<int>(shape[2])};
}

ffi::Error ConvWeightGrad(Stream stream, ffi::AnyBuffer x, ffi::AnyBuffer dy, Table nbr,
                          Scalar num_out, ffi::Result<Weights> dw, ffi::Result<Partials> partials,
                          std::string_view precision_name) {
  constexpr char kOp[] = "sas_conv_weight_grad";
  ffi::ErrorOr<Precision> precision = ParsePrecision(kOp, precision_name);
  if (!precision.has_value()) return precision.error();
  for (const ffi::AnyBuffer& rows : {x, dy}) {
    ffi::Error error = CheckRows(kOp, *precision, rows);
    if (error.failure()) return error;
  }
  const auto shape = dw->dimensions();
  const int64_t capacity = dy.dimensions()[0];
  if (x.dimensions()[1] != shape[1]) return Invalid(kOp, "x and dw must agree in C_in");
  if (dy.dimensions()[1] != shape[2]) return Invalid(kOp, "dy and dw must agree in C_out");
  const int64_t slabs = sas::cuda::NumSlabs(capacity);
  const bool split = slabs > 1;
  const auto room = partials->dimensions();
  if (room[0] != (split ? slabs : 0) ||
      (split && (room[1] != shape[0] || room[2] != shape[1] || room[3] != shape[2]))) {
    return Invalid(kOp, "the workspace must have room for every slab of the capacity");
  }
  ffi::Error error = CheckTable(kOp, nbr, shape[0], x.dimensions()[0], capacity);
  if (error.failure()) return error;
  float* workspace = split ? partials->typed_data() : nullptr;
  const sas::cuda::Tile any;
  if (*precision != Precision::kBf16) {
    const auto conv = WeightGrad<float>(x, dy, nbr, num_out, *dw, workspace);
    return Result(kOp, *precision == Precision::kTf32
                           ? sas::cuda::RunWeightGradTf32(conv, any, stream)
                           : sas::cuda::RunWeightGradF32(conv, any, stream));
  }
  const bool fits = sas::cuda::FitsTensorCores<Bfloat16>(static_cast<int>(shape[1])) &&
                    sas::cuda::FitsTensorCores<Bfloat16>(static_cast<int>(shape[2]));
  if (!fits || !IsAligned(x) || !IsAligned(dy)) {
    return Invalid(kOp, "tensor cores take aligned rows of whole 16 bytes");
  }
  const auto conv = WeightGrad<Bfloat16>(x, dy, nbr, num_out, *dw, workspace);
  return Result(kOp, sas::cuda::RunWeightGradBf16(conv, any, stream));
}

}  // namespace

// XLA may capture both into CUDA graphs: they only enqueue kernels.
XLA_FFI_DEFINE_HANDLER_SYMBOL(SasConvForward, ConvForward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::PlatformStream<Stream>>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<Table>()
                                  .Arg<Scalar>()
                                  .Arg<Order>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<bool>("transpose_weights")
                                  .Attr<bool>("reverse_offsets")
                                  .Attr<std::string_view>("precision"),
                              {ffi::Traits::kCmdBufferCompatible});

XLA_FFI_DEFINE_HANDLER_SYMBOL(SasConvWeightGrad, ConvWeightGrad,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::PlatformStream<Stream>>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<Table>()
                                  .Arg<Scalar>()
                                  .Ret<Weights>()
                                  .Ret<Partials>()
                                  .Attr<std::string_view>("precision"),
                              {ffi::Traits::kCmdBufferCompatible});

int sas_abi_version() { return SAS_ABI_VERSION; }
