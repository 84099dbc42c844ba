#include "../include/superpoints.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <numeric>
#include <vector>

namespace {

// Disjoint sets of points. The root of a set is its smallest point, so roots in ascending order
// are the sets in order of first appearance.
class Segments {
 public:
  explicit Segments(int64_t num_points) : parent_(num_points), size_(num_points, 1) {
    std::iota(parent_.begin(), parent_.end(), 0);
  }

  int32_t Find(int32_t point) {
    while (parent_[point] != point) {
      parent_[point] = parent_[parent_[point]];
      point = parent_[point];
    }
    return point;
  }

  int32_t Join(int32_t a, int32_t b) {
    const int32_t root = std::min(a, b);
    const int32_t other = std::max(a, b);
    parent_[other] = root;
    size_[root] += size_[other];
    return root;
  }

  int32_t Size(int32_t root) const { return size_[root]; }

 private:
  std::vector<int32_t> parent_;
  std::vector<int32_t> size_;
};

// Maps a float to an unsigned integer of the same order; -0 and +0 become equal.
uint32_t OrderedBits(float value) {
  value += 0.0f;
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

// Sorts by bits shift .. shift + 10, equal ones in the order that they have.
void SortByDigit(const std::vector<uint64_t>& from, int shift, std::vector<uint64_t>* to) {
  constexpr uint64_t kMask = (1u << 11) - 1;
  std::vector<int64_t> next(kMask + 2, 0);
  for (const uint64_t key : from) ++next[((key >> shift) & kMask) + 1];
  std::partial_sum(next.begin(), next.end(), next.begin());
  for (const uint64_t key : from) (*to)[next[(key >> shift) & kMask]++] = key;
}

// Returns edge indices, in the lower half, by ascending (weight, index). They start in the order
// of the index, so only the weight has to be sorted by.
std::vector<uint64_t> SortEdges(int64_t num_edges, const float* weights) {
  std::vector<uint64_t> keys(num_edges), other(num_edges);
  for (int64_t e = 0; e < num_edges; ++e) {
    keys[e] = (static_cast<uint64_t>(OrderedBits(weights[e])) << 32) | static_cast<uint64_t>(e);
  }
  for (const int shift : {32, 43, 54}) {
    SortByDigit(keys, shift, &other);
    keys.swap(other);
  }
  return keys;
}

int Check(int64_t num_points, int64_t num_edges, const int32_t* edges, const float* weights) {
  if (num_points < 0 || num_points > std::numeric_limits<int32_t>::max()) return 1;
  if (num_edges < 0 || num_edges > std::numeric_limits<uint32_t>::max()) return 1;
  for (int64_t i = 0; i < 2 * num_edges; ++i) {
    if (edges[i] < 0 || edges[i] >= num_points) return 2;
  }
  for (int64_t e = 0; e < num_edges; ++e) {
    if (std::isnan(weights[e])) return 3;
  }
  return 0;
}

void Segment(int64_t num_points, int64_t num_edges, const int32_t* edges, const float* weights,
             float k_threshold, int64_t min_vertices, int32_t* labels) {
  Segments segments(num_points);
  std::vector<float> threshold(num_points, k_threshold);
  std::vector<uint64_t> order = SortEdges(num_edges, weights);
  size_t num_left = 0;  // edges between two segments, at the front of `order`
  for (const uint64_t key : order) {
    const int64_t e = static_cast<int64_t>(key & 0xffffffffu);
    const int32_t a = segments.Find(edges[2 * e]);
    const int32_t b = segments.Find(edges[2 * e + 1]);
    const float weight = weights[e];
    if (a == b) continue;
    if (weight > threshold[a] || weight > threshold[b]) {
      order[num_left++] = key;
      continue;
    }
    const int32_t root = segments.Join(a, b);
    // A division cannot be contracted with the addition, so this rounds alike everywhere.
    threshold[root] = weight + k_threshold / static_cast<float>(segments.Size(root));
  }
  order.resize(num_left);
  for (const uint64_t key : order) {
    const int64_t e = static_cast<int64_t>(key & 0xffffffffu);
    const int32_t a = segments.Find(edges[2 * e]);
    const int32_t b = segments.Find(edges[2 * e + 1]);
    if (a != b && std::min(segments.Size(a), segments.Size(b)) < min_vertices) segments.Join(a, b);
  }
  int32_t next = 0;
  for (int32_t p = 0; p < num_points; ++p) {
    const int32_t root = segments.Find(p);
    labels[p] = root == p ? next++ : labels[root];
  }
}

}  // namespace

int sas_segment_graph(int64_t num_points, int64_t num_edges, const int32_t* edges,
                      const float* weights, float k_threshold, int64_t min_vertices,
                      int32_t* labels) {
  const int status = Check(num_points, num_edges, edges, weights);
  if (status != 0) return status;
  try {
    Segment(num_points, num_edges, edges, weights, k_threshold, min_vertices, labels);
  } catch (const std::bad_alloc&) {
    return 4;
  }
  return 0;
}
