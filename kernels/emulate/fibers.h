// A block of GPU threads as fibers of one CPU thread.
#ifndef SAS_JAX_KERNELS_EMULATE_FIBERS_H_
#define SAS_JAX_KERNELS_EMULATE_FIBERS_H_

#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace sas::cuda::emulate {

struct Range {
  const void* data;
  size_t size;
};

// One of the orders in which a GPU may do things.
struct Schedule {
  bool copies_at_once;  // else as late as the kernel allows
  bool descending;      // of threads
};

struct AsyncCopy {
  void* target;
  const void* source;
  int size;
  bool copy;  // else writes zeros
};

class Block {
 public:
  // readable: global memory that asynchronous copies may read.
  Block(int64_t index, int num_threads, Range shared, const std::vector<Range>& readable,
        Schedule schedule);

  // The block whose fiber is running.
  static Block& Current();

  // Runs the body once per thread. Returns what a GPU would have objected to, or nothing.
  std::string Run(const std::function<void()>& body);

  int64_t index() const { return index_; }
  int thread() const { return running_; }

  void WaitForBlock();
  uint32_t Ballot(bool value);
  void MmaTf32(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
  void MmaBf16(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
  void LoadMatrices(uint32_t (&parts)[4], const void* row, bool transposed);
  void Copy(const AsyncCopy& copy);
  void CommitCopies();
  void WaitForCopies(int pending);

 private:
  static constexpr int kWarp = 32;

  enum class State { kReady, kAtBlockBarrier, kAtWarpBarrier, kDone };

  struct Thread {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    State state = State::kReady;
    bool odd_exchange = false;
    std::vector<AsyncCopy> open_group;
    std::deque<std::vector<AsyncCopy>> groups;
  };

  // What lanes show one another. Two, since a lane may be one exchange ahead of others.
  struct Exchange {
    uint32_t a[kWarp][4];
    uint32_t b[kWarp][2];
    const unsigned char* rows[kWarp];
    bool vote[kWarp];
  };
  struct Warp {
    Exchange exchanges[2];
  };

  static void Enter();
  void Start(int thread);
  bool ResumeReady();
  bool Release(int first, int count, State waiting);
  void Wait(State state);
  void Fail(const std::string& reason);
  // The exchange to write to before, and read from after, the warp has met.
  Exchange& NextExchange();
  static void Perform(const AsyncCopy& copy);

  const int64_t index_;
  const Range shared_;
  const std::vector<Range>& readable_;
  const Schedule schedule_;
  const std::function<void()>* body_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  ucontext_t scheduler_;
  int running_ = 0;
  std::string failure_;
};

}  // namespace sas::cuda::emulate

#endif  // SAS_JAX_KERNELS_EMULATE_FIBERS_H_
