// XLA handler of the normalisation of bfloat16 rows: unpack, check, call. Operands are those of
// sas_normalize (norm_handlers.cc), with rows of bf16.
#include "sas_norm.h"
#include "xla/ffi/api/ffi.h"
#include "xla_threads.h"

namespace {

namespace ffi = xla::ffi;

using Matrix = ffi::Buffer<ffi::BF16, 2>;
using Vector = ffi::Buffer<ffi::F32, 1>;
using Scalar = ffi::Buffer<ffi::S32, 0>;
using sas::Invalid;

sas::Bf16* Data(const Matrix& x) { return reinterpret_cast<sas::Bf16*>(x.typed_data()); }

ffi::Error Normalize(ffi::ThreadPool pool, Matrix x, Vector center, Vector gain, Vector bias,
                     Matrix residual, Scalar num_rows, ffi::Result<Matrix> y, bool rectify) {
  constexpr char kOp[] = "sas_normalize_bf16";
  const sas::Rows rows = {*num_rows.typed_data(), x.dimensions()[0], x.dimensions()[1]};
  if (rows.num_rows < 0 || rows.num_rows > rows.capacity) {
    return Invalid(kOp, "num_rows must be within the capacity");
  }
  auto fits = [&](const Matrix& other) {
    return other.dimensions()[0] == rows.capacity && other.dimensions()[1] == rows.channels;
  };
  if (!fits(*y)) return Invalid(kOp, "x and y must have the same shape");
  const bool absent = residual.dimensions()[0] == 0;
  if (!absent && !fits(residual)) {
    return Invalid(kOp, "the residual must have no rows or the shape of x");
  }
  for (const Vector& vector : {center, gain, bias}) {
    if (vector.dimensions()[0] != rows.channels) {
      return Invalid(kOp, "vectors must have one entry per channel");
    }
  }
  return sas::RunOnXla(kOp, pool, [&](sas::Parallel& threads) {
    sas::RunNormalizeBf16(rows,
                          {Data(x), center.typed_data(), gain.typed_data(), bias.typed_data(),
                           absent ? nullptr : Data(residual), rectify, Data(*y)},
                          threads);
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(SasNormalizeBf16, Normalize,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Matrix>()
                                  .Arg<Vector>()
                                  .Arg<Vector>()
                                  .Arg<Vector>()
                                  .Arg<Matrix>()
                                  .Arg<Scalar>()
                                  .Ret<Matrix>()
                                  .Attr<bool>("rectify"));
