#include "conv_common.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <numeric>

#include "memory.h"

namespace sas {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kMaxKeptBlocks = 8;

struct Block {
  void* data;
  size_t size;
};

struct Store {
  std::mutex mutex;
  std::vector<Block> free_blocks;
};

// Never destroyed: threads may still return memory while the process exits.
Store& GlobalStore() {
  static Store* store = new Store;
  return *store;
}

Block Allocate(size_t num_bytes) {
  const size_t alignment = num_bytes >= kHugePage ? kHugePage : kAlignment;
  const size_t size = (num_bytes + alignment - 1) / alignment * alignment;
  void* data = std::aligned_alloc(alignment, size);
  if (data == nullptr) throw std::bad_alloc();
  AdviseHugePages(data, size);
  return {data, size};
}

}  // namespace

std::vector<Panel> CutPanels(int64_t columns, const IsaKernels& kernels) {
  std::vector<Panel> panels;
  const int preferred = kernels.panel_vectors;
  const bool can_widen = preferred < kMaxPanelVectors && kernels.f32.product[preferred] != nullptr;
  int64_t vectors = CeilDiv(columns, kernels.lanes);
  for (int64_t column = 0; column < columns;) {
    int64_t take = std::min<int64_t>(vectors, preferred);
    const bool widens = vectors % preferred == 1 || vectors >= 2 * (preferred + 1);
    if (can_widen && vectors > preferred && vectors % preferred != 0 && widens)
      take = preferred + 1;
    const int64_t width = std::min<int64_t>(take * kernels.lanes, columns - column);
    panels.push_back({column, width, static_cast<int>(take)});
    column += width;
    vectors -= take;
  }
  return panels;
}

Scratch::Scratch(size_t num_bytes) {
  Store& store = GlobalStore();
  {
    std::lock_guard<std::mutex> lock(store.mutex);
    auto best = store.free_blocks.end();
    for (auto it = store.free_blocks.begin(); it != store.free_blocks.end(); ++it) {
      if (it->size >= num_bytes && (best == store.free_blocks.end() || it->size < best->size)) {
        best = it;
      }
    }
    if (best != store.free_blocks.end()) {
      data_ = best->data;
      size_ = best->size;
      store.free_blocks.erase(best);
      return;
    }
  }
  const Block block = Allocate(std::max<size_t>(num_bytes, 1));
  data_ = block.data;
  size_ = block.size;
}

Scratch::~Scratch() {
  Store& store = GlobalStore();
  std::lock_guard<std::mutex> lock(store.mutex);
  store.free_blocks.push_back({data_, size_});
  if (store.free_blocks.size() <= kMaxKeptBlocks) return;
  auto smallest = std::min_element(store.free_blocks.begin(), store.free_blocks.end(),
                                   [](const Block& a, const Block& b) { return a.size < b.size; });
  std::free(smallest->data);
  store.free_blocks.erase(smallest);
}

PairBuffer ThreadPairs(int64_t num_rows) {
  // Whole vectors are stored at the end of a list, hence the margin.
  const size_t half = static_cast<size_t>(num_rows) + 16;
  thread_local std::vector<int32_t> buffer;
  if (buffer.size() < 2 * half) buffer.resize(2 * half);
  return {buffer.data(), buffer.data() + half};
}

int64_t ListPairs(const IsaKernels& kernels, const NeighbourTable& table, int64_t k, int64_t begin,
                  int64_t end, int64_t first_row, const PairBuffer& pairs) {
  if (table.nbr == nullptr) {
    std::iota(pairs.in, pairs.in + (end - begin), static_cast<int32_t>(begin));
    std::iota(pairs.out, pairs.out + (end - begin), static_cast<int32_t>(first_row));
    return end - begin;
  }
  const int32_t* rows = table.nbr + k * table.stride + begin;
  if (k + 1 < table.num_offsets) {
    constexpr int64_t kCacheLine = 64 / sizeof(int32_t);
    const int32_t* next = rows + table.stride;
    for (int64_t i = 0; i < end - begin; i += kCacheLine) __builtin_prefetch(next + i);
  }
  return kernels.compact(rows, end - begin, static_cast<int32_t>(first_row), pairs.in, pairs.out);
}

}  // namespace sas
