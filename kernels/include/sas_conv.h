// Sparse convolution on the CPU: plain signatures, no XLA types.
//
// Notation: K offsets, C_in and C_out channels, N_out valid output rows. nbr[k][o] is the input row
// that offset k pairs with output row o, or -1. All arrays are dense, row-major.
//   forward      y[o]  = sum_k W[k]^T x[nbr[k][o]]
//   weight grad  dW[k] = sum_o x[nbr[k][o]] dy[o]^T
// The gradient of x is the forward of dy over the transposed table with transpose_weights = true.
// A table that is its own mirror image needs no transposed copy: reverse_offsets pairs it with W
// reversed.
//
// Elements of x, dy and y are float, or bfloat16 that is widened where it is loaded: weights, sums
// and weight gradients are float always, and a bfloat16 y is rounded once, to nearest even.
// Forwards also take bfloat16 weights, which an instruction of the processor multiplies by bfloat16
// rows. Products are exact and sums float again; denormal values are zero.
//
// Every output element is summed in one fixed order (below), whatever the thread count, tile sizes,
// instruction set with fused multiply-add, or capacity of the arrays:
//   forward: for k ascending { sum over C_in ascending, from 0 }, added to y in that order; with
//   bfloat16 weights C_in goes in pairs, 1, 0, 3, 2, ...;
//   weight grad: slabs of rows, inside a slab blocks of at most 4096 rows, inside a block rows
//   ascending.
#ifndef SAS_JAX_KERNELS_INCLUDE_SAS_CONV_H_
#define SAS_JAX_KERNELS_INCLUDE_SAS_CONV_H_

#include <cstdint>

#include "sas_bf16.h"
#include "sas_parallel.h"

namespace sas {

template <class Element, class Weight = float>
struct ConvForward {
  const Element* x;    // [rows of the input, c_in]; only rows named by nbr are read
  const Weight* w;     // [num_offsets, c_in, c_out], or [num_offsets, c_out, c_in] if transposed
  const int32_t* nbr;  // [num_offsets, nbr_stride]; null: one offset, row o pairs with row o
  Element* y;          // [capacity, c_out]; every row is written, rows >= num_out with zeros
  int64_t num_offsets;
  int64_t c_in;
  int64_t c_out;
  int64_t nbr_stride;  // elements between the table's rows
  int64_t num_out;     // valid output rows
  int64_t capacity;    // rows of y
  bool transpose_weights;
  bool reverse_offsets;  // row k of the table goes with W[num_offsets - 1 - k]
};

template <class Element>
struct ConvWeightGrad {
  const Element* x;    // [rows of the input, c_in]
  const Element* dy;   // [>= num_out, c_out]; rows >= num_out are not read
  const int32_t* nbr;  // as above
  float* dw;           // [num_offsets, c_in, c_out]; written
  int64_t num_offsets;
  int64_t c_in;
  int64_t c_out;
  int64_t nbr_stride;
  int64_t num_out;
};

// For float and Bf16; rows of Bf16 also with weights of Bf16, where HasBf16Products().
template <class Element, class Weight = float>
void RunForward(const ConvForward<Element, Weight>& conv, Parallel& parallel);
bool HasBf16Products();
template <class Element>
void RunWeightGrad(const ConvWeightGrad<Element>& conv, Parallel& parallel);

}  // namespace sas

#endif  // SAS_JAX_KERNELS_INCLUDE_SAS_CONV_H_
