// The seam between the loops (compiled once) and the inner kernels (compiled per instruction set).
#ifndef SAS_JAX_KERNELS_CPU_ISA_H_
#define SAS_JAX_KERNELS_CPU_ISA_H_

#include <cstdint>

#include "gauss_tile.h"
#include "sas_conv.h"
#include "sas_norm.h"

namespace sas {

// Widest panel, in vectors, that any instruction set's kernels take.
constexpr int kMaxPanelVectors = 4;

// c[out[p]][0:width] (+)= a[in[p]][0:depth] * b, for every pair p.
template <class Element, class Weight = float>
struct PanelProduct {
  const int32_t* in;
  const int32_t* out;  // distinct rows
  int64_t count;
  const Element* a;
  int64_t lda;
  // Packed [depth][vectors * lanes], aligned to a vector, zero beyond width. Weights of Bf16 come
  // in pairs of depths: [ceil(depth / 2)][vectors * lanes][2], zero beyond depth.
  const Weight* b;
  int64_t depth;
  float* c;
  int64_t ldc;
  int64_t width;
  bool accumulate;  // false: c is overwritten
};

// dw[0:rows][0:width] += sum_p x[in[p]][0:rows]^T dy[out[p]][0:vectors * lanes].
template <class Element>
struct OuterProduct {
  const int32_t* in;
  const int32_t* out;
  int64_t count;
  const Element* x;
  int64_t ldx;
  const Element* dy;  // vectors * lanes elements can be read in every row
  int64_t ldy;
  float* dw;
  int64_t ldw;
  int64_t rows;
  int64_t width;
};

// Inner kernels, indexed by the panel's width in vectors - 1.
template <class Element>
struct PanelKernels {
  void (*product[kMaxPanelVectors])(const PanelProduct<Element>&);
  void (*outer[kMaxPanelVectors])(const OuterProduct<Element>&);
};

// Products of bfloat16 by bfloat16, for processors with an instruction for them; panels are as wide
// as those of the other kernels.
struct Bf16Products {
  void (*product[kMaxPanelVectors])(const PanelProduct<Bf16, Bf16>&);
  void (*round)(const float* from, int64_t count, Bf16* to);  // to nearest even
  // Rows [begin, end) of a normalisation, with the bits of every other instruction set.
  void (*normalize)(const Rows& rows, const NormalizeBf16& op, int64_t begin, int64_t end);
};

struct IsaKernels {
  const char* name;
  int lanes;          // floats in a vector
  int panel_vectors;  // preferred panel width, in vectors
  // Writes the pairs (nbr[i], first_row + i) that have nbr[i] >= 0 and returns how many there are.
  // `in` and `out` have room for n + 16 entries.
  int64_t (*compact)(const int32_t* nbr, int64_t n, int32_t first_row, int32_t* in, int32_t* out);
  PanelKernels<float> f32;
  PanelKernels<Bf16> bf16;  // the same widths as f32
  GaussKernels gauss;
};

// Values of SAS_JAX_ISA and of sas_set_isa. Auto takes the best one that this processor has.
enum class Isa : int { kAuto = 0, kGeneric = 1, kAvx2 = 2, kAvx512 = 3 };

const IsaKernels* GenericKernels();
const IsaKernels* Avx2Kernels();    // null where the compiler or the target lacks it
const IsaKernels* Avx512Kernels();  // likewise
const Bf16Products* Avx512Bf16Products();

// The kernels in use. SetIsa returns false, and changes nothing, if this processor lacks `isa`.
const IsaKernels& ActiveKernels();
bool SetIsa(Isa isa);

// Those that go with some kernels: with AVX-512's where AVX512_BF16 is there, else null.
const Bf16Products* Bf16ProductsOf(const IsaKernels& kernels);

}  // namespace sas

#endif  // SAS_JAX_KERNELS_CPU_ISA_H_
