// The CUDA convolutions on a GPU, without XLA: against a float64 oracle, and timed.
//
//   nvcc -O3 -std=c++17 -arch=sm_90 -I kernels/include -I kernels/cuda
//       kernels/stress/stress_cuda.cu kernels/cuda/*.cu -o build/stress_cuda
//   build/stress_cuda                 every kernel, smallest shapes first
//   build/stress_cuda --quick         a few of them: for compute-sanitizer
//   build/stress_cuda --time TABLE C_IN C_OUT ...     every tile, for these channels; the table is
//                                                     one of benchmarks/gpu/write_table.py
//   build/stress_cuda --default TABLE C_IN C_OUT ...  the tiles that would be chosen: to profile
//   build/stress_cuda --forward       forwards alone
//   build/stress_cuda --shapes TABLE C_IN C_OUT ...   every way to cut forwards, and no more
//
// Prints a JSON row a case; exits with 1 if one is wrong.
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "dispatch.h"
#include "sas_conv_cuda.h"
#include "sas_plan_cuda.h"

namespace {

using sas::cuda::Bfloat16;
using sas::cuda::CeilDiv;
using sas::cuda::ConvForwardOf;
using sas::cuda::ConvWeightGradOf;
using sas::cuda::NumSlabs;
using sas::cuda::Precision;
using sas::cuda::Tile;

constexpr const char* kNames[] = {"f32", "tf32", "bf16"};

void Check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::printf("{\"error\": \"%s: %s\"}\n", what, cudaGetErrorString(error));
  std::exit(1);
}

void CheckLaunch(const char* error) {
  if (error == nullptr) return;
  std::printf("{\"error\": \"launch: %s\"}\n", error);
  std::exit(1);
}

template <class T>
const char* RunForward(const ConvForwardOf<T>& conv, Precision precision, Tile tile) {
  if constexpr (sizeof(T) == 2) {
    return sas::cuda::RunForwardBf16(conv, tile, nullptr);
  } else {
    return precision == Precision::kTf32 ? sas::cuda::RunForwardTf32(conv, tile, nullptr)
                                         : sas::cuda::RunForwardF32(conv, tile, nullptr);
  }
}

template <class T>
const char* RunWeightGrad(const ConvWeightGradOf<T>& conv, Precision precision, Tile tile) {
  if constexpr (sizeof(T) == 2) {
    return sas::cuda::RunWeightGradBf16(conv, tile, nullptr);
  } else {
    return precision == Precision::kTf32 ? sas::cuda::RunWeightGradTf32(conv, tile, nullptr)
                                         : sas::cuda::RunWeightGradF32(conv, tile, nullptr);
  }
}

template <class T>
class Device {
 public:
  explicit Device(size_t count) : count_(count) {
    Check(cudaMalloc(&data_, std::max<size_t>(count, 1) * sizeof(T)), "cudaMalloc");
    Check(cudaMemset(data_, 0xff, std::max<size_t>(count, 1) * sizeof(T)), "cudaMemset");
  }
  explicit Device(const std::vector<T>& host) : Device(host.size()) {
    Check(cudaMemcpy(data_, host.data(), count_ * sizeof(T), cudaMemcpyHostToDevice), "copy in");
  }
  ~Device() { cudaFree(data_); }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  T* get() const { return data_; }
  std::vector<T> Host() const {
    std::vector<T> host(count_);
    Check(cudaMemcpy(host.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost), "copy out");
    return host;
  }

 private:
  size_t count_;
  T* data_ = nullptr;
};

float Widen(float value) { return value; }
float Widen(Bfloat16 value) {
  const uint32_t bits = uint32_t{value.bits} << 16;
  float wide;
  std::memcpy(&wide, &bits, sizeof(wide));
  return wide;
}

uint32_t Bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

float FromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

float RoundTf32(float value) { return FromBits((Bits(value) + 0x1000u) & ~0x1fffu); }

void Narrow(float value, float* target) { *target = value; }
void Narrow(float value, Bfloat16* target) {
  const uint32_t bits = Bits(value);
  target->bits = static_cast<uint16_t>(
      std::isnan(value) ? 0x7fc0u : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

struct Shape {
  int num_offsets;
  int c_in;
  int c_out;
  int num_out;
  int padding;
  double density;
};

// Operands of one convolution; rows that must not be read are NaN.
template <class T>
struct Case {
  Case(const Shape& shape, unsigned seed) : shape(shape), capacity(shape.num_out + shape.padding) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    const int num_in = shape.num_out + 3;
    auto draw = [&](int64_t rows, int64_t valid, int64_t width) {
      std::vector<T> values(rows * width);
      for (int64_t i = 0; i < rows * width; ++i) {
        Narrow(i < valid * width ? normal(random) : NAN, &values[i]);
      }
      return values;
    };
    x = draw(num_in + shape.padding, num_in, shape.c_in);
    dy = draw(capacity, shape.num_out, shape.c_out);
    const int64_t matrices = int64_t{shape.num_offsets} * shape.c_in;
    w = draw(matrices, matrices, shape.c_out);
    nbr.assign(int64_t{shape.num_offsets} * capacity, -1);
    order.resize(capacity);
    for (int64_t i = 0; i < capacity; ++i) order[i] = static_cast<int32_t>(i);
    std::shuffle(order.begin(), order.end(), random);
    std::vector<int32_t> rows(num_in);
    for (int i = 0; i < num_in; ++i) rows[i] = i;
    std::uniform_real_distribution<double> uniform;
    for (int k = 0; k < shape.num_offsets; ++k) {
      std::shuffle(rows.begin(), rows.end(), random);
      for (int o = 0; o < shape.num_out; ++o) {
        if (uniform(random) < shape.density) nbr[k * capacity + o] = rows[o];
      }
    }
  }

  Shape shape;
  int64_t capacity;
  std::vector<T> x;
  std::vector<T> w;
  std::vector<T> dy;
  std::vector<int32_t> nbr;
  std::vector<int32_t> order;
};

// Worst ratio of an error to its bound, over all elements; NaN counts as infinitely wrong.
struct Worst {
  double ratio = 0.0;

  void Add(double got, double expected, double bound) {
    const double error = std::abs(got - expected);
    const double now = error == 0.0 ? 0.0 : error / bound;
    ratio = std::isnan(now) ? INFINITY : std::max(ratio, now);
  }
};

float Factor(float value, Precision precision, bool exact) {
  return precision == Precision::kTf32 && !exact ? RoundTf32(value) : value;
}

template <class T>
std::vector<T> TransposedWeights(const Case<T>& c, Precision precision) {
  const Shape& s = c.shape;
  std::vector<T> turned(c.w.size());
  for (int k = 0; k < s.num_offsets; ++k) {
    for (int i = 0; i < s.c_in; ++i) {
      for (int j = 0; j < s.c_out; ++j) {
        const float value = Widen(c.w[(int64_t{k} * s.c_in + i) * s.c_out + j]);
        Narrow(Factor(value, precision, false), &turned[(int64_t{k} * s.c_out + j) * s.c_in + i]);
      }
    }
  }
  return turned;
}

// Every way to cut the forward of a precision.
std::vector<Tile> ForwardTiles(Precision precision) {
  std::vector<Tile> tiles;
  auto add = [&](auto, const Tile& tile) {
    tiles.push_back(tile);
    return false;
  };
  if (precision == Precision::kF32) {
    tiles = {{32, 32}, {64, 32}, {64, 64}, {64, 96}};
  } else if (precision == Precision::kTf32) {
    sas::cuda::FindShape(sas::cuda::TensorShapesOf<float>::type(), add);
  } else {
    sas::cuda::FindShape(sas::cuda::TensorShapesOf<Bfloat16>::type(), add);
  }
  return tiles;
}

// What a forward should give: sums and sums of absolute values, [capacity, c_out].
struct Expected {
  std::vector<double> sums;
  std::vector<double> absolute;
};

template <class T>
Expected ExpectForward(const Case<T>& c, Precision precision) {
  const Shape& s = c.shape;
  const bool few = s.c_in <= sas::cuda::kFewChannels && sizeof(T) == 4;
  Expected expected;
  for (std::vector<double>* part : {&expected.sums, &expected.absolute}) {
    part->assign(c.capacity * s.c_out, 0.0);
  }
  std::vector<double> w(c.w.size());
  for (size_t i = 0; i < w.size(); ++i) w[i] = Factor(Widen(c.w[i]), precision, few);
  for (int64_t o = 0; o < s.num_out; ++o) {
    for (int k = 0; k < s.num_offsets; ++k) {
      const int32_t in = c.nbr[k * c.capacity + o];
      if (in < 0) continue;
      for (int i = 0; i < s.c_in; ++i) {
        const double x = Factor(Widen(c.x[int64_t{in} * s.c_in + i]), precision, few);
        for (int j = 0; j < s.c_out; ++j) {
          const double term = x * w[(int64_t{k} * s.c_in + i) * s.c_out + j];
          expected.sums[o * s.c_out + j] += term;
          expected.absolute[o * s.c_out + j] += std::abs(term);
        }
      }
    }
  }
  return expected;
}

// Runs one tile; `first` is what another gave, bit by bit, or becomes it if empty.
template <class T>
double CheckForward(const Case<T>& c, Precision precision, const Tile& tile,
                    const Expected& expected, std::vector<T>& first) {
  const Shape& s = c.shape;
  const bool few = s.c_in <= sas::cuda::kFewChannels && sizeof(T) == 4;
  const bool tensor = precision != Precision::kF32 && !few;
  Device<T> x(c.x);
  Device<T> w(tensor ? TransposedWeights(c, precision) : c.w);
  Device<int32_t> nbr(c.nbr);
  Device<int32_t> order(c.order);
  Device<int32_t> num_out(std::vector<int32_t>{s.num_out});
  Device<T> y(c.capacity * s.c_out);
  const ConvForwardOf<T> conv{x.get(), w.get(),    nbr.get(),  order.get(),   num_out.get(),
                              y.get(), c.capacity, c.capacity, s.num_offsets, s.c_in,
                              s.c_out, tensor,     false};
  CheckLaunch(RunForward(conv, precision, tile));
  Check(cudaDeviceSynchronize(), "forward");
  const std::vector<T> got = y.Host();
  if (first.empty()) first = got;
  if (std::memcmp(first.data(), got.data(), got.size() * sizeof(T)) != 0) return INFINITY;
  Worst worst;
  for (size_t i = 0; i < got.size(); ++i) {
    // Tensor cores add terms with two bits fewer.
    const double terms = s.num_offsets * s.c_in + 1;
    double bound = terms * std::ldexp(expected.absolute[i], tensor ? -22 : -24);
    if (sizeof(T) == 2) bound += std::ldexp(std::abs(expected.sums[i]), -8);
    worst.Add(Widen(got[i]), expected.sums[i], bound);
  }
  return worst.ratio;
}

template <class T>
double CheckWeightGrad(const Case<T>& c, Precision precision, int rows, int columns) {
  const Shape& s = c.shape;
  const int64_t slabs = NumSlabs(c.capacity);
  Device<T> x(c.x);
  Device<T> dy(c.dy);
  Device<int32_t> nbr(c.nbr);
  Device<int32_t> num_out(std::vector<int32_t>{s.num_out});
  Device<float> dw(c.w.size());
  Device<float> partials(slabs * c.w.size());
  const ConvWeightGradOf<T> conv{x.get(),       dy.get(),   nbr.get(),
                                 num_out.get(), dw.get(),   slabs > 1 ? partials.get() : nullptr,
                                 c.capacity,    c.capacity, s.num_offsets,
                                 s.c_in,        s.c_out};
  CheckLaunch(RunWeightGrad(conv, precision, {rows, columns}));
  Check(cudaDeviceSynchronize(), "weight gradient");
  const std::vector<float> got = dw.Host();
  Worst worst;
  for (int k = 0; k < s.num_offsets; ++k) {
    for (int i = 0; i < s.c_in; ++i) {
      for (int j = 0; j < s.c_out; ++j) {
        double sum = 0.0;
        double absolute = 0.0;
        for (int64_t o = 0; o < s.num_out; ++o) {
          const int32_t in = c.nbr[k * c.capacity + o];
          if (in < 0) continue;
          const double term =
              double{Factor(Widen(c.x[int64_t{in} * s.c_in + i]), precision, false)} *
              Factor(Widen(c.dy[o * s.c_out + j]), precision, false);
          sum += term;
          absolute += std::abs(term);
        }
        const double bound =
            (s.num_out + 1) * std::ldexp(absolute, precision == Precision::kF32 ? -24 : -22);
        worst.Add(got[(int64_t{k} * s.c_in + i) * s.c_out + j], sum, bound);
      }
    }
  }
  return worst.ratio;
}

int Channels(int channels, Precision precision) {
  const int step = precision == Precision::kBf16 ? 8 : precision == Precision::kTf32 ? 4 : 1;
  return static_cast<int>(CeilDiv(channels, step)) * step;
}

bool Report(const char* pass, const Shape& s, Precision precision, const Tile& tile, double ratio) {
  const bool right = ratio <= 1.0;
  std::printf(
      "{\"check\": \"%s\", \"precision\": \"%s\", \"offsets\": %d, \"channels\": [%d, %d], "
      "\"rows\": %d, \"tile\": [%d, %d, %d, %d, %d], \"error_over_bound\": %.3g, "
      "\"right\": %s}\n",
      pass, kNames[static_cast<int>(precision)], s.num_offsets, s.c_in, s.c_out, s.num_out,
      tile.rows, tile.columns, tile.terms, tile.stages, tile.warps, ratio,
      right ? "true" : "false");
  std::fflush(stdout);
  return right;
}

template <class T>
bool CheckShape(Shape shape, Precision precision, bool quick, bool forward_alone) {
  bool right = true;
  shape.c_in = Channels(shape.c_in, precision);
  const Case<T> forward(shape, 1);
  const Expected expected = ExpectForward(forward, precision);
  std::vector<T> first;
  for (const Tile& tile : ForwardTiles(precision)) {
    if (quick && (tile.columns != 96 || tile.rows == 32)) continue;
    right &= Report("forward", shape, precision, tile,
                    CheckForward(forward, precision, tile, expected, first));
  }
  if (forward_alone) return right;
  shape.c_out = Channels(shape.c_out, precision);
  const Case<T> gradient(shape, 2);
  for (int height : {32, 64, 96}) {
    for (int width : {32, 64, 96}) {
      if (quick && (width != 96 || height != 64)) continue;
      right &= Report("weight_grad", shape, precision, {height, width},
                      CheckWeightGrad(gradient, precision, height, width));
    }
  }
  return right;
}

// Compares the neighbour search with a map of all keys: a slab of voxels, offsets along two axes.
bool CheckNeighbours(int64_t edge, int64_t padding) {
  std::vector<uint64_t> keys;
  for (int64_t x = 0; x < edge; ++x) {
    for (int64_t z = 0; z < edge; ++z) {
      if ((x * 7 + z * 3) % 5 != 0) keys.push_back(uint64_t(1000 + x) << 30 | uint64_t(500 + z));
    }
  }
  const int64_t num_keys = static_cast<int64_t>(keys.size());
  std::map<uint64_t, int32_t> row_of;
  for (int64_t i = 0; i < num_keys; ++i) row_of[keys[i]] = static_cast<int32_t>(i);
  keys.resize(num_keys + padding, ~uint64_t{0});
  const int64_t steps = 3;
  const int64_t columns = 5;
  std::vector<uint64_t> deltas;
  for (int64_t s = 0; s < steps; ++s) {
    for (int64_t c = 0; c < columns; ++c) {
      deltas.push_back((uint64_t(c - 2) << 30) + uint64_t(s - 1));
    }
  }
  auto words = [](const std::vector<uint64_t>& values, int shift) {
    std::vector<uint32_t> part;
    for (uint64_t value : values) part.push_back(static_cast<uint32_t>(value >> shift));
    return part;
  };
  std::vector<uint32_t> both = words(deltas, 32);
  const std::vector<uint32_t> low_words = words(deltas, 0);
  both.insert(both.end(), low_words.begin(), low_words.end());
  const Device<uint32_t> high(words(keys, 32)), low(words(keys, 0)), offsets(both);
  const Device<int32_t> count(std::vector<int32_t>{static_cast<int32_t>(num_keys)});
  const int64_t rows = static_cast<int64_t>(keys.size());
  const Device<int32_t> nbr(steps * columns * rows);
  const sas::cuda::KeyWords all{high.get(), low.get(), rows};
  const char* error = sas::cuda::RunNeighbours(
      {all, all, count.get(), offsets.get(), steps, columns, nbr.get()}, nullptr);
  if (error != nullptr) std::printf("{\"error\": \"%s\"}\n", error);
  Check(cudaDeviceSynchronize(), "neighbours");
  const std::vector<int32_t> got = nbr.Host();
  bool right = error == nullptr;
  for (int64_t k = 0; k < steps * columns; ++k) {
    for (int64_t o = 0; o < rows; ++o) {
      const auto found = o < num_keys ? row_of.find(keys[o] + deltas[k]) : row_of.end();
      right &= got[k * rows + o] == (found == row_of.end() ? -1 : found->second);
    }
  }
  std::printf("{\"check\": \"neighbours\", \"rows\": %lld, \"right\": %s}\n",
              static_cast<long long>(rows), right ? "true" : "false");
  return right;
}

bool CheckAll(bool quick, bool forward_alone) {
  const std::vector<Shape> shapes =
      quick ? std::vector<Shape>{{3, 8, 8, 20, 5, 0.4}, {27, 40, 100, 300, 9, 0.3}}
            : std::vector<Shape>{{1, 8, 4, 1, 0, 1.0},        {3, 8, 8, 20, 5, 0.4},
                                 {8, 5, 7, 70, 5, 0.4},       {27, 3, 32, 300, 9, 0.3},
                                 {27, 96, 96, 1000, 24, 0.3}, {27, 40, 100, 300, 9, 0.05},
                                 {2, 16, 24, 9000, 700, 0.3}, {125, 8, 33, 200, 0, 0.1}};
  bool right = CheckNeighbours(3, 2) && CheckNeighbours(quick ? 20 : 200, 77);
  for (const Shape& shape : shapes) {
    right &= CheckShape<float>(shape, Precision::kF32, quick, forward_alone);
    right &= CheckShape<float>(shape, Precision::kTf32, quick, forward_alone);
    right &= CheckShape<Bfloat16>(shape, Precision::kBf16, quick, forward_alone);
  }
  return right;
}

// A neighbour table on disk: offsets, capacity, valid rows, then table and order, all int32.
struct Table {
  explicit Table(const char* path) {
    std::FILE* file = std::fopen(path, "rb");
    int32_t header[3];
    if (file == nullptr || std::fread(header, 4, 3, file) != 3) {
      std::printf("{\"error\": \"no table in %s\"}\n", path);
      std::exit(1);
    }
    num_offsets = header[0];
    capacity = header[1];
    num_out = header[2];
    nbr.resize(int64_t{num_offsets} * capacity);
    order.resize(capacity);
    const bool whole = std::fread(nbr.data(), 4, nbr.size(), file) == nbr.size() &&
                       std::fread(order.data(), 4, order.size(), file) == order.size();
    std::fclose(file);
    if (!whole) std::exit(1);
    for (int32_t in : nbr) num_pairs += in >= 0;
  }
  int num_offsets;
  int capacity;
  int num_out;
  int64_t num_pairs = 0;
  std::vector<int32_t> nbr;
  std::vector<int32_t> order;
};

template <class Run>
double MedianMs(Run run) {
  cudaEvent_t begin;
  cudaEvent_t end;
  Check(cudaEventCreate(&begin), "event");
  Check(cudaEventCreate(&end), "event");
  for (int i = 0; i < 3; ++i) run();
  std::vector<float> samples;
  for (int i = 0; i < 9; ++i) {
    Check(cudaEventRecord(begin), "record");
    for (int j = 0; j < 5; ++j) run();
    Check(cudaEventRecord(end), "record");
    Check(cudaEventSynchronize(end), "synchronize");
    float ms = 0.0f;
    Check(cudaEventElapsedTime(&ms, begin, end), "elapsed");
    samples.push_back(ms / 5);
  }
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

template <class T>
std::vector<T> Random(int64_t count) {
  std::mt19937 random(3);
  std::vector<T> values(count);
  std::vector<float> some(1 << 16);
  std::normal_distribution<float> normal;
  for (float& value : some) value = normal(random);
  for (int64_t i = 0; i < count; ++i) Narrow(some[i * 7919 % some.size()], &values[i]);
  return values;
}

// What --time, --default and --shapes time of a layer.
struct Timed {
  bool forward_tiles;
  bool grads;
  bool grad_tiles;
};

// Tiles or steps that are mostly padding are not worth the time.
bool IsWorthTiming(const Tile& tile, int c_in, int c_out) {
  return (tile.columns == 32 || CeilDiv(c_out, tile.columns) * tile.columns == c_out) &&
         c_in % std::max(tile.terms, 1) == 0;
}

template <class T>
void TimeLayer(const Table& table, const char* name, Precision precision, int c_in, int c_out,
               const Timed& timed) {
  Device<T> x(Random<T>(int64_t{table.capacity} * c_in));
  Device<T> dy(Random<T>(int64_t{table.capacity} * c_out));
  Device<T> w(Random<T>(int64_t{table.num_offsets} * c_in * c_out));
  Device<T> y(int64_t{table.capacity} * c_out);
  Device<int32_t> nbr(table.nbr);
  Device<int32_t> order(table.order);
  Device<int32_t> num_out(std::vector<int32_t>{table.num_out});
  Device<float> dw(int64_t{table.num_offsets} * c_in * c_out);
  const int64_t slabs = NumSlabs(table.capacity);
  Device<float> partials(slabs * table.num_offsets * c_in * c_out);
  const double gflop = 2e-9 * static_cast<double>(table.num_pairs) * c_in * c_out;
  auto report = [&](const char* pass, const Tile& tile, double ms) {
    std::printf(
        "{\"time\": \"%s\", \"table\": \"%s\", \"precision\": \"%s\", \"channels\": [%d, %d], "
        "\"rows\": %d, \"tile\": [%d, %d, %d, %d, %d], \"ms\": %.4f, \"tflops\": %.2f}\n",
        pass, name, kNames[static_cast<int>(precision)], c_in, c_out, table.num_out, tile.rows,
        tile.columns, tile.terms, tile.stages, tile.warps, ms, gflop / ms);
    std::fflush(stdout);
  };
  auto forward = [&](const Tile& tile) {
    const ConvForwardOf<T> conv{
        x.get(), w.get(),        nbr.get(),      order.get(),       num_out.get(),
        y.get(), table.capacity, table.capacity, table.num_offsets, c_in,
        c_out,   true,           false};
    report("forward", tile, MedianMs([&] { CheckLaunch(RunForward(conv, precision, tile)); }));
  };
  auto gradient = [&](const Tile& tile) {
    const ConvWeightGradOf<T> conv{
        x.get(),        dy.get(),       nbr.get(),
        num_out.get(),  dw.get(),       slabs > 1 ? partials.get() : nullptr,
        table.capacity, table.capacity, table.num_offsets,
        c_in,           c_out};
    report("weight_grad", tile,
           MedianMs([&] { CheckLaunch(RunWeightGrad(conv, precision, tile)); }));
  };
  forward({});
  if (timed.grads) gradient({});
  if (timed.forward_tiles) {
    for (const Tile& tile : ForwardTiles(precision)) {
      if (IsWorthTiming(tile, c_in, c_out)) forward(tile);
    }
  }
  if (!timed.grad_tiles) return;
  for (int rows : {32, 64, 96}) {
    for (int columns : {32, 64, 96}) {
      if (CeilDiv(c_in, rows) * rows > c_in * 3 / 2 && rows > 32) continue;
      if (CeilDiv(c_out, columns) * columns > c_out * 3 / 2 && columns > 32) continue;
      gradient({rows, columns});
    }
  }
}

void TimeTable(const char* path, const std::vector<std::pair<int, int>>& layers,
               const std::string& mode) {
  const Table table(path);
  const Timed timed{mode != "--default", mode != "--shapes", mode == "--time"};
  for (const auto& [c_in, c_out] : layers) {
    TimeLayer<float>(table, path, Precision::kF32, c_in, c_out, timed);
    TimeLayer<float>(table, path, Precision::kTf32, c_in, c_out, timed);
    TimeLayer<Bfloat16>(table, path, Precision::kBf16, c_in, c_out, timed);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (argc > 2 && (mode == "--time" || mode == "--default" || mode == "--shapes")) {
    std::vector<std::pair<int, int>> layers;
    for (int i = 3; i + 1 < argc; i += 2) {
      layers.emplace_back(std::atoi(argv[i]), std::atoi(argv[i + 1]));
    }
    TimeTable(argv[2], layers, mode);
    return 0;
  }
  const bool right = CheckAll(mode == "--quick", mode == "--forward");
  std::printf("{\"all_right\": %s}\n", right ? "true" : "false");
  return right ? 0 : 1;
}
