#include <new>

#include "isa.h"
#include "sas_c_api.h"
#include "sas_conv.h"
#include "sas_gauss.h"
#include "sas_plan.h"

namespace {

constexpr int kOutOfMemory = 2;

const sas::Bf16* AsBf16(const uint16_t* bits) { return reinterpret_cast<const sas::Bf16*>(bits); }
sas::Bf16* AsBf16(uint16_t* bits) { return reinterpret_cast<sas::Bf16*>(bits); }

template <class Body>
int Guard(Body body) {
  try {
    body();
  } catch (const std::bad_alloc&) {
    return kOutOfMemory;
  }
  return 0;
}

}  // namespace

extern "C" {

int sas_abi_version() { return SAS_ABI_VERSION; }

int sas_set_isa(int isa) {
  if (isa < 0 || isa > static_cast<int>(sas::Isa::kAvx512)) return 1;
  return sas::SetIsa(static_cast<sas::Isa>(isa)) ? 0 : 1;
}

const char* sas_isa_name() { return sas::ActiveKernels().name; }

int sas_conv_forward(const float* x, const float* w, const int32_t* nbr, float* y,
                     int64_t num_offsets, int64_t c_in, int64_t c_out, int64_t nbr_stride,
                     int64_t num_out, int64_t capacity, int flags, int num_threads) {
  return Guard([&] {
    sas::OwnThreads threads(num_threads);
    sas::RunForward<float>({x, w, nbr, y, num_offsets, c_in, c_out, nbr_stride, num_out, capacity,
                            (flags & 1) != 0, (flags & 2) != 0},
                           threads);
  });
}

int sas_conv_forward_bf16(const uint16_t* x, const float* w, const int32_t* nbr, uint16_t* y,
                          int64_t num_offsets, int64_t c_in, int64_t c_out, int64_t nbr_stride,
                          int64_t num_out, int64_t capacity, int flags, int num_threads) {
  return Guard([&] {
    sas::OwnThreads threads(num_threads);
    sas::RunForward<sas::Bf16>({AsBf16(x), w, nbr, AsBf16(y), num_offsets, c_in, c_out, nbr_stride,
                                num_out, capacity, (flags & 1) != 0, (flags & 2) != 0},
                               threads);
  });
}

int sas_has_bf16_products() { return sas::HasBf16Products() ? 1 : 0; }

int sas_conv_forward_bf16_products(const uint16_t* x, const uint16_t* w, const int32_t* nbr,
                                   uint16_t* y, int64_t num_offsets, int64_t c_in, int64_t c_out,
                                   int64_t nbr_stride, int64_t num_out, int64_t capacity, int flags,
                                   int num_threads) {
  if (!sas::HasBf16Products()) return 1;
  return Guard([&] {
    sas::OwnThreads threads(num_threads);
    sas::RunForward<sas::Bf16, sas::Bf16>(
        {AsBf16(x), AsBf16(w), nbr, AsBf16(y), num_offsets, c_in, c_out, nbr_stride, num_out,
         capacity, (flags & 1) != 0, (flags & 2) != 0},
        threads);
  });
}

int sas_conv_weight_grad(const float* x, const float* dy, const int32_t* nbr, float* dw,
                         int64_t num_offsets, int64_t c_in, int64_t c_out, int64_t nbr_stride,
                         int64_t num_out, int num_threads) {
  return Guard([&] {
    sas::OwnThreads threads(num_threads);
    sas::RunWeightGrad<float>({x, dy, nbr, dw, num_offsets, c_in, c_out, nbr_stride, num_out},
                              threads);
  });
}

int sas_conv_weight_grad_bf16(const uint16_t* x, const uint16_t* dy, const int32_t* nbr, float* dw,
                              int64_t num_offsets, int64_t c_in, int64_t c_out, int64_t nbr_stride,
                              int64_t num_out, int num_threads) {
  return Guard([&] {
    sas::OwnThreads threads(num_threads);
    sas::RunWeightGrad<sas::Bf16>(
        {AsBf16(x), AsBf16(dy), nbr, dw, num_offsets, c_in, c_out, nbr_stride, num_out}, threads);
  });
}

int sas_plan_sort_unique(const uint64_t* keys, int64_t n, uint64_t* unique, int32_t* first,
                         int64_t* num_unique) {
  return Guard([&] { *num_unique = sas::SortUnique(keys, n, unique, first); });
}

int sas_plan_tables(const uint64_t* keys_in, int64_t num_in, const uint64_t* keys_out,
                    int64_t num_out, const uint64_t* deltas, int64_t num_offsets, uint64_t z_step,
                    int32_t* nbr, int64_t capacity_out, int32_t* transposed, int64_t capacity_in,
                    int num_threads) {
  bool valid = true;
  const int status = Guard([&] {
    sas::OwnThreads threads(num_threads);
    valid = sas::FillTables({keys_in, num_in, keys_out, num_out, deltas, num_offsets, z_step, nbr,
                             capacity_out, transposed, capacity_in},
                            threads);
  });
  return valid ? status : 1;
}

int sas_gauss_forward(const float* means2d, const float* depths, const float* conics,
                      const float* opacities, const int32_t* radii, int64_t count, int64_t width,
                      int64_t height, int64_t channels, float alpha_cap, const float* features,
                      float* image, float* alpha, int num_threads) {
  return Guard([&] {
    sas::OwnThreads threads(num_threads);
    sas::RunGaussForward({means2d, depths, conics, opacities, radii, count},
                         {width, height, channels, alpha_cap}, {features, image, alpha}, threads);
  });
}

int sas_gauss_feature_grad(const float* means2d, const float* depths, const float* conics,
                           const float* opacities, const int32_t* radii, int64_t count,
                           int64_t width, int64_t height, int64_t channels, float alpha_cap,
                           const float* dimage, float* dfeatures, int num_threads) {
  return Guard([&] {
    sas::OwnThreads threads(num_threads);
    sas::RunGaussFeatureGrad({means2d, depths, conics, opacities, radii, count},
                             {width, height, channels, alpha_cap}, {dimage, dfeatures}, threads);
  });
}

int sas_gauss_ellipse_grad(const float* means2d, const float* depths, const float* conics,
                           const float* opacities, const int32_t* radii, int64_t count,
                           int64_t width, int64_t height, int64_t channels, float alpha_cap,
                           const float* features, const float* dimage, const float* dalpha,
                           float* dfeatures, float* dmeans2d, float* dconics, float* dopacities,
                           int num_threads) {
  return Guard([&] {
    sas::OwnThreads threads(num_threads);
    sas::RunGaussEllipseGrad(
        {means2d, depths, conics, opacities, radii, count}, {width, height, channels, alpha_cap},
        {features, dimage, dalpha, dfeatures, dmeans2d, dconics, dopacities}, threads);
  });
}

}  // extern "C"
