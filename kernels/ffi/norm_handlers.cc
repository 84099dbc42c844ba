// XLA handlers of the normalisation: unpack, check, call.
//
// Arrays of rows are [capacity, channels] f32, vectors [channels] f32, num_rows a s32 scalar. An
// array that an operation can do without (residual, gate, dresidual) has capacity 0 then. Gates are
// [capacity, channels / 8 rounded up] u8.
#include <cstdint>
#include <initializer_list>

#include "sas_norm.h"
#include "xla/ffi/api/ffi.h"
#include "xla_threads.h"

namespace {

namespace ffi = xla::ffi;

using Matrix = ffi::Buffer<ffi::F32, 2>;
using Gate = ffi::Buffer<ffi::U8, 2>;
using Vector = ffi::Buffer<ffi::F32, 1>;
using Scalar = ffi::Buffer<ffi::S32, 0>;
using sas::Invalid;

sas::Rows RowsOf(const Matrix& x, const Scalar& num_rows) {
  return {*num_rows.typed_data(), x.dimensions()[0], x.dimensions()[1]};
}

template <class Buffer>
auto* OrNull(const Buffer& x) {
  return x.dimensions()[0] == 0 ? nullptr : x.typed_data();
}

ffi::Error Check(const char* op, const sas::Rows& rows, std::initializer_list<Matrix> required,
                 std::initializer_list<Matrix> optional, std::initializer_list<Vector> vectors,
                 std::initializer_list<Gate> gates = {}) {
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
  for (const Gate& gate : gates) {
    if (gate.dimensions()[0] == 0) continue;
    if (gate.dimensions()[0] != rows.capacity || gate.dimensions()[1] != rows.GateBytes()) {
      return Invalid(op, "gates must have no rows or a bit for every value");
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

// Of `after` nothing is read: an operation that computes rows again waits for it, and is not the
// same to XLA as the one that computed them first.
ffi::Error Normalize(ffi::ThreadPool pool, Matrix x, Vector center, Vector gain, Vector bias,
                     Matrix residual, Scalar num_rows, ffi::AnyBuffer after, ffi::Result<Matrix> y,
                     ffi::Result<Gate> gate, bool rectify) {
  constexpr char kOp[] = "sas_normalize";
  const sas::Rows rows = RowsOf(x, num_rows);
  ffi::Error error = Check(kOp, rows, {x, *y}, {residual}, {center, gain, bias}, {*gate});
  if (error.failure()) return error;
  return sas::RunOnXla(kOp, pool, [&](sas::Parallel& threads) {
    sas::RunNormalize(rows,
                      {x.typed_data(), center.typed_data(), gain.typed_data(), bias.typed_data(),
                       OrNull(residual), rectify, y->typed_data(), OrNull(*gate)},
                      threads);
  });
}

ffi::Error NormalizeSums(ffi::ThreadPool pool, Matrix dy, Matrix x, Gate gate, Vector center,
                         Scalar num_rows, ffi::Result<Vector> sum, ffi::Result<Vector> weighted) {
  constexpr char kOp[] = "sas_normalize_sums";
  const sas::Rows rows = RowsOf(x, num_rows);
  ffi::Error error = Check(kOp, rows, {x, dy}, {}, {center, *sum, *weighted}, {gate});
  if (error.failure()) return error;
  return sas::RunOnXla(kOp, pool, [&](sas::Parallel& threads) {
    sas::RunNormalizeSums(rows,
                          {dy.typed_data(), x.typed_data(), OrNull(gate), center.typed_data(),
                           sum->typed_data(), weighted->typed_data()},
                          threads);
  });
}

ffi::Error NormalizeGrad(ffi::ThreadPool pool, Matrix dy, Matrix x, Gate gate, Vector center,
                         Vector gain, Vector slope, Vector shift, Scalar num_rows,
                         ffi::Result<Matrix> dx, ffi::Result<Matrix> dresidual) {
  constexpr char kOp[] = "sas_normalize_grad";
  const sas::Rows rows = RowsOf(x, num_rows);
  ffi::Error error =
      Check(kOp, rows, {x, dy, *dx}, {*dresidual}, {center, gain, slope, shift}, {gate});
  if (error.failure()) return error;
  return sas::RunOnXla(kOp, pool, [&](sas::Parallel& threads) {
    sas::RunNormalizeGrad(
        rows,
        {dy.typed_data(), x.typed_data(), OrNull(gate), center.typed_data(), gain.typed_data(),
         slope.typed_data(), shift.typed_data(), dx->typed_data(), OrNull(*dresidual)},
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
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<Matrix>()
                                  .Ret<Gate>()
                                  .Attr<bool>("rectify"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(SasNormalizeSums, NormalizeSums,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Matrix>()
                                  .Arg<Matrix>()
                                  .Arg<Gate>()
                                  .Arg<Vector>()
                                  .Arg<Scalar>()
                                  .Ret<Vector>()
                                  .Ret<Vector>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(SasNormalizeGrad, NormalizeGrad,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Matrix>()
                                  .Arg<Matrix>()
                                  .Arg<Gate>()
                                  .Arg<Vector>()
                                  .Arg<Vector>()
                                  .Arg<Vector>()
                                  .Arg<Vector>()
                                  .Arg<Scalar>()
                                  .Ret<Matrix>()
                                  .Ret<Matrix>());
