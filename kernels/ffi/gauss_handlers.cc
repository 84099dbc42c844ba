// XLA handlers of images of Gaussians: unpack, check, call.
//
// Operands of all begin with means2d [G, 2], depths [G], conics [G, 3], opacities [G], all f32, and
// radii [G, 2] s32. Features are [G, C], images [H, W, C], alphas [H, W], f32. The gradient of
// features beside that of ellipses is [0, C] where it is not wanted.
#include <cstdint>

#include "sas_gauss.h"
#include "xla/ffi/api/ffi.h"
#include "xla_threads.h"

namespace {

namespace ffi = xla::ffi;

using Vector = ffi::Buffer<ffi::F32, 1>;
using Matrix = ffi::Buffer<ffi::F32, 2>;
using Image = ffi::Buffer<ffi::F32, 3>;
using Pairs = ffi::Buffer<ffi::S32, 2>;
using sas::Invalid;

struct Ellipses {
  Matrix means2d;
  Vector depths;
  Matrix conics;
  Vector opacities;
  Pairs radii;

  sas::GaussEllipses Data() const {
    return {means2d.typed_data(),   depths.typed_data(), conics.typed_data(),
            opacities.typed_data(), radii.typed_data(),  depths.dimensions()[0]};
  }
};

template <class Buffer>
bool Has(const Buffer& buffer, int64_t rows, int64_t columns) {
  return buffer.dimensions()[0] == rows && buffer.dimensions()[1] == columns;
}

ffi::Error Check(const char* op, const Ellipses& e, const Matrix& features, const Image& image) {
  const int64_t count = e.depths.dimensions()[0];
  if (!Has(e.means2d, count, 2) || !Has(e.conics, count, 3) || !Has(e.radii, count, 2) ||
      e.opacities.dimensions()[0] != count) {
    return Invalid(op,
                   "means2d [G, 2], depths [G], conics [G, 3], opacities [G] and radii [G, 2] "
                   "must be of the same Gaussians");
  }
  if (!Has(features, count, image.dimensions()[2])) {
    return Invalid(op, "features must be [G, C] with the channels of the image");
  }
  return ffi::Error::Success();
}

sas::GaussView ViewOf(const Image& image, float alpha_cap) {
  const auto shape = image.dimensions();
  return {shape[1], shape[0], shape[2], alpha_cap};
}

ffi::Error Forward(ffi::ThreadPool pool, Matrix means2d, Vector depths, Matrix conics,
                   Vector opacities, Pairs radii, Matrix features, ffi::Result<Image> image,
                   ffi::Result<Matrix> alpha, float alpha_cap) {
  constexpr char kOp[] = "sas_gauss_forward";
  const Ellipses ellipses{means2d, depths, conics, opacities, radii};
  ffi::Error error = Check(kOp, ellipses, features, *image);
  if (error.failure()) return error;
  if (!Has(*alpha, image->dimensions()[0], image->dimensions()[1])) {
    return Invalid(kOp, "image and alpha must be of one size");
  }
  return sas::RunOnXla(kOp, pool, [&](sas::Parallel& threads) {
    sas::RunGaussForward(ellipses.Data(), ViewOf(*image, alpha_cap),
                         {features.typed_data(), image->typed_data(), alpha->typed_data()},
                         threads);
  });
}

ffi::Error FeatureGrad(ffi::ThreadPool pool, Matrix means2d, Vector depths, Matrix conics,
                       Vector opacities, Pairs radii, Image dimage, ffi::Result<Matrix> dfeatures,
                       float alpha_cap) {
  constexpr char kOp[] = "sas_gauss_feature_grad";
  const Ellipses ellipses{means2d, depths, conics, opacities, radii};
  ffi::Error error = Check(kOp, ellipses, *dfeatures, dimage);
  if (error.failure()) return error;
  return sas::RunOnXla(kOp, pool, [&](sas::Parallel& threads) {
    sas::RunGaussFeatureGrad(ellipses.Data(), ViewOf(dimage, alpha_cap),
                             {dimage.typed_data(), dfeatures->typed_data()}, threads);
  });
}

ffi::Error EllipseGrad(ffi::ThreadPool pool, Matrix means2d, Vector depths, Matrix conics,
                       Vector opacities, Pairs radii, Matrix features, Image dimage, Matrix dalpha,
                       ffi::Result<Matrix> dfeatures, ffi::Result<Matrix> dmeans2d,
                       ffi::Result<Matrix> dconics, ffi::Result<Vector> dopacities,
                       float alpha_cap) {
  constexpr char kOp[] = "sas_gauss_ellipse_grad";
  const Ellipses ellipses{means2d, depths, conics, opacities, radii};
  ffi::Error error = Check(kOp, ellipses, features, dimage);
  if (error.failure()) return error;
  const Ellipses grads{*dmeans2d, depths, *dconics, *dopacities, radii};
  const bool with_features = dfeatures->dimensions()[0] != 0;
  error = Check(kOp, grads, with_features ? *dfeatures : features, dimage);
  if (error.failure()) return error;
  if (!Has(dalpha, dimage.dimensions()[0], dimage.dimensions()[1])) {
    return Invalid(kOp, "dimage and dalpha must be of one size");
  }
  return sas::RunOnXla(kOp, pool, [&](sas::Parallel& threads) {
    sas::RunGaussEllipseGrad(
        ellipses.Data(), ViewOf(dimage, alpha_cap),
        {features.typed_data(), dimage.typed_data(), dalpha.typed_data(),
         with_features ? dfeatures->typed_data() : nullptr, dmeans2d->typed_data(),
         dconics->typed_data(), dopacities->typed_data()},
        threads);
  });
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(SasGaussForward, Forward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Matrix>()
                                  .Arg<Vector>()
                                  .Arg<Matrix>()
                                  .Arg<Vector>()
                                  .Arg<Pairs>()
                                  .Arg<Matrix>()
                                  .Ret<Image>()
                                  .Ret<Matrix>()
                                  .Attr<float>("alpha_cap"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(SasGaussFeatureGrad, FeatureGrad,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Matrix>()
                                  .Arg<Vector>()
                                  .Arg<Matrix>()
                                  .Arg<Vector>()
                                  .Arg<Pairs>()
                                  .Arg<Image>()
                                  .Ret<Matrix>()
                                  .Attr<float>("alpha_cap"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(SasGaussEllipseGrad, EllipseGrad,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Matrix>()
                                  .Arg<Vector>()
                                  .Arg<Matrix>()
                                  .Arg<Vector>()
                                  .Arg<Pairs>()
                                  .Arg<Matrix>()
                                  .Arg<Image>()
                                  .Arg<Matrix>()
                                  .Ret<Matrix>()
                                  .Ret<Matrix>()
                                  .Ret<Matrix>()
                                  .Ret<Vector>()
                                  .Attr<float>("alpha_cap"));
