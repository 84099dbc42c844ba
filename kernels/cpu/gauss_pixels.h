// A tile's pixels, written once and compiled per instruction set; included after microkernels.h,
// and in an anonymous namespace like it.
//
// A vector holds kLanes pixels of one row, a "place". Ellipses are taken in chunks: first an entry,
// a vector of weights, for each ellipse and place that it may change; then products of entries with
// features or with gradients. Only what an ellipse touches is multiplied, and no exponential is
// taken where the power tells that alpha is below 1/255.
#ifndef SAS_JAX_KERNELS_CPU_GAUSS_PIXELS_H_
#define SAS_JAX_KERNELS_CPU_GAUSS_PIXELS_H_

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

// Entries of a chunk by place, in the order of ellipses.
struct ByPlace {
  explicit ByPlace(const Chunk& chunk) {
    std::memset(count, 0, sizeof(count));
    for (int e = 0; e < chunk.first[chunk.count]; ++e) {
      const int place = chunk.place[e];
      entry[place][count[place]++] = static_cast<uint16_t>(e);
    }
  }
  int count[kPlaces];
  uint16_t entry[kPlaces][kChunk];
};

constexpr int kChannelBlock = SAS_REGISTERS == 32 ? 16 : 8;

// planes[c] += sum of weight * feature[c], in the order of ellipses.
template <int Channels>
void BlendBlock(const Chunk& chunk, const ByPlace& places, const float* const* features,
                int64_t channel, float* planes) {
  for (int place = 0; place < kPlaces; ++place) {
    const int count = places.count[place];
    if (count == 0) continue;
    float* out = planes + channel * kGaussPixels + place * kLanes;
    Vec sums[Channels];
#pragma GCC unroll 16
    for (int c = 0; c < Channels; ++c) sums[c] = Load(out + c * kGaussPixels);
    for (int i = 0; i < count; ++i) {
      const int entry = places.entry[place][i];
      const Vec weight = Load(chunk.weight + entry * kLanes);
      const float* feature = features[chunk.owner[entry]] + channel;
#pragma GCC unroll 16
      for (int c = 0; c < Channels; ++c) sums[c] += weight * feature[c];
    }
#pragma GCC unroll 16
    for (int c = 0; c < Channels; ++c) Store(out + c * kGaussPixels, sums[c]);
  }
}

// rows[k][c] += sum over pixels of weight * planes[c], for each ellipse k of the chunk.
template <int Channels>
void GatherBlock(const Chunk& chunk, const float* planes, int64_t channel, const GaussSums& sums,
                 int64_t column) {
  for (int k = 0; k < chunk.count; ++k) {
    Vec found[Channels] = {};
    for (int entry = chunk.first[k]; entry < chunk.first[k + 1]; ++entry) {
      const Vec weight = Load(chunk.weight + entry * kLanes);
      const float* plane = planes + channel * kGaussPixels + chunk.place[entry] * kLanes;
#pragma GCC unroll 16
      for (int c = 0; c < Channels; ++c) found[c] += weight * Load(plane + c * kGaussPixels);
    }
    const int64_t slot = sums.slots[chunk.item[k]];
    float* row = sums.rows + slot * sums.width + column + channel;
    const bool add = sums.touched[slot] != 0;
    for (int c = 0; c < Channels; ++c) {
      const float sum = SumOf(found[c]);
      row[c] = add ? row[c] + sum : sum;
    }
  }
}

// product += sum of feature[c] * planes[c]
template <int Channels>
void ProjectBlock(Chunk* chunk, const float* const* features, const float* planes,
                  int64_t channel) {
  for (int entry = 0; entry < chunk->entries(); ++entry) {
    const float* feature = features[chunk->owner[entry]] + channel;
    const float* plane = planes + channel * kGaussPixels + chunk->place[entry] * kLanes;
    Vec product = Load(chunk->product + entry * kLanes);
#pragma GCC unroll 16
    for (int c = 0; c < Channels; ++c) product += feature[c] * Load(plane + c * kGaussPixels);
    Store(chunk->product + entry * kLanes, product);
  }
}

template <int Channels>
struct BlendOf {
  static void Run(const Chunk* chunk, const ByPlace* places, const float* const* features,
                  int64_t channel, float* planes) {
    BlendBlock<Channels>(*chunk, *places, features, channel, planes);
  }
};
template <int Channels>
struct GatherOf {
  static void Run(const Chunk* chunk, const float* planes, int64_t channel, const GaussSums* sums,
                  int64_t column) {
    GatherBlock<Channels>(*chunk, planes, channel, *sums, column);
  }
};
template <int Channels>
struct ProjectOf {
  static void Run(Chunk* chunk, const float* const* features, const float* planes,
                  int64_t channel) {
    ProjectBlock<Channels>(chunk, features, planes, channel);
  }
};

// Calls body(first channel, how many) for blocks of channels.
template <class Body>
void ForChannels(int64_t channels, Body body) {
  for (int64_t c = 0; c < channels; c += kChannelBlock) {
    body(c, static_cast<int>(channels - c < kChannelBlock ? channels - c : kChannelBlock));
  }
}

// Features of the ellipses of a chunk.
struct Rows {
  Rows(const GaussTile& tile, const Chunk& chunk) {
    for (int k = 0; k < chunk.count; ++k) {
      rows[k] = tile.features + int64_t{tile.list[chunk.item[k]]} * tile.channels;
    }
  }
  const float* rows[kChunk];
};

void Blend(const GaussTile& tile, const Chunk& chunk, float* planes) {
  const ByPlace places(chunk);
  const Rows features(tile, chunk);
  ForChannels(tile.channels, [&](int64_t channel, int count) {
    Dispatch<kChannelBlock, BlendOf>(count, &chunk, &places, features.rows, channel, planes);
  });
}

void Gather(const GaussTile& tile, const Chunk& chunk, const float* planes, const GaussSums& sums,
            int64_t column) {
  ForChannels(tile.channels, [&](int64_t channel, int count) {
    Dispatch<kChannelBlock, GatherOf>(count, &chunk, planes, channel, &sums, column);
  });
}

// Fills products with dL/dw.
void Project(const GaussTile& tile, const float* planes, const float* dalpha, Chunk* chunk) {
  const Rows features(tile, *chunk);
  for (int entry = 0; entry < chunk->entries(); ++entry) {
    Store(chunk->product + entry * kLanes, Load(dalpha + chunk->place[entry] * kLanes));
  }
  ForChannels(tile.channels, [&](int64_t channel, int count) {
    Dispatch<kChannelBlock, ProjectOf>(count, chunk, features.rows, planes, channel);
  });
}

void Touch(const Chunk& chunk, const GaussSums& sums) {
  for (int k = 0; k < chunk.count; ++k) sums.touched[sums.slots[chunk.item[k]]] = 1;
}

void ForwardTile(const GaussTile& tile, GaussMemory* memory, float* planes, float* alpha) {
  std::memset(planes, 0, sizeof(float) * tile.channels * kGaussPixels);
  Reach reach(tile);
  Chunk* chunk = Chunks::Of(memory).First();
  for (int64_t i = 0; i < tile.length && reach.live > 0;) {
    i = FillChunk<false>(tile, i, &reach, chunk);
    Blend(tile, *chunk, planes);
  }
  for (int p = 0; p < kGaussPixels; ++p) alpha[p] = 1.0f - __builtin_fabsf(reach.through[p]);
}

void FeatureGradTile(const GaussTile& tile, GaussMemory* memory, const float* planes,
                     const GaussSums& sums) {
  Reach reach(tile);
  Chunk* chunk = Chunks::Of(memory).First();
  for (int64_t i = 0; i < tile.length && reach.live > 0;) {
    i = FillChunk<false>(tile, i, &reach, chunk);
    Gather(tile, *chunk, planes, sums, 0);
    Touch(*chunk, sums);
  }
}

// Adds the moments of ellipse k to its row. `later` is the sum of w dL/dw over the ellipses behind.
void AddMoments(const GaussTile& tile, const Chunk& chunk, int k, float* later,
                const GaussSums& sums) {
  const int64_t item = chunk.item[k];
  const GaussEllipse e = tile.ellipses[tile.list[item]];
  const Vec left = Iota() + (tile.left + 0.5f);
  Vec found[kGaussMoments] = {};
  for (int entry = chunk.first[k]; entry < chunk.first[k + 1]; ++entry) {
    const int place = chunk.place[entry];
    const Vec alpha = Load(chunk.alpha + entry * kLanes);
    const Vec product = Load(chunk.product + entry * kLanes);
    const Vec behind = Load(later + place * kLanes);
    const Vec dalpha = Load(chunk.before + entry * kLanes) * product - behind / (1.0f - alpha);
    Store(later + place * kLanes, behind + Load(chunk.weight + entry * kLanes) * product);
    const Mask capped = AtLeast(alpha, Fill(tile.alpha_cap));
    const Vec g = Choose(capped, Fill(0.0f), alpha * dalpha);
    const Vec dx = e.x - (left + static_cast<float>(place % kRowPlaces * kLanes));
    const float dy = e.y - (tile.top + 0.5f + static_cast<float>(place / kRowPlaces));
    const Vec gx = g * dx;
    const Vec gy = g * dy;
    found[0] += g;
    found[1] += gx;
    found[2] += gy;
    found[3] += gx * dx;
    found[4] += gx * dy;
    found[5] += gy * dy;
  }
  const int64_t slot = sums.slots[item];
  float* row = sums.rows + slot * sums.width;
  const bool add = sums.touched[slot] != 0;
  for (int m = 0; m < kGaussMoments; ++m) {
    const float sum = SumOf(found[m]);
    row[m] = add ? row[m] + sum : sum;
  }
}

// To the end, keeping all entries; then chunk by chunk back to the front.
void EllipseGradTile(const GaussTile& tile, GaussMemory* memory, const float* planes,
                     const float* dalpha, const GaussSums& sums) {
  if (tile.length == 0) return;
  Reach reach(tile);
  Chunks& chunks = Chunks::Of(memory);
  Chunk* chunk = chunks.First();
  for (int64_t i = FillChunk<true>(tile, 0, &reach, chunk); i < tile.length && reach.live > 0;) {
    chunk = chunks.Next();
    i = FillChunk<true>(tile, i, &reach, chunk);
  }
  alignas(64) float later[kGaussPixels] = {};
  for (; chunk != nullptr; chunk = chunks.Back()) {
    Project(tile, planes, dalpha, chunk);
    for (int k = chunk->count - 1; k >= 0; --k) AddMoments(tile, *chunk, k, later, sums);
    if (sums.width > kGaussMoments) Gather(tile, *chunk, planes, sums, kGaussMoments);
    Touch(*chunk, sums);
  }
}

constexpr GaussKernels TileKernels() { return {ForwardTile, FeatureGradTile, EllipseGradTile}; }

}  // namespace
}  // namespace sas

#endif  // SAS_JAX_KERNELS_CPU_GAUSS_PIXELS_H_
