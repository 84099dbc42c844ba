// XLA handlers: unpack, check, call. The mathematics is in kernels/cpu.
//
// Operands of both: features [rows, channels] f32 or bf16, then w [K, C_in, C_out] f32 (or bf16, as
// the features: their products) or dy, the neighbour table nbr [K, capacity] s32 ([1, 0] pairs row
// o with row o), and num_out, a s32 scalar.
#include <cstdint>

#include "sas_conv.h"
#include "xla/ffi/api/ffi.h"
#include "xla_threads.h"

namespace {

namespace ffi = xla::ffi;

using Features = ffi::AnyBuffer;
using Weights = ffi::AnyBuffer;
using WeightGrad = ffi::Buffer<ffi::F32, 3>;
using Table = ffi::Buffer<ffi::S32, 2>;
using Scalar = ffi::Buffer<ffi::S32, 0>;

using sas::Invalid;

constexpr char kForward[] = "sas_conv_forward";
constexpr char kWeightGrad[] = "sas_conv_weight_grad";

bool IsIdentity(const Table& nbr) { return nbr.dimensions()[1] == 0; }

// Checks that the arrays are matrices of one type, and calls body with a value of that type.
template <class Body>
ffi::Error ForElement(const char* op, const Features& x, const Features& other, Body body) {
  if (x.dimensions().size() != 2 || other.dimensions().size() != 2) {
    return Invalid(op, "features must have two dimensions");
  }
  if (x.element_type() != other.element_type()) {
    return Invalid(op, "features must be of one type");
  }
  if (x.element_type() == ffi::F32) return body(float{});
  if (x.element_type() == ffi::BF16) return body(sas::Bf16{});
  return Invalid(op, "features must be f32 or bf16");
}

template <class Element>
Element* Data(const Features& x) {
  return reinterpret_cast<Element*>(x.untyped_data());
}

// Checks what both operations have in common: table against offsets and rows.
ffi::Error CheckTable(const char* op, const Table& nbr, int64_t num_offsets, int64_t rows_in,
                      int64_t capacity, int64_t num_out) {
  const auto shape = nbr.dimensions();
  if (shape[0] != num_offsets) return Invalid(op, "nbr must have one row per offset of w");
  if (IsIdentity(nbr) && capacity != 0) {
    if (num_offsets != 1) return Invalid(op, "several offsets need a neighbour table");
    if (rows_in < num_out) return Invalid(op, "x must have num_out rows or more");
  } else if (shape[1] != capacity) {
    return Invalid(op, "nbr and the output rows must have the same capacity");
  }
  if (num_out < 0 || num_out > capacity) return Invalid(op, "num_out must be within the capacity");
  return ffi::Error::Success();
}

template <class Element, class Weight>
ffi::Error ForwardOf(ffi::ThreadPool pool, Features x, Weights w, Table nbr, Scalar num_out,
                     Features y, bool transpose_weights, bool reverse_offsets) {
  const auto w_shape = w.dimensions();
  if (w_shape.size() != 3) return Invalid(kForward, "w must have three dimensions");
  const int64_t c_in = w_shape[transpose_weights ? 2 : 1];
  const int64_t c_out = w_shape[transpose_weights ? 1 : 2];
  if (x.dimensions()[1] != c_in) return Invalid(kForward, "x and w must agree in C_in");
  if (y.dimensions()[1] != c_out) return Invalid(kForward, "w and y must agree in C_out");
  const int64_t rows = *num_out.typed_data();
  const int64_t capacity = y.dimensions()[0];
  ffi::Error error = CheckTable(kForward, nbr, w_shape[0], x.dimensions()[0], capacity, rows);
  if (error.failure()) return error;
  return sas::RunOnXla(kForward, pool, [&](sas::Parallel& threads) {
    sas::RunForward<Element, Weight>(
        {Data<Element>(x), Data<Weight>(w), IsIdentity(nbr) ? nullptr : nbr.typed_data(),
         Data<Element>(y), w_shape[0], c_in, c_out, nbr.dimensions()[1], rows, capacity,
         transpose_weights, reverse_offsets},
        threads);
  });
}

ffi::Error ConvForward(ffi::ThreadPool pool, Features x, Weights w, Table nbr, Scalar num_out,
                       ffi::Result<Features> y, bool transpose_weights, bool reverse_offsets) {
  return ForElement(kForward, x, *y, [&](auto element) {
    using Element = decltype(element);
    auto run = [&](auto* forward) {
      return forward(pool, x, w, nbr, num_out, *y, transpose_weights, reverse_offsets);
    };
    if (w.element_type() == ffi::F32) return run(ForwardOf<Element, float>);
    if (w.element_type() != x.element_type()) return Invalid(kForward, "w must be f32 or as x");
    if (!sas::HasBf16Products()) return Invalid(kForward, "bf16 weights need AVX512_BF16");
    return run(ForwardOf<sas::Bf16, sas::Bf16>);
  });
}

template <class Element>
ffi::Error WeightGradOf(ffi::ThreadPool pool, Features x, Features dy, Table nbr, Scalar num_out,
                        WeightGrad dw) {
  const auto shape = dw.dimensions();
  if (x.dimensions()[1] != shape[1]) return Invalid(kWeightGrad, "x and dw must agree in C_in");
  if (dy.dimensions()[1] != shape[2]) return Invalid(kWeightGrad, "dy and dw must agree in C_out");
  const int64_t rows = *num_out.typed_data();
  ffi::Error error =
      CheckTable(kWeightGrad, nbr, shape[0], x.dimensions()[0], dy.dimensions()[0], rows);
  if (error.failure()) return error;
  return sas::RunOnXla(kWeightGrad, pool, [&](sas::Parallel& threads) {
    sas::RunWeightGrad<Element>(
        {Data<Element>(x), Data<Element>(dy), IsIdentity(nbr) ? nullptr : nbr.typed_data(),
         dw.typed_data(), shape[0], shape[1], shape[2], nbr.dimensions()[1], rows},
        threads);
  });
}

ffi::Error ConvWeightGrad(ffi::ThreadPool pool, Features x, Features dy, Table nbr, Scalar num_out,
                          ffi::Result<WeightGrad> dw) {
  return ForElement(kWeightGrad, x, dy, [&](auto element) {
    return WeightGradOf<decltype(element)>(pool, x, dy, nbr, num_out, *dw);
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(SasConvForward, ConvForward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Features>()
                                  .Arg<Weights>()
                                  .Arg<Table>()
                                  .Arg<Scalar>()
                                  .Ret<Features>()
                                  .Attr<bool>("transpose_weights")
                                  .Attr<bool>("reverse_offsets"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(SasConvWeightGrad, ConvWeightGrad,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Features>()
                                  .Arg<Features>()
                                  .Arg<Table>()
                                  .Arg<Scalar>()
                                  .Ret<WeightGrad>());
