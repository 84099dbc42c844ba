// Runs kernels on the CPU, block by block, where stream_launch.h runs them on a stream.
#ifndef SAS_JAX_KERNELS_EMULATE_EMULATED_LAUNCH_H_
#define SAS_JAX_KERNELS_EMULATE_EMULATED_LAUNCH_H_

#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "fibers.h"
#include "kernel_tag.h"

namespace sas::cuda::emulate {

constexpr std::align_val_t kAlignment{128};

// What the last launch of the process ended with.
inline std::string last_error;

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
      Block block(i, Kernel::kBlockThreads, memory.range(), readable_, schedule_);
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

}  // namespace sas::cuda::emulate

#endif  // SAS_JAX_KERNELS_EMULATE_EMULATED_LAUNCH_H_
