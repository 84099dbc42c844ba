// What all handlers share: XLA's threads as a Parallel, and errors.
#ifndef SAS_JAX_KERNELS_FFI_XLA_THREADS_H_
#define SAS_JAX_KERNELS_FFI_XLA_THREADS_H_

#include <exception>
#include <functional>
#include <string>
#include <utility>

#include "sas_parallel.h"
#include "xla/ffi/api/ffi.h"

namespace sas {

// XLA's own threads; it decides when, and whether, helpers run.
class XlaThreads final : public Parallel {
 public:
  explicit XlaThreads(xla::ffi::ThreadPool pool)
      : pool_(pool), num_threads_(static_cast<int>(pool.num_threads())) {}
  int num_threads() const override { return num_threads_ < 1 ? 1 : num_threads_; }

 protected:
  void Schedule(std::function<void()> helper) override { pool_.Schedule(std::move(helper)); }

 private:
  xla::ffi::ThreadPool pool_;
  int num_threads_;
};

inline xla::ffi::Error Invalid(const char* op, const std::string& requirement) {
  return xla::ffi::Error::InvalidArgument(std::string(op) + ": " + requirement);
}

// Runs body(threads); exceptions, such as lack of memory, become XLA errors.
template <class Body>
xla::ffi::Error RunOnXla(const char* op, xla::ffi::ThreadPool pool, Body body) {
  try {
    XlaThreads threads(pool);
    body(threads);
  } catch (const std::exception& error) {
    return xla::ffi::Error::Internal(std::string(op) + ": " + error.what());
  }
  return xla::ffi::Error::Success();
}

}  // namespace sas

#endif  // SAS_JAX_KERNELS_FFI_XLA_THREADS_H_
