// Least-significant-digit radix sort of (key, row), stable, so the first of equal keys keeps its
// place.
#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "sas_plan.h"

namespace sas {
namespace {

constexpr int kDigitBits = 11;
constexpr int kNumDigits = (64 + kDigitBits - 1) / kDigitBits;
constexpr int kBuckets = 1 << kDigitBits;

struct Entry {
  uint64_t key;
  int64_t row;
};

int Digit(uint64_t key, int digit) { return (key >> (digit * kDigitBits)) & (kBuckets - 1); }

using Histogram = std::array<std::array<int32_t, kBuckets>, kNumDigits>;

// Moves entries from `source` to `target` in the order of one digit.
void Distribute(const std::vector<Entry>& source, const std::array<int32_t, kBuckets>& counts,
                int digit, std::vector<Entry>* target) {
  std::array<int32_t, kBuckets> next;
  int32_t total = 0;
  for (int bucket = 0; bucket < kBuckets; ++bucket) {
    next[bucket] = total;
    total += counts[bucket];
  }
  for (const Entry& entry : source) (*target)[next[Digit(entry.key, digit)]++] = entry;
}

std::vector<Entry> Sorted(const uint64_t* keys, int64_t n) {
  std::vector<Entry> entries(n);
  auto histogram = std::make_unique<Histogram>();
  for (int64_t i = 0; i < n; ++i) {
    entries[i] = {keys[i], i};
    for (int d = 0; d < kNumDigits; ++d) ++(*histogram)[d][Digit(keys[i], d)];
  }
  if (std::is_sorted(keys, keys + n)) return entries;
  std::vector<Entry> other(n);
  for (int d = 0; d < kNumDigits; ++d) {
    // A digit that all keys share orders nothing.
    if ((*histogram)[d][Digit(keys[0], d)] == n) continue;
    Distribute(entries, (*histogram)[d], d, &other);
    entries.swap(other);
  }
  return entries;
}

}  // namespace

int64_t SortUnique(const uint64_t* keys, int64_t n, uint64_t* unique, int32_t* first) {
  int64_t count = 0;
  for (const Entry& entry : Sorted(keys, n)) {
    if (count > 0 && unique[count - 1] == entry.key) continue;
    unique[count] = entry.key;
    if (first != nullptr) first[count] = static_cast<int32_t>(entry.row);
    ++count;
  }
  return count;
}

}  // namespace sas
