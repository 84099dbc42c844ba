// XLA handlers of the normalisation: unpack, check, call.
//
// Arrays of rows are [capacity, channels] f32, vectors [channels] f32, num_rows a s32 scalar. An
// array that an operation can do without (residual, y, dresidual) has capacity 0 then.
#include <cstdint>
#include <initializer_list>

#include "sas_norm.h"
#include "xla/ffi/api/ffi.h"
#include "xla_threads.h"

namespace {

namespace ffi = xla::ffi;

using Matrix = ffi::Buffer<ffi::F32, 2>;
using Vector = ffi::Buffer<ffi::F32, 1>;
using Scalar = ffi::Buffer<ffi::S32, 0>;
using sas::Invalid;

sas::Rows RowsOf(const Matrix& x, const Scalar& num_rows) {
  return {*num_rows.typed_data(), x.dimensions()[0], x.dimensions()[1]};
}

const float* OrNull(const Matrix& x) { return x.dimensions()[0] == 0 ? nullptr : x.typed_data(); }

ffi::Error Check(const char* op, const sas::Rows& rows, std::initializer_list<Matrix> required,
                 std::initializer_list<Matrix> optional, std::initializer_list<Vector> vectors) {
  if (rows.num_rows < 0 || rows.num_rows > rows.capacity) {
    return Invalid(op, "num_rows must be within the capacity");
  }
  auto fits = [&](const Matrix& x) {
    return x.dimensions()[0] == rows.capacity && x.dimensions()[1] == rows.channels;
  };
  for (const Matrix& x : required) {
    if (!fits(x)) return Invalid(op, "arrays of rows must have the same shape");
  }
  for (const Matrix& x : optional) {
    if (x.dimensions()[0] != 0 && !fits(x)) {
      return Invalid(op, "optional arrays must have no rows or the common shape");
    }
  }
  for (const Vector& vector : vectors) {
    if (vector.dimensions()[0] != rows.channels) {
      return Invalid(op, "vectors must have one entry per channel");
    }
  }
  return ffi::Error::Success();
}

ffi::Error Moments(ffi::ThreadPool pool, Matrix x, Scalar num_rows, ffi::Result<Vector> mean,
                   ffi::Result<Vector> squares) {
  constexpr char kOp[] = "sas_moments";
  const sas::Rows rows = RowsOf(x, num_rows);
  ffi::Error error = Check(kOp, rows, {x}, {}, {*mean, *squares});
  if (error.failure()) return error;
  return sas::RunOnXla(kOp, pool, [&](sas::Parallel& threads) {
    sas::RunMoments(rows, x.typed_data(), mean->typed_data(), squares->typed_data(), threads);
  });
}

ffi::Error Normalize(ffi::ThreadPool pool, Matrix x, Vector center, Vector gain, Vector bias,
                     Matrix residual, Scalar num_rows, ffi::Result<Matrix> y, bool rectify) {
  constexpr char kOp[] = "sas_normalize";
  const sas::Rows rows = RowsOf(x, num_rows);
  ffi::Error error = Check(kOp, rows, {x, *y}, {residual}, {center, gain, bias});
  if (error.failure()) return error;
  return sas::RunOnXla(kOp, pool, [&](sas::Parallel& threads) {
    sas::RunNormalize(rows,
                      {x.typed_data(), center.typed_data(), gain.typed_data(), bias.typed_data(),
                       OrNull(residual), rectify, y->typed_data()},
                      threads);
  });
}

ffi::Error NormalizeSums(ffi::ThreadPool pool, Matrix dy, Matrix x, Matrix y, Vector center,
                         Scalar num_rows, ffi::Result<Vector> sum, ffi::Result<Vector> weighted) {
  constexpr char kOp[] = "sas_normalize_sums";
  const sas::Rows rows = RowsOf(x, num_rows);
  ffi::Error error = Check(kOp, rows, {x, dy}, {y}, {center, *sum, *weighted});
  if (error.failure()) return error;
  return sas::RunOnXla(kOp, pool, [&](sas::Parallel& threads) {
    sas::RunNormalizeSums(rows,
                          {dy.typed_data(), x.typed_data(), OrNull(y), center.typed_data(),
                           sum->typed_data(), weighted->typed_data()},
                          threads);
  });
}

ffi::Error NormalizeGrad(ffi::ThreadPool pool, Matrix dy, Matrix x, Matrix y, Vector center,
                         Vector gain, Vector slope, Vector shift, Scalar num_rows,
                         ffi::Result<Matrix> dx, ffi::Result<Matrix> dresidual) {
  constexpr char kOp[] = "sas_normalize_grad";
  const sas::Rows rows = RowsOf(x, num_rows);
  ffi::Error error = Check(kOp, rows, {x, dy, *dx}, {y, *dresidual}, {center, gain, slope, shift});
  if (error.failure()) return error;
  return sas::RunOnXla(kOp, pool, [&](sas::Parallel& threads) {
    float* dresidual_data = dresidual->dimensions()[0] == 0 ? nullptr : dresidual->typed_data();
    sas::RunNormalizeGrad(
        rows,
        {dy.typed_data(), x.typed_data(), OrNull(y), center.typed_data(), gain.typed_data(),
         slope.typed_data(), shift.typed_data(), dx->typed_data(), dresidual_data},
        threads);
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(SasMoments, Moments,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Matrix>()
                                  .Arg<Scalar>()
                                  .Ret<Vector>()
                                  .Ret<Vector>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(SasNormalize, Normalize,
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

XLA_FFI_DEFINE_HANDLER_SYMBOL(SasNormalizeSums, NormalizeSums,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Matrix>()
                                  .Arg<Matrix>()
                                  .Arg<Matrix>()
                                  .Arg<Vector>()
                                  .Arg<Scalar>()
                                  .Ret<Vector>()
                                  .Ret<Vector>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(SasNormalizeGrad, NormalizeGrad,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Matrix>()
                                  .Arg<Matrix>()
                                  .Arg<Matrix>()
                                  .Arg<Vector>()
                                  .Arg<Vector>()
                                  .Arg<Vector>()
                                  .Arg<Vector>()
                                  .Arg<Scalar>()
                                  .Ret<Matrix>()
                                  .Ret<Matrix>());
