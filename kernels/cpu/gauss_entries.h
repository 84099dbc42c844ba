// Which weights the ellipses of a tile have in its pixels; included by gauss_pixels.h.
//
// A vector holds kLanes pixels of one row, a "place". Ellipses are taken in chunks: first an entry,
// a vector of weights, for each ellipse and place that it may change; then products of entries with
// features or with gradients. Only what an ellipse touches is multiplied, and no exponential is
// taken where the power tells that alpha is below 1/255.
#ifndef SAS_JAX_KERNELS_CPU_GAUSS_ENTRIES_H_
#define SAS_JAX_KERNELS_CPU_GAUSS_ENTRIES_H_

#include <cstring>

#include "gauss_tile.h"
#include "gauss_vectors.h"
#include "microkernels.h"

namespace sas {
namespace {

constexpr int kPlaces = kGaussPixels / kLanes;
constexpr int kRowPlaces = kGaussTile / kLanes;
constexpr int kChunk = 32;
constexpr int kChunkEntries = kChunk * kPlaces;
constexpr float kAlphaCut = 1.0f / 255.0f;
constexpr float kStop = 1e-4f;

inline float Larger(float a, float b) { return a > b ? a : b; }

// What reaches each pixel from behind the ellipses so far; negative where the pixel has ended.
struct Reach {
  explicit Reach(const GaussTile& tile) {
    for (int p = 0; p < kGaussPixels; ++p) {
      const bool inside = p / kGaussTile < tile.rows && p % kGaussTile < tile.columns;
      through[p] = inside ? 1.0f : -1.0f;
    }
    for (int place = 0; place < kPlaces; ++place) live += through[place * kLanes] > 0.0f;
  }

  alignas(64) float through[kGaussPixels];
  int live = 0;  // places with a pixel that has not ended
};

// Entries of up to kChunk ellipses, those of each side by side.
struct Chunk {
  int count;             // ellipses
  int64_t item[kChunk];  // place in the list
  int32_t first[kChunk + 1];
  uint8_t place[kChunkEntries];
  uint8_t owner[kChunkEntries];
  alignas(64) float weight[kChunkEntries * kLanes];
  // For gradients of ellipses: alpha, 0 where there is no weight, T before, and dL/dw.
  alignas(64) float alpha[kChunkEntries * kLanes];
  alignas(64) float before[kChunkEntries * kLanes];
  alignas(64) float product[kChunkEntries * kLanes];

  int entries() const { return first[count]; }
};

// As many chunks as a tile has needed so far. Where pixels end, they are not many: each ellipse
// that counts takes 1/255 of what is left, so a pixel has 2345 at most.
class Chunks {
 public:
  static Chunks& Of(GaussMemory* memory) {
    if (memory->data == nullptr) {
      memory->data = new Chunks;
      memory->free = [](void* data) { delete static_cast<Chunks*>(data); };
    }
    return *static_cast<Chunks*>(memory->data);
  }
  Chunks() = default;
  Chunks(const Chunks&) = delete;
  Chunks& operator=(const Chunks&) = delete;
  ~Chunks() {
    while (last_ != nullptr) {
      Link* before = last_->before;
      delete last_;
      last_ = before;
    }
  }

  Chunk* First() {
    here_ = nullptr;
    return Next();
  }
  Chunk* Next() {
    Link* next = here_ == nullptr ? first_ : here_->next;
    if (next == nullptr) {
      next = new Link;
      next->before = last_;
      (last_ == nullptr ? first_ : last_->next) = next;
      last_ = next;
    }
    here_ = next;
    return &here_->chunk;
  }
  // Null before the first.
  Chunk* Back() {
    here_ = here_->before;
    return here_ == nullptr ? nullptr : &here_->chunk;
  }

 private:
  struct Link {
    Chunk chunk;
    Link* before = nullptr;
    Link* next = nullptr;
  };
  Link* first_ = nullptr;
  Link* last_ = nullptr;
  Link* here_ = nullptr;
};

// Lists the entries of the ellipses from `begin` on until the chunk is full, and moves `reach`
// behind them. Returns where to go on.
template <bool Gradients>
int64_t FillChunk(const GaussTile& tile, int64_t begin, Reach* reach, Chunk* chunk) {
  const Vec left = Iota() + (tile.left + 0.5f);
  int entries = 0;
  chunk->count = 0;
  int64_t i = begin;
  for (; i < tile.length && chunk->count < kChunk && reach->live > 0; ++i) {
    if (i + 8 < tile.length) __builtin_prefetch(tile.ellipses + tile.list[i + 8]);
    const GaussEllipse e = tile.ellipses[tile.list[i]];
    const float above = e.y - tile.top - 0.5f;
    const int first = static_cast<int>(__builtin_ceilf(Larger(above - e.reach_y, 0.0f)));
    const int last = static_cast<int>(
        __builtin_floorf(-Larger(-above - e.reach_y, static_cast<float>(1 - tile.rows))));
    Vec square[kRowPlaces], slope[kRowPlaces];
    for (int h = 0; h < kRowPlaces; ++h) {
      const Vec dx = e.x - (left + static_cast<float>(h * kLanes));
      square[h] = (0.5f * e.a) * dx * dx;
      slope[h] = e.b * dx;
    }
    const int start = entries;
    for (int row = first; row <= last; ++row) {
      const float dy = e.y - (tile.top + 0.5f + static_cast<float>(row));
      const float half = (0.5f * e.c) * dy;
      for (int h = 0; h < kRowPlaces; ++h) {
        const int place = row * kRowPlaces + h;
        float* through = reach->through + place * kLanes;
        const Vec power = square[h] + dy * (slope[h] + half);
        const Vec before = Load(through);
        const Mask seen =
            AtLeast(power, Fill(0.0f)) & AtLeast(Fill(e.limit), power) & Above(before, Fill(0.0f));
        if (!Any(seen)) continue;
        const Vec alpha = Least(e.opacity * ExpOfMinus(power), Fill(tile.alpha_cap));
        const Mask enough = seen & AtLeast(alpha, Fill(kAlphaCut));
        const Vec after = before * (1.0f - alpha);
        const Mask goes_on = enough & Above(after, Fill(kStop));
        const Vec kept = Choose(goes_on, alpha, Fill(0.0f));
        Store(chunk->weight + entries * kLanes, kept * before);
        if constexpr (Gradients) {
          Store(chunk->alpha + entries * kLanes, kept);
          Store(chunk->before + entries * kLanes, before);
        }
        chunk->place[entries] = static_cast<uint8_t>(place);
        chunk->owner[entries] = static_cast<uint8_t>(chunk->count);
        ++entries;
        Vec now = Choose(goes_on, after, before);
        if (!Same(goes_on, enough)) {
          now = Choose(enough, Choose(goes_on, now, -before), now);
          reach->live -= !Any(Above(now, Fill(0.0f)));
        }
        Store(through, now);
      }
    }
    if (entries == start) continue;
    chunk->item[chunk->count] = i;
    chunk->first[chunk->count++] = start;
  }
  chunk->first[chunk->count] = entries;
  return i;
}

}  // namespace
}  // namespace sas

#endif  // SAS_JAX_KERNELS_CPU_GAUSS_ENTRIES_H_
