// A parallel loop whose caller takes part, over whichever threads the host program owns.
//
// The calling thread draws indices from a shared counter like every helper, and at the end waits
// only for helpers that have started. A helper that the host runs late (or never) finds the counter
// exhausted, so the loop finishes even on a pool whose only thread is the caller: no deadlock.
#ifndef SAS_JAX_KERNELS_INCLUDE_SAS_PARALLEL_H_
#define SAS_JAX_KERNELS_INCLUDE_SAS_PARALLEL_H_

#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace sas {

class Parallel {
 public:
  virtual ~Parallel() = default;

  // Threads that may work at the same time, the caller included; at least 1.
  virtual int num_threads() const = 0;

  // Calls body(i) once for every i in [0, count), in no particular order; returns when all are
  // done.
  void For(int64_t count, const std::function<void(int64_t)>& body);

 protected:
  // Runs `helper` on some other thread, at any time, even after For returned.
  virtual void Schedule(std::function<void()> helper) = 0;
};

// Threads of its own, started for each loop: for callers outside XLA (the plan builder, tests).
class OwnThreads final : public Parallel {
 public:
  explicit OwnThreads(int num_threads) : num_threads_(num_threads < 1 ? 1 : num_threads) {}
  ~OwnThreads() override;
  int num_threads() const override { return num_threads_; }

 protected:
  void Schedule(std::function<void()> helper) override;

 private:
  int num_threads_;
  std::vector<std::thread> threads_;
};

}  // namespace sas

#endif  // SAS_JAX_KERNELS_INCLUDE_SAS_PARALLEL_H_
