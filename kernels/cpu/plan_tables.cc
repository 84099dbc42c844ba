// Neighbour tables by merging two sorted levels: no hashing, no searching.
//
// Offsets that differ in z alone form a column. For one column, the wanted keys of consecutive
// output rows ascend, so a cursor into the input keys only moves forward, and the column's further
// voxels lie right behind the cursor. Tasks are (column, range of rows); each finds its start by
// bisection.
#include <algorithm>
#include <cstring>
#include <vector>

#include "sas_plan.h"

namespace sas {
namespace {

constexpr int64_t kTaskRows = 8192;
constexpr int64_t kFillBytes = 1 << 18;

struct Column {
  uint64_t delta;             // of the lowest offset
  std::vector<int64_t> taps;  // offset indices, z ascending by z_step
};

class TableFiller {
 public:
  explicit TableFiller(const TableRequest& request)
      : request_(request), symmetric_(request.transposed == nullptr) {
    CollectColumns();
  }

  bool IsValid() const {
    const int64_t last = request_.num_offsets - 1;
    if (!symmetric_) return true;
    if (request_.num_offsets % 2 == 0 || request_.num_in != request_.num_out) return false;
    for (int64_t k = 0; k <= last / 2; ++k) {
      if (request_.deltas[last - k] + request_.deltas[k] != 0) return false;
    }
    return true;
  }

  void Run(Parallel& parallel) {
    FillNone(request_.nbr, request_.num_offsets * request_.capacity_out, parallel);
    if (!symmetric_) {
      FillNone(request_.transposed, request_.num_offsets * request_.capacity_in, parallel);
    }
    const int64_t ranges = (request_.num_out + kTaskRows - 1) / kTaskRows;
    parallel.For(ranges * static_cast<int64_t>(columns_.size()), [&](int64_t i) {
      const int64_t begin = i % ranges * kTaskRows;
      Merge(columns_[i / ranges], begin, std::min(begin + kTaskRows, request_.num_out));
    });
  }

 private:
  // With symmetry, an offset with a negative delta also writes its mirror image, and the centre's
  // pairs are known; so only columns of negative deltas remain.
  void CollectColumns() {
    std::vector<int64_t> taps;
    for (int64_t k = 0; k < request_.num_offsets; ++k) {
      if (!symmetric_ || static_cast<int64_t>(request_.deltas[k]) <= 0) taps.push_back(k);
    }
    std::sort(taps.begin(), taps.end(), [this](int64_t a, int64_t b) {
      return static_cast<int64_t>(request_.deltas[a]) < static_cast<int64_t>(request_.deltas[b]);
    });
    for (int64_t tap : taps) {
      const uint64_t delta = request_.deltas[tap];
      const bool continues =
          !columns_.empty() &&
          delta == columns_.back().delta + columns_.back().taps.size() * request_.z_step;
      if (!continues) columns_.push_back({delta, {}});
      columns_.back().taps.push_back(tap);
    }
  }

  static void FillNone(int32_t* table, int64_t size, Parallel& parallel) {
    constexpr int64_t kChunk = kFillBytes / sizeof(int32_t);
    parallel.For((size + kChunk - 1) / kChunk, [&](int64_t i) {
      std::memset(table + i * kChunk, 0xFF, sizeof(int32_t) * std::min(kChunk, size - i * kChunk));
    });
  }

  // Where the pair (i, o) of offset k is also entered.
  int32_t* Mirror(int64_t k) const {
    return symmetric_ ? request_.nbr + (request_.num_offsets - 1 - k) * request_.capacity_out
                      : request_.transposed + k * request_.capacity_in;
  }

  void Merge(const Column& column, int64_t begin, int64_t end) const {
    switch (column.taps.size()) {
      case 1:
        return MergeTaps<1>(column, begin, end);
      case 2:
        return MergeTaps<2>(column, begin, end);
      case 3:
        return MergeTaps<3>(column, begin, end);
      case 5:
        return MergeTaps<5>(column, begin, end);
      default:
        return MergeTaps<0>(column, begin, end);
    }
  }

  // Taps is the column's length, or 0 if it is known only at run time.
  template <int Taps>
  void MergeTaps(const Column& column, int64_t begin, int64_t end) const {
    const int num_taps = Taps > 0 ? Taps : static_cast<int>(column.taps.size());
    std::vector<int32_t*> forward(num_taps);
    std::vector<int32_t*> mirror(num_taps);
    for (int j = 0; j < num_taps; ++j) {
      forward[j] = request_.nbr + column.taps[j] * request_.capacity_out;
      mirror[j] = Mirror(column.taps[j]);
    }
    const uint64_t* keys = request_.keys_in;
    const uint64_t* const last = keys + request_.num_in;
    const uint64_t* cursor = std::lower_bound(keys, last, request_.keys_out[begin] + column.delta);
    for (int64_t o = begin; o < end; ++o) {
      uint64_t wanted = request_.keys_out[o] + column.delta;
      while (cursor != last && *cursor < wanted) ++cursor;
      const uint64_t* next = cursor;
      for (int j = 0; j < num_taps; ++j, wanted += request_.z_step) {
        if (next == last || *next != wanted) continue;
        const int32_t i = static_cast<int32_t>(next - keys);
        forward[j][o] = i;
        mirror[j][i] = static_cast<int32_t>(o);
        ++next;
      }
    }
  }

  const TableRequest& request_;
  const bool symmetric_;
  std::vector<Column> columns_;
};

}  // namespace

bool FillTables(const TableRequest& request, Parallel& parallel) {
  TableFiller filler(request);
  if (!filler.IsValid()) return false;
  filler.Run(parallel);
  return true;
}

}  // namespace sas
