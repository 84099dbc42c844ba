// Weight gradient: sums of outer products over the pairs of every offset.
//
// The rows are cut into slabs, at most eight and by num_out alone, and a slab into blocks of rows,
// by the channels alone, so that the order of the sums is the same for any thread count and
// capacity. A task owns one slab, a group of offsets and a range of input channels; block by block
// it adds the products of all its offsets, so rows of x and dy are fetched once per group. Its
// partial gradient stays in the cache. A second loop adds up the slabs' partial gradients.
#include <algorithm>
#include <cstring>

#include "conv_common.h"
#include "sas_conv.h"

namespace sas {
namespace {

constexpr int64_t kMaxSlabs = 8;
constexpr int64_t kMinSlabRows = 8192;
constexpr int64_t kCacheShare = 256 << 10;  // of the L2 cache, for rows and again for gradients
constexpr int64_t kReduceChunk = 1 << 14;

// Rows of x and dy that stay in the cache while all offsets of a group pass over them.
int64_t BlockRows(int64_t c_in, int64_t c_out) {
  const int64_t fits = kCacheShare / (4 * (c_in + c_out));
  return std::clamp<int64_t>(fits / 64 * 64, 256, 4096);
}

// How the work of a slab is cut. Sums do not depend on it, so it may depend on the number of
// threads.
struct Cut {
  int64_t group;   // offsets of a task, whose gradients stay in the cache too
  int64_t ranges;  // of input channels
};

template <class Element>
Cut ChooseCut(const ConvWeightGrad<Element>& conv, int64_t num_slabs, int num_threads) {
  const int64_t fits = kCacheShare / (4 * conv.c_in * conv.c_out);
  Cut cut = {std::clamp<int64_t>(fits, 1, conv.num_offsets), 1};
  const int64_t wanted_tasks = num_threads == 1 ? 1 : 8 * num_threads;
  auto tasks = [&] { return num_slabs * CeilDiv(conv.num_offsets, cut.group) * cut.ranges; };
  while (cut.group > 1 && tasks() < wanted_tasks) cut.group = CeilDiv(cut.group, 2);
  while (cut.ranges < CeilDiv(conv.c_in, 32) && tasks() < wanted_tasks) ++cut.ranges;
  return cut;
}

template <class Element>
class WeightGrad {
 public:
  WeightGrad(const ConvWeightGrad<Element>& conv, int num_threads)
      : conv_(conv),
        kernels_(ActiveKernels()),
        panels_(CutPanels(conv.c_out, kernels_)),
        num_slabs_(std::clamp<int64_t>(CeilDiv(conv.num_out, kMinSlabRows), 1, kMaxSlabs)),
        slab_rows_(CeilDiv(conv.num_out, num_slabs_)),
        block_rows_(BlockRows(conv.c_in, conv.c_out)),
        cut_(ChooseCut(conv, num_slabs_, num_threads)),
        num_weights_(conv.num_offsets * conv.c_in * conv.c_out),
        partials_(num_slabs_ == 1 ? 0 : sizeof(float) * num_slabs_ * num_weights_) {}

  void Run(Parallel& parallel) {
    const int64_t groups = CeilDiv(conv_.num_offsets, cut_.group);
    const int64_t per_slab = groups * cut_.ranges;
    parallel.For(num_slabs_ * per_slab, [&](int64_t i) {
      const int64_t range = i % cut_.ranges;
      RunTask(i / per_slab, i % per_slab / cut_.ranges, range * conv_.c_in / cut_.ranges,
              (range + 1) * conv_.c_in / cut_.ranges);
    });
    if (num_slabs_ == 1) return;
    parallel.For(CeilDiv(num_weights_, kReduceChunk), [&](int64_t i) {
      Reduce(i * kReduceChunk, std::min((i + 1) * kReduceChunk, num_weights_));
    });
  }

 private:
  float* Partial(int64_t slab) const {
    return num_slabs_ == 1 ? conv_.dw : partials_.As<float>() + slab * num_weights_;
  }

  // The gradients of input channels [first, last) of a group of offsets from the rows of one slab.
  void RunTask(int64_t slab, int64_t group, int64_t first, int64_t last) const {
    const int64_t begin = slab * slab_rows_;
    const int64_t end = std::min(begin + slab_rows_, conv_.num_out);
    const int64_t first_k = group * cut_.group;
    const int64_t last_k = std::min(first_k + cut_.group, conv_.num_offsets);
    float* dw = Partial(slab) + first * conv_.c_out;
    const int64_t offset_weights = conv_.c_in * conv_.c_out;
    for (int64_t k = first_k; k < last_k; ++k) {
      std::memset(dw + k * offset_weights, 0, sizeof(float) * (last - first) * conv_.c_out);
    }
    for (int64_t row = begin; row < end; row += block_rows_) {
      for (int64_t k = first_k; k < last_k; ++k) {
        AddBlock(k, row, std::min(row + block_rows_, end), first, last, dw + k * offset_weights);
      }
    }
  }

  // Adds to dw the products of the pairs of offset k among output rows [begin, end).
  void AddBlock(int64_t k, int64_t begin, int64_t end, int64_t first, int64_t last,
                float* dw) const {
    const PairBuffer pairs = ThreadPairs(block_rows_);
    const NeighbourTable table = {conv_.nbr, conv_.num_offsets, conv_.nbr_stride};
    const int64_t count = ListPairs(kernels_, table, k, begin, end, begin, pairs);
    if (count == 0) return;
    for (const Panel& panel : panels_) {
      AddPanel(
          {pairs.in, pairs.out, count, conv_.x + first, conv_.c_in, conv_.dy + panel.first_column,
           conv_.c_out, dw + panel.first_column, conv_.c_out, last - first, panel.width},
          panel.vectors);
    }
  }

  // The kernel reads whole vectors of dy. Where a panel ends inside a vector, its columns are
  // copied to a padded buffer first, since the last row has nothing behind it.
  void AddPanel(OuterProduct<Element> product, int vectors) const {
    const int64_t stride = static_cast<int64_t>(vectors) * kernels_.lanes;
    if (product.width == stride) {
      Run(product, vectors);
      return;
    }
    thread_local std::vector<Element> padded;
    thread_local std::vector<int32_t> rows;
    padded.assign(product.count * stride, Element{});
    rows.resize(product.count);
    for (int64_t i = 0; i < product.count; ++i) {
      rows[i] = static_cast<int32_t>(i);
      std::memcpy(&padded[i * stride], product.dy + product.out[i] * product.ldy,
                  sizeof(Element) * product.width);
    }
    product.out = rows.data();
    product.dy = padded.data();
    product.ldy = stride;
    Run(product, vectors);
  }

  void Run(const OuterProduct<Element>& product, int vectors) const {
    KernelsFor(kernels_, product.x).outer[vectors - 1](product);
  }

  void Reduce(int64_t begin, int64_t end) const {
    std::memcpy(conv_.dw + begin, Partial(0) + begin, sizeof(float) * (end - begin));
    for (int64_t slab = 1; slab < num_slabs_; ++slab) {
      const float* partial = Partial(slab);
      for (int64_t i = begin; i < end; ++i) conv_.dw[i] += partial[i];
    }
  }

  const ConvWeightGrad<Element>& conv_;
  const IsaKernels& kernels_;
  const std::vector<Panel> panels_;
  const int64_t num_slabs_;
  const int64_t slab_rows_;
  const int64_t block_rows_;
  const Cut cut_;
  const int64_t num_weights_;
  const Scratch partials_;
};

}  // namespace

template <class Element>
void RunWeightGrad(const ConvWeightGrad<Element>& conv, Parallel& parallel) {
  if (conv.c_in == 0 || conv.c_out == 0) return;
  WeightGrad<Element>(conv, parallel.num_threads()).Run(parallel);
}

template void RunWeightGrad(const ConvWeightGrad<float>&, Parallel&);
template void RunWeightGrad(const ConvWeightGrad<Bf16>&, Parallel&);

}  // namespace sas
