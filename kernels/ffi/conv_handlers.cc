// XLA handlers: unpack, check, call. The mathematics is in kernels/cpu.
//
// Operands of both: features [rows, channels] f32, then w [K, C_in, C_out] or dy, the neighbour
// table nbr [K, capacity] s32 ([1, 0] pairs row o with row o), and num_out, a s32 scalar.
#include <cstdint>

#include "sas_conv.h"
#include "xla/ffi/api/ffi.h"
#include "xla_threads.h"

namespace {

namespace ffi = xla::ffi;

using Features = ffi::Buffer<ffi::F32, 2>;
using Weights = ffi::Buffer<ffi::F32, 3>;
using Table = ffi::Buffer<ffi::S32, 2>;
using Scalar = ffi::Buffer<ffi::S32, 0>;

using sas::Invalid;

bool IsIdentity(const Table& nbr) { return nbr.dimensions()[1] == 0; }

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

ffi::Error ConvForward(ffi::ThreadPool pool, Features x, Weights w, Table nbr, Scalar num_out,
                       ffi::Result<Features> y, bool transpose_weights, bool reverse_offsets) {
  constexpr char kOp[] = "sas_conv_forward";
  const auto w_shape = w.dimensions();
  const int64_t c_in = w_shape[transpose_weights ? 2 : 1];
  const int64_t c_out = w_shape[transpose_weights ? 1 : 2];
  if (x.dimensions()[1] != c_in) return Invalid(kOp, "x and w must agree in C_in");
  if (y->dimensions()[1] != c_out) return Invalid(kOp, "w and y must agree in C_out");
  const int64_t rows = *num_out.typed_data();
  const int64_t capacity = y->dimensions()[0];
  ffi::Error error = CheckTable(kOp, nbr, w_shape[0], x.dimensions()[0], capacity, rows);
  if (error.failure()) return error;
  return sas::RunOnXla(kOp, pool, [&](sas::Parallel& threads) {
    sas::RunForward({x.typed_data(), w.typed_data(), IsIdentity(nbr) ? nullptr : nbr.typed_data(),
                     y->typed_data(), w_shape[0], c_in, c_out, nbr.dimensions()[1], rows, capacity,
                     transpose_weights, reverse_offsets},
                    threads);
  });
}

ffi::Error ConvWeightGrad(ffi::ThreadPool pool, Features x, Features dy, Table nbr, Scalar num_out,
                          ffi::Result<Weights> dw) {
  constexpr char kOp[] = "sas_conv_weight_grad";
  const auto shape = dw->dimensions();
  if (x.dimensions()[1] != shape[1]) return Invalid(kOp, "x and dw must agree in C_in");
  if (dy.dimensions()[1] != shape[2]) return Invalid(kOp, "dy and dw must agree in C_out");
  const int64_t rows = *num_out.typed_data();
  ffi::Error error = CheckTable(kOp, nbr, shape[0], x.dimensions()[0], dy.dimensions()[0], rows);
  if (error.failure()) return error;
  return sas::RunOnXla(kOp, pool, [&](sas::Parallel& threads) {
    sas::RunWeightGrad(
        {x.typed_data(), dy.typed_data(), IsIdentity(nbr) ? nullptr : nbr.typed_data(),
         dw->typed_data(), shape[0], shape[1], shape[2], nbr.dimensions()[1], rows},
        threads);
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
                                  .Ret<Weights>());
