// C entry points that run the CUDA convolutions on the CPU, for tests.
#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "dispatch.h"
#include "fibers.h"
#include "sas_conv_cuda.h"

namespace {

using sas::cuda::KernelTag;
using sas::cuda::Precision;
using sas::cuda::emulate::Block;
using sas::cuda::emulate::Range;
using sas::cuda::emulate::Schedule;

constexpr std::align_val_t kAlignment{128};

std::string last_error;

// Shared memory of one block, as undefined as a GPU's.
class SharedMemory {
 public:
  explicit SharedMemory(size_t size) : size_(size), data_(::operator new(size, kAlignment)) {}
  ~SharedMemory() { ::operator delete(data_, kAlignment); }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  void Spoil() { std::memset(data_, 0xff, size_); }
  void* data() const { return data_; }
  Range range() const { return {data_, size_}; }

 private:
  size_t size_;
  void* data_;
};

class EmulatedLaunch {
 public:
  EmulatedLaunch(Schedule schedule, std::vector<Range> readable)
      : schedule_(schedule), readable_(std::move(readable)) {}

  template <class Kernel>
  void operator()(KernelTag<Kernel>, int64_t num_blocks, const typename Kernel::Args& args) {
    using Shared = typename Kernel::Shared;
    SharedMemory memory(sizeof(Shared));
    auto& shared = *static_cast<Shared*>(memory.data());
    for (int64_t i = 0; i < num_blocks && error_.empty(); ++i) {
      memory.Spoil();
      Block block(i, sas::cuda::kThreads, memory.range(), readable_, schedule_);
      error_ = block.Run([&] { Kernel::Run(args, shared); });
    }
  }

  int Finish() const {
    last_error = error_;
    return error_.empty() ? 0 : 1;
  }

 private:
  Schedule schedule_;
  std::vector<Range> readable_;
  std::string error_;
};

Range Floats(const float* data, int64_t rows, int64_t columns) {
  return {data, sizeof(float) * static_cast<size_t>(rows * columns)};
}

Precision PrecisionOf(int tf32) { return tf32 ? Precision::kTf32 : Precision::kF32; }

Schedule ScheduleOf(int bits) { return {(bits & 1) != 0, (bits & 2) != 0}; }

}  // namespace

// Sizes of both: offsets, c_in, c_out, table stride, valid rows, capacity, rows of x. columns: of a
// tile, 0 chooses. schedule: bit 0 copies at once, bit 1 threads in descending order. Return 0, or
// 1 if a GPU would have objected. flags: bit 0 transposes the weights, bit 1 reverses the offsets.
extern "C" {

int sas_emulate_forward(const float* x, const float* w, const int32_t* nbr, const int32_t* order,
                        float* y, const int64_t* sizes, int flags, int tf32, int columns,
                        int schedule) {
  const int num_offsets = static_cast<int>(sizes[0]);
  const int c_in = static_cast<int>(sizes[1]);
  const int c_out = static_cast<int>(sizes[2]);
  const int32_t num_out = static_cast<int32_t>(sizes[4]);
  EmulatedLaunch launch(ScheduleOf(schedule),
                        {Floats(x, sizes[6], c_in), Floats(w, int64_t{num_offsets} * c_in, c_out)});
  sas::cuda::LaunchForward({x, w, nbr, order, &num_out, y, sizes[3], sizes[5], num_offsets, c_in,
                            c_out, (flags & 1) != 0, (flags & 2) != 0},
                           PrecisionOf(tf32), columns, launch);
  return launch.Finish();
}

int sas_emulate_weight_grad(const float* x, const float* dy, const int32_t* nbr, float* dw,
                            float* partials, const int64_t* sizes, int tf32, int columns,
                            int schedule) {
  const int num_offsets = static_cast<int>(sizes[0]);
  const int c_in = static_cast<int>(sizes[1]);
  const int c_out = static_cast<int>(sizes[2]);
  const int32_t num_out = static_cast<int32_t>(sizes[4]);
  EmulatedLaunch launch(ScheduleOf(schedule),
                        {Floats(x, sizes[6], c_in), Floats(dy, sizes[5], c_out)});
  sas::cuda::LaunchWeightGrad(
      {x, dy, nbr, &num_out, dw, partials, sizes[3], sizes[5], num_offsets, c_in, c_out},
      PrecisionOf(tf32), columns, launch);
  return launch.Finish();
}

const char* sas_emulate_error() { return last_error.c_str(); }

int64_t sas_emulate_num_slabs(int64_t num_rows) { return sas::cuda::NumSlabs(num_rows); }

}  // extern "C"
