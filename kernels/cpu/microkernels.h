// The inner kernels, written once on the compiler's vector type and compiled per instruction set.
//
// A file that includes this defines SAS_ISA (namespace), SAS_LANES (floats per vector) and
// SAS_REGISTERS (vector registers). Everything lives in an anonymous namespace: two instruction
// sets must never share an inline function, or the linker would keep either one's machine code for
// both.
//
// Arguments are copied (passed by value): Vec may alias anything, so a store through it would
// otherwise make the compiler read them again.
//
// Both kernels hold a block of sums in registers: `Rows x Vectors` accumulators, one row of vectors
// of the streamed operand, and a broadcast. Rows of a, c, x and dy are reached through the pair
// lists, so no row is ever copied into or out of a buffer.
#ifndef SAS_JAX_KERNELS_CPU_MICROKERNELS_H_
#define SAS_JAX_KERNELS_CPU_MICROKERNELS_H_

#include <cstdint>
#include <cstring>

#include "isa.h"

namespace sas {
namespace {

constexpr int kLanes = SAS_LANES;
typedef float Vec __attribute__((vector_size(SAS_LANES * 4), aligned(4), may_alias));

inline Vec Load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
inline float Widen(float value) { return value; }

typedef uint16_t HalfVec __attribute__((vector_size(SAS_LANES * 2), aligned(2), may_alias));
typedef uint32_t BitsVec __attribute__((vector_size(SAS_LANES * 4)));

// A bfloat16 is widened by placing its bits above 16 zeros.
inline Vec Load(const Bf16* p) {
  const HalfVec halves = *reinterpret_cast<const HalfVec*>(p);
  return reinterpret_cast<Vec>(__builtin_convertvector(halves, BitsVec) << 16);
}
inline float Widen(Bf16 value) {
  const uint32_t bits = uint32_t{value.bits} << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof(wide));
  return wide;
}

inline void Store(float* p, Vec v) { *reinterpret_cast<Vec*>(p) = v; }

// Rows of the register block for a panel of `vectors`: sums, streamed vectors and one broadcast
// fill the register file (32: 12 x 1, 12 x 2, 8 x 3, 6 x 4; 16: 12 x 1, 6 x 2), so each load feeds
// several sums.
constexpr int BlockRows(int vectors) {
  if (vectors == 1) return 12;
  return (SAS_REGISTERS == 32 ? 24 : 12) / vectors;
}

// Adds (or stores) one row of sums. A width that ends inside a vector goes through a buffer.
template <int Vectors>
inline void WriteRow(float* c, const Vec* sums, int64_t width, bool accumulate) {
  if (width == Vectors * kLanes) {
    if (accumulate) {
      for (int v = 0; v < Vectors; ++v) Store(c + v * kLanes, Load(c + v * kLanes) + sums[v]);
    } else {
      for (int v = 0; v < Vectors; ++v) Store(c + v * kLanes, sums[v]);
    }
    return;
  }
  float buffer[Vectors * kLanes];
  for (int v = 0; v < Vectors; ++v) Store(buffer + v * kLanes, sums[v]);
  for (int64_t j = 0; j < width; ++j) c[j] = accumulate ? c[j] + buffer[j] : buffer[j];
}

template <int Rows, int Vectors, class Element>
inline void ProductBlock(const PanelProduct<Element> p, const int32_t* in, const int32_t* out) {
  Vec sums[Rows][Vectors] = {};
  const Element* a[Rows];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) a[r] = p.a + in[r] * p.lda;
  const float* b = p.b;
  for (int64_t d = 0; d < p.depth; ++d, b += Vectors * kLanes) {
    Vec panel[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) panel[v] = Load(b + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sums[r][v] += Widen(a[r][d]) * panel[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
    WriteRow<Vectors>(p.c + out[r] * p.ldc, sums[r], p.width, p.accumulate);
  }
}

// Few input channels (the first layer): the panel stays in registers, and pairs pass one by one.
// The sums are the same bits as ProductBlock's.
template <int Depth, int Vectors, class Element>
inline void NarrowProduct(const PanelProduct<Element> p) {
  Vec panel[Depth][Vectors];
#pragma GCC unroll 4
  for (int d = 0; d < Depth; ++d) {
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) panel[d][v] = Load(p.b + (d * Vectors + v) * kLanes);
  }
  for (int64_t i = 0; i < p.count; ++i) {
    const Element* a = p.a + p.in[i] * p.lda;
    Vec sums[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) sums[v] = Widen(a[0]) * panel[0][v];
#pragma GCC unroll 4
    for (int d = 1; d < Depth; ++d) {
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sums[v] += Widen(a[d]) * panel[d][v];
    }
    WriteRow<Vectors>(p.c + p.out[i] * p.ldc, sums, p.width, p.accumulate);
  }
}

template <int Rows, int Vectors, class Element>
inline void OuterBlock(const OuterProduct<Element> p, int64_t row) {
  Vec sums[Rows][Vectors] = {};
  const Element* x = p.x + row;
  for (int64_t i = 0; i < p.count; ++i) {
    const Element* left = x + p.in[i] * p.ldx;
    const Element* right = p.dy + p.out[i] * p.ldy;
    Vec panel[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) panel[v] = Load(right + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sums[r][v] += Widen(left[r]) * panel[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
    WriteRow<Vectors>(p.dw + (row + r) * p.ldw, sums[r], p.width, true);
  }
}

// Calls block<rows> for a row count known only at run time (1 <= rows <= Most).
template <int Most, template <int> class Block, class... Args>
inline void Dispatch(int rows, Args... args) {
  if constexpr (Most > 1) {
    if (rows < Most) return Dispatch<Most - 1, Block>(rows, args...);
  }
  Block<Most>::Run(args...);
}

// Cuts `count` rows into blocks of at most Most. The last two blocks share what is left evenly: a
// block of one or two rows has too few sums in flight to hide the latency of a multiply-add.
template <int Most, class Body>
inline void ForBlocks(int64_t count, Body body) {
  int64_t i = 0;
  for (; count - i >= 2 * Most || count - i == Most; i += Most) body(i, Most);
  const int64_t rest = count - i;
  if (rest > Most) {
    body(i, static_cast<int>((rest + 1) / 2));
    body(i + (rest + 1) / 2, static_cast<int>(rest / 2));
  } else if (rest > 0) {
    body(i, static_cast<int>(rest));
  }
}

template <int Vectors, class Element>
struct PanelOf {
  template <int Rows>
  struct Product {
    static void Run(const PanelProduct<Element>* p, int64_t i) {
      ProductBlock<Rows, Vectors>(*p, p->in + i, p->out + i);
    }
  };
  template <int Rows>
  struct Outer {
    static void Run(const OuterProduct<Element>* p, int64_t i) { OuterBlock<Rows, Vectors>(*p, i); }
  };

  static void RunProduct(const PanelProduct<Element>& p) {
    constexpr int kRows = BlockRows(Vectors);
    if (p.depth == 1) return NarrowProduct<1, Vectors>(p);
    if (p.depth == 3) return NarrowProduct<3, Vectors>(p);
    if (p.depth == 4) return NarrowProduct<4, Vectors>(p);
    ForBlocks<kRows>(p.count, [&p](int64_t i, int rows) { Dispatch<kRows, Product>(rows, &p, i); });
  }
  static void RunOuter(const OuterProduct<Element>& p) {
    constexpr int kRows = BlockRows(Vectors);
    ForBlocks<kRows>(p.rows, [&p](int64_t i, int rows) { Dispatch<kRows, Outer>(rows, &p, i); });
  }
};

template <class Element>
constexpr PanelKernels<Element> KernelsUpTo2() {
  return {{PanelOf<1, Element>::RunProduct, PanelOf<2, Element>::RunProduct, nullptr, nullptr},
          {PanelOf<1, Element>::RunOuter, PanelOf<2, Element>::RunOuter, nullptr, nullptr}};
}

template <class Element>
constexpr PanelKernels<Element> KernelsUpTo4() {
  return {{PanelOf<1, Element>::RunProduct, PanelOf<2, Element>::RunProduct,
           PanelOf<3, Element>::RunProduct, PanelOf<4, Element>::RunProduct},
          {PanelOf<1, Element>::RunOuter, PanelOf<2, Element>::RunOuter,
           PanelOf<3, Element>::RunOuter, PanelOf<4, Element>::RunOuter}};
}

inline int64_t CompactScalar(const int32_t* nbr, int64_t n, int32_t first_row, int32_t* in,
                             int32_t* out) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) {
    in[count] = nbr[i];
    out[count] = first_row + static_cast<int32_t>(i);
    count += nbr[i] >= 0;
  }
  return count;
}

}  // namespace
}  // namespace sas

#endif  // SAS_JAX_KERNELS_CPU_MICROKERNELS_H_
