// Runs every operation on many threads at once, for the sanitizers: tests/kernels/sanitize.py.
//
// Arrays are exactly as large as promised, so that reading past one is seen. Loops run on threads
// of their own, and on a pool shared by several callers that runs helpers late, as XLA's may: after
// the loop they were meant for has ended. Results are compared with those of one thread; a
// difference ends the program with status 1.
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "sas_c_api.h"
#include "sas_conv.h"
#include "sas_gauss.h"
#include "sas_norm.h"
#include "sas_parallel.h"
#include "sas_plan.h"

namespace {

constexpr int kThreads = 4;
constexpr int kCallers = 3;

// A few threads that several loops share. Helpers wait in a queue behind those of other loops.
class Pool {
 public:
  explicit Pool(int num_threads) {
    for (int i = 0; i < num_threads; ++i) threads_.emplace_back([this] { Work(); });
  }
  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      closed_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  void Add(std::function<void()> task) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    changed_.notify_one();
  }

 private:
  void Work() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return closed_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool closed_ = false;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
};

class OnPool final : public sas::Parallel {
 public:
  explicit OnPool(Pool* pool) : pool_(pool) {}
  int num_threads() const override { return kThreads; }

 protected:
  void Schedule(std::function<void()> helper) override { pool_->Add(std::move(helper)); }

 private:
  Pool* pool_;
};

using Bytes = std::vector<char>;

template <class T>
void Append(const std::vector<T>& values, Bytes* bytes) {
  const char* begin = reinterpret_cast<const char*>(values.data());
  bytes->insert(bytes->end(), begin, begin + sizeof(T) * values.size());
}

std::vector<float> Normal(int64_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(size);
  for (float& value : values) value = normal(random);
  return values;
}

std::vector<sas::Bf16> Narrow(const std::vector<float>& values) {
  std::vector<sas::Bf16> narrow(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    uint32_t bits;
    std::memcpy(&bits, &values[i], sizeof(bits));
    narrow[i].bits = static_cast<uint16_t>(bits >> 16);
  }
  return narrow;
}

struct Shape {
  int64_t offsets, c_in, c_out, rows;
};

// A table whose offset k pairs row o with row o + k, or with none.
std::vector<int32_t> Table(const Shape& shape) {
  std::mt19937 random(7);
  std::vector<int32_t> nbr(shape.offsets * shape.rows);
  for (int64_t i = 0; i < static_cast<int64_t>(nbr.size()); ++i) {
    const int64_t row = i % shape.rows + i / shape.rows;
    nbr[i] = random() % 3 == 0 && row < shape.rows ? static_cast<int32_t>(row) : -1;
  }
  return nbr;
}

template <class Element>
Bytes Convolve(const Shape& shape, const std::vector<Element>& x, const std::vector<Element>& dy,
               sas::Parallel& parallel) {
  const std::vector<int32_t> nbr = Table(shape);
  const std::vector<float> w = Normal(shape.offsets * shape.c_in * shape.c_out, 1);
  std::vector<Element> y(dy.size());
  std::vector<Element> dx(x.size());
  std::vector<float> dw(w.size());
  const int64_t valid = shape.rows - shape.rows / 8;
  sas::RunForward<Element>({x.data(), w.data(), nbr.data(), y.data(), shape.offsets, shape.c_in,
                            shape.c_out, shape.rows, valid, shape.rows, false, false},
                           parallel);
  sas::RunForward<Element>({dy.data(), w.data(), nbr.data(), dx.data(), shape.offsets, shape.c_out,
                            shape.c_in, shape.rows, valid, shape.rows, true, true},
                           parallel);
  sas::RunWeightGrad<Element>({x.data(), dy.data(), nbr.data(), dw.data(), shape.offsets,
                               shape.c_in, shape.c_out, shape.rows, valid},
                              parallel);
  Bytes bytes;
  Append(y, &bytes);
  Append(dx, &bytes);
  Append(dw, &bytes);
  return bytes;
}

// Forward and input gradient with weights of bfloat16, where the processor multiplies them.
void ConvolveProducts(const Shape& shape, const std::vector<sas::Bf16>& x,
                      const std::vector<sas::Bf16>& dy, sas::Parallel& parallel, Bytes* bytes) {
  if (!sas::HasBf16Products()) return;
  const std::vector<int32_t> nbr = Table(shape);
  const std::vector<sas::Bf16> w = Narrow(Normal(shape.offsets * shape.c_in * shape.c_out, 1));
  std::vector<sas::Bf16> y(dy.size()), dx(x.size());
  const int64_t valid = shape.rows - shape.rows / 8;
  sas::RunForward<sas::Bf16, sas::Bf16>(
      {x.data(), w.data(), nbr.data(), y.data(), shape.offsets, shape.c_in, shape.c_out, shape.rows,
       valid, shape.rows, false, false},
      parallel);
  sas::RunForward<sas::Bf16, sas::Bf16>(
      {dy.data(), w.data(), nbr.data(), dx.data(), shape.offsets, shape.c_out, shape.c_in,
       shape.rows, valid, shape.rows, true, true},
      parallel);
  Append(y, bytes);
  Append(dx, bytes);
}

Bytes ConvolveBoth(const Shape& shape, sas::Parallel& parallel) {
  const std::vector<float> x = Normal(shape.rows * shape.c_in, 2);
  const std::vector<float> dy = Normal(shape.rows * shape.c_out, 3);
  Bytes bytes = Convolve<float>(shape, x, dy, parallel);
  const Bytes narrow = Convolve<sas::Bf16>(shape, Narrow(x), Narrow(dy), parallel);
  bytes.insert(bytes.end(), narrow.begin(), narrow.end());
  ConvolveProducts(shape, Narrow(x), Narrow(dy), parallel, &bytes);
  return bytes;
}

Bytes Norm(const Shape& shape, sas::Parallel& parallel) {
  const int64_t channels = shape.c_out;
  const sas::Rows rows = {shape.rows - shape.rows / 8, shape.rows, channels};
  const std::vector<float> x = Normal(shape.rows * channels, 4);
  const std::vector<float> dy = Normal(shape.rows * channels, 5);
  const std::vector<float> gain = Normal(channels, 6);
  std::vector<float> mean(channels), squares(channels), sum(channels), weighted(channels);
  std::vector<float> y(x.size()), dx(x.size()), dresidual(x.size());
  std::vector<uint8_t> gate(shape.rows * rows.GateBytes());
  sas::RunMoments(rows, x.data(), mean.data(), squares.data(), parallel);
  sas::RunNormalize(
      rows,
      {x.data(), mean.data(), gain.data(), gain.data(), dy.data(), true, y.data(), gate.data()},
      parallel);
  const std::vector<sas::Bf16> narrow_x = Narrow(x), narrow_dy = Narrow(dy);
  std::vector<sas::Bf16> narrow_y(x.size());
  sas::RunNormalizeBf16(rows,
                        {narrow_x.data(), mean.data(), gain.data(), gain.data(), narrow_dy.data(),
                         true, narrow_y.data()},
                        parallel);
  sas::RunNormalizeSums(
      rows, {dy.data(), x.data(), gate.data(), mean.data(), sum.data(), weighted.data()}, parallel);
  sas::RunNormalizeGrad(rows,
                        {dy.data(), x.data(), gate.data(), mean.data(), gain.data(), sum.data(),
                         weighted.data(), dx.data(), dresidual.data()},
                        parallel);
  Bytes bytes;
  for (const auto& values : {mean, squares, y, sum, weighted, dx, dresidual}) {
    Append(values, &bytes);
  }
  Append(gate, &bytes);
  Append(narrow_y, &bytes);
  return bytes;
}

Bytes Plan(const Shape& shape, sas::Parallel& parallel) {
  std::mt19937_64 random(8);
  std::vector<uint64_t> keys(shape.rows), unique(shape.rows);
  for (uint64_t& key : keys) key = (uint64_t{1} << 40) + random() % (4 * shape.rows + 1);
  std::vector<int32_t> first(shape.rows);
  const int64_t count = sas::SortUnique(keys.data(), shape.rows, unique.data(), first.data());
  unique.resize(count);
  const std::vector<uint64_t> coarse(unique.begin(), unique.begin() + count / 2);
  const std::vector<uint64_t> deltas = {~uint64_t{0}, 0, 1};
  const int64_t num_coarse = static_cast<int64_t>(coarse.size());
  std::vector<int32_t> nbr(3 * shape.rows), between(3 * num_coarse), back(3 * count);
  const bool valid =
      sas::FillTables({unique.data(), count, unique.data(), count, deltas.data(), 3, 1, nbr.data(),
                       shape.rows, nullptr, shape.rows},
                      parallel) &&
      sas::FillTables({unique.data(), count, coarse.data(), num_coarse, deltas.data(), 3, 1,
                       between.data(), num_coarse, back.data(), count},
                      parallel);
  if (!valid) std::abort();
  Bytes bytes;
  Append(unique, &bytes);
  for (const auto& table : {nbr, between, back}) Append(table, &bytes);
  return bytes;
}

// As many ellipses as rows on an image of a few tiles, of as many channels as go in.
Bytes Gauss(const Shape& shape, sas::Parallel& parallel) {
  const int64_t count = shape.rows, channels = shape.c_in, width = 70, height = 37;
  std::vector<float> means = Normal(2 * count, 9), depths = Normal(count, 10);
  std::vector<float> opacities = Normal(count, 11), conics(3 * count);
  std::vector<int32_t> radii(2 * count);
  for (int64_t g = 0; g < count; ++g) {
    const float size = 1.0f + 4.0f * opacities[g] * opacities[g];
    means[2 * g] = 35.0f + 20.0f * means[2 * g];
    means[2 * g + 1] = 18.0f + 12.0f * means[2 * g + 1];
    opacities[g] = 0.5f + 0.2f * opacities[g];
    conics[3 * g] = conics[3 * g + 2] = 1.0f / (size * size);
    conics[3 * g + 1] = 0.5f / (size * size);
    radii[2 * g] = radii[2 * g + 1] = g % 9 == 0 ? 0 : static_cast<int32_t>(4 * size + 1);
  }
  const std::vector<float> features = Normal(count * channels, 12);
  const std::vector<float> dimage = Normal(width * height * channels, 13);
  const std::vector<float> dalpha = Normal(width * height, 14);
  std::vector<float> image(dimage.size()), alpha(dalpha.size()), alone(features.size());
  std::vector<float> dfeatures(features.size()), dmeans(2 * count), dconics(3 * count);
  std::vector<float> dopacities(count);
  const sas::GaussEllipses ellipses = {means.data(),     depths.data(), conics.data(),
                                       opacities.data(), radii.data(),  count};
  const sas::GaussView view = {width, height, channels, 0.999f};
  sas::RunGaussForward(ellipses, view, {features.data(), image.data(), alpha.data()}, parallel);
  sas::RunGaussFeatureGrad(ellipses, view, {dimage.data(), alone.data()}, parallel);
  sas::RunGaussEllipseGrad(ellipses, view,
                           {features.data(), dimage.data(), dalpha.data(), dfeatures.data(),
                            dmeans.data(), dconics.data(), dopacities.data()},
                           parallel);
  Bytes bytes;
  for (const auto& values : {image, alpha, alone, dfeatures, dmeans, dconics, dopacities}) {
    Append(values, &bytes);
  }
  return bytes;
}

bool Check(const char* what, const Shape& shape, Bytes (*run)(const Shape&, sas::Parallel&)) {
  sas::OwnThreads one(1);
  const Bytes expected = run(shape, one);
  std::atomic<bool> same{true};
  sas::OwnThreads own(kThreads);
  same = same && run(shape, own) == expected;
  {
    Pool pool(2);
    std::vector<std::thread> callers;
    for (int i = 0; i < kCallers; ++i) {
      callers.emplace_back([&] {
        OnPool parallel(&pool);
        if (run(shape, parallel) != expected) same = false;
      });
    }
    for (std::thread& caller : callers) caller.join();
  }
  if (!same) std::printf("%s differs between threads on %s\n", what, sas_isa_name());
  return same;
}

}  // namespace

int main() {
  // A tile, several slabs, a deep level, the first layer, panels that end inside a vector.
  const Shape shapes[] = {{1, 1, 1, 1},     {8, 5, 7, 33},    {27, 32, 48, 600},
                          {27, 96, 40, 64}, {3, 3, 32, 9000}, {2, 20, 70, 17000}};
  bool same = true;
  for (int isa = 1; isa <= 3; ++isa) {
    if (sas_set_isa(isa) != 0) continue;
    for (const Shape& shape : shapes) {
      same = Check("convolution", shape, ConvolveBoth) && same;
      same = Check("normalisation", shape, Norm) && same;
      same = Check("plan", shape, Plan) && same;
      same = Check("Gaussians", shape, Gauss) && same;
    }
    std::printf("%s done\n", sas_isa_name());
  }
  return same ? 0 : 1;
}
