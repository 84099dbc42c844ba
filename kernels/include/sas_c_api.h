// C entry points: what Python reaches through ctypes. Every function returns 0 on success.
#ifndef SAS_JAX_KERNELS_INCLUDE_SAS_C_API_H_
#define SAS_JAX_KERNELS_INCLUDE_SAS_C_API_H_

#include <cstdint>

// Raised with every change of an exported signature; sas_jax/native_library.py holds the same
// number.
#define SAS_ABI_VERSION 6

extern "C" {

int sas_abi_version();

// Instruction set of the convolution kernels: 0 the best there is, 1 generic, 2 AVX2, 3 AVX-512.
// Returns 1 if this processor lacks it. Process-wide; for tests and benchmarks.
int sas_set_isa(int isa);
const char* sas_isa_name();

// The convolutions of sas_conv.h with a given number of threads, without XLA. flags: bit 0
// transposes the weights, bit 1 reverses the offsets. A null nbr pairs row o with row o.
int sas_conv_forward(const float* x, const float* w, const int32_t* nbr, float* y,
                     int64_t num_offsets, int64_t c_in, int64_t c_out, int64_t nbr_stride,
                     int64_t num_out, int64_t capacity, int flags, int num_threads);
int sas_conv_weight_grad(const float* x, const float* dy, const int32_t* nbr, float* dw,
                         int64_t num_offsets, int64_t c_in, int64_t c_out, int64_t nbr_stride,
                         int64_t num_out, int num_threads);

// The same with bfloat16 rows, as bits; weights and their gradient are float.
int sas_conv_forward_bf16(const uint16_t* x, const float* w, const int32_t* nbr, uint16_t* y,
                          int64_t num_offsets, int64_t c_in, int64_t c_out, int64_t nbr_stride,
                          int64_t num_out, int64_t capacity, int flags, int num_threads);
int sas_conv_weight_grad_bf16(const uint16_t* x, const uint16_t* dy, const int32_t* nbr, float* dw,
                              int64_t num_offsets, int64_t c_in, int64_t c_out, int64_t nbr_stride,
                              int64_t num_out, int num_threads);

// The forward of bfloat16 rows with weights that are bfloat16, too, as bits. Returns 1 if the
// instruction set in use has no such products.
int sas_has_bf16_products();
int sas_conv_forward_bf16_products(const uint16_t* x, const uint16_t* w, const int32_t* nbr,
                                   uint16_t* y, int64_t num_offsets, int64_t c_in, int64_t c_out,
                                   int64_t nbr_stride, int64_t num_out, int64_t capacity, int flags,
                                   int num_threads);

// The functions of sas_plan.h; sas_plan_tables returns 1 for a null `transposed` without symmetry.
int sas_plan_sort_unique(const uint64_t* keys, int64_t n, uint64_t* unique, int32_t* first,
                         int64_t* num_unique);
int sas_plan_tables(const uint64_t* keys_in, int64_t num_in, const uint64_t* keys_out,
                    int64_t num_out, const uint64_t* deltas, int64_t num_offsets, uint64_t z_step,
                    int32_t* nbr, int64_t capacity_out, int32_t* transposed, int64_t capacity_in,
                    int num_threads);

// The functions of sas_gauss.h, without XLA.
int sas_gauss_forward(const float* means2d, const float* depths, const float* conics,
                      const float* opacities, const int32_t* radii, int64_t count, int64_t width,
                      int64_t height, int64_t channels, float alpha_cap, const float* features,
                      float* image, float* alpha, int num_threads);
int sas_gauss_feature_grad(const float* means2d, const float* depths, const float* conics,
                           const float* opacities, const int32_t* radii, int64_t count,
                           int64_t width, int64_t height, int64_t channels, float alpha_cap,
                           const float* dimage, float* dfeatures, int num_threads);
int sas_gauss_ellipse_grad(const float* means2d, const float* depths, const float* conics,
                           const float* opacities, const int32_t* radii, int64_t count,
                           int64_t width, int64_t height, int64_t channels, float alpha_cap,
                           const float* features, const float* dimage, const float* dalpha,
                           float* dfeatures, float* dmeans2d, float* dconics, float* dopacities,
                           int num_threads);

}  // extern "C"

#endif  // SAS_JAX_KERNELS_INCLUDE_SAS_C_API_H_
