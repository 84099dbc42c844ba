#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>

#include "sas_parallel.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace sas {
namespace {

// Rounding and denormal handling of a thread. Helpers take over the caller's, since a denormal
// flushed on one thread and kept on another would make results depend on which thread ran a task.
#if defined(__SSE__)
unsigned FloatMode() { return _mm_getcsr(); }
void SetFloatMode(unsigned mode) { _mm_setcsr(mode); }
#else
unsigned FloatMode() { return 0; }
void SetFloatMode(unsigned) {}
#endif

struct Loop {
  Loop(int64_t count, const std::function<void(int64_t)>& body) : count(count), body(&body) {}

  // Draws indices until none is left. `body` is touched only while an index is held, and For does
  // not return before every held index is done, so a late helper never reads a dead function.
  void Drain() {
    for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
      (*body)(i);
      if (done.fetch_add(1) + 1 == count) {
        std::lock_guard<std::mutex> lock(mutex);
        all_done.notify_all();
      }
    }
  }

  void Help() {
    const unsigned own_mode = FloatMode();
    SetFloatMode(float_mode);
    Drain();
    SetFloatMode(own_mode);
  }

  void Wait() {
    std::unique_lock<std::mutex> lock(mutex);
    all_done.wait(lock, [this] { return done.load() == count; });
  }

  const int64_t count;
  const unsigned float_mode = FloatMode();
  const std::function<void(int64_t)>* body;
  std::atomic<int64_t> next{0};
  std::atomic<int64_t> done{0};
  std::mutex mutex;
  std::condition_variable all_done;
};

}  // namespace

void Parallel::For(int64_t count, const std::function<void(int64_t)>& body) {
  const int64_t helpers = std::min<int64_t>(num_threads(), count) - 1;
  if (helpers <= 0) {
    for (int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  auto loop = std::make_shared<Loop>(count, body);
  for (int64_t i = 0; i < helpers; ++i) Schedule([loop] { loop->Help(); });
  loop->Drain();
  loop->Wait();
}

OwnThreads::~OwnThreads() {
  for (std::thread& thread : threads_) thread.join();
}

void OwnThreads::Schedule(std::function<void()> helper) {
  threads_.emplace_back(std::move(helper));
}

}  // namespace sas
