#include "fibers.h"

#include <cstring>
#include <utility>

namespace sas::cuda::emulate {
namespace {

constexpr size_t kStackSize = 64 << 10;

Block* current = nullptr;

bool Contains(const Range& range, const void* data, size_t size) {
  const auto* begin = static_cast<const char*>(range.data);
  const auto* first = static_cast<const char*>(data);
  return first >= begin && first + size <= begin + range.size;
}

bool IsAligned(const void* data, int size) {
  return reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(size) == 0;
}

// The tensor core takes 19 bits of each factor.
float FromBf16(uint32_t bits) {
  bits <<= 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

float FromTf32(uint32_t bits) {
  bits &= ~0x1fffu;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

}  // namespace

Block::Block(int64_t index, int num_threads, Range shared, const std::vector<Range>& readable,
             Schedule schedule)
    : index_(index),
      shared_(shared),
      readable_(readable),
      schedule_(schedule),
      threads_(num_threads),
      warps_(num_threads / kWarp) {}

Block& Block::Current() { return *current; }

std::string Block::Run(const std::function<void()>& body) {
  body_ = &body;
  current = this;
  for (size_t i = 0; i < threads_.size(); ++i) Start(static_cast<int>(i));
  const int num_threads = static_cast<int>(threads_.size());
  while (failure_.empty()) {
    if (ResumeReady()) continue;
    bool released = false;
    for (int first = 0; first < num_threads; first += kWarp) {
      released |= Release(first, kWarp, State::kAtWarpBarrier);
    }
    if (released || Release(0, num_threads, State::kAtBlockBarrier)) continue;
    for (const Thread& thread : threads_) {
      if (thread.state != State::kDone) failure_ = "threads wait for others that never come";
    }
    break;
  }
  current = nullptr;
  return failure_;
}

void Block::Start(int i) {
  Thread& thread = threads_[i];
  thread.stack.reset(new char[kStackSize]);
  getcontext(&thread.context);
  thread.context.uc_stack.ss_sp = thread.stack.get();
  thread.context.uc_stack.ss_size = kStackSize;
  thread.context.uc_link = &scheduler_;
  makecontext(&thread.context, &Block::Enter, 0);
}

void Block::Enter() {
  Block& block = *current;
  (*block.body_)();
  Thread& thread = block.threads_[block.running_];
  thread.state = State::kDone;
  if (!thread.open_group.empty() || !thread.groups.empty()) {
    block.failure_ = "a thread ends without waiting for its copies";
  }
}

// Lets every thread that can run go on to its next barrier; says whether there was one.
bool Block::ResumeReady() {
  bool any = false;
  const int count = static_cast<int>(threads_.size());
  for (int i = 0; i < count && failure_.empty(); ++i) {
    running_ = schedule_.descending ? count - 1 - i : i;
    if (threads_[running_].state != State::kReady) continue;
    any = true;
    swapcontext(&scheduler_, &threads_[running_].context);
  }
  return any;
}

// Opens a barrier if all `count` threads from `first` on have come to it.
bool Block::Release(int first, int count, State waiting) {
  for (int i = first; i < first + count; ++i) {
    if (threads_[i].state != waiting) return false;
  }
  for (int i = first; i < first + count; ++i) threads_[i].state = State::kReady;
  return true;
}

void Block::Wait(State state) {
  Thread& thread = threads_[running_];
  thread.state = state;
  swapcontext(&thread.context, &scheduler_);
}

// The run ends here, so this fiber is never resumed.
void Block::Fail(const std::string& reason) {
  failure_ = reason;
  Wait(State::kDone);
}

void Block::WaitForBlock() { Wait(State::kAtBlockBarrier); }

Block::Exchange& Block::NextExchange() {
  Thread& thread = threads_[running_];
  thread.odd_exchange = !thread.odd_exchange;
  return warps_[running_ / kWarp].exchanges[thread.odd_exchange];
}

uint32_t Block::Ballot(bool value) {
  Exchange& exchange = NextExchange();
  exchange.vote[running_ % kWarp] = value;
  Wait(State::kAtWarpBarrier);
  uint32_t bits = 0;
  for (int lane = 0; lane < kWarp; ++lane) bits |= uint32_t{exchange.vote[lane]} << lane;
  return bits;
}

void Block::MmaTf32(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  Exchange& exchange = NextExchange();
  const int lane = running_ % kWarp;
  std::memcpy(exchange.a[lane], a, sizeof(a));
  std::memcpy(exchange.b[lane], b, sizeof(b));
  Wait(State::kAtWarpBarrier);
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + (i < 2 ? 0 : 8);
    const int column = lane % 4 * 2 + (i & 1);
    for (int term = 0; term < 8; ++term) {
      // a0 (row, term) a1 (row + 8, term) a2 (row, term + 4) a3 (row + 8, term + 4).
      const int a_lane = row % 8 * 4 + term % 4;
      const int a_register = (row < 8 ? 0 : 1) + (term < 4 ? 0 : 2);
      // b0 (term, column), b1 (term + 4, column).
      const int b_lane = column * 4 + term % 4;
      const int b_register = term < 4 ? 0 : 1;
      sum[i] += FromTf32(exchange.a[a_lane][a_register]) * FromTf32(exchange.b[b_lane][b_register]);
    }
  }
}

void Block::MmaBf16(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  Exchange& exchange = NextExchange();
  const int lane = running_ % kWarp;
  std::memcpy(exchange.a[lane], a, sizeof(a));
  std::memcpy(exchange.b[lane], b, sizeof(b));
  Wait(State::kAtWarpBarrier);
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + (i < 2 ? 0 : 8);
    const int column = lane % 4 * 2 + (i & 1);
    for (int term = 0; term < 16; ++term) {
      // a0, a1 (row, term), (row, term + 1); a2, a3 row + 8; a4, a5 term + 8; a6, a7 both: two
      // in a register.
      const int a_lane = row % 8 * 4 + term % 8 / 2;
      const int a_register = (row < 8 ? 0 : 1) + (term < 8 ? 0 : 2);
      // b0, b1 (term, column), (term + 1, column); b2, b3 term + 8.
      const int b_lane = column * 4 + term % 8 / 2;
      const int b_register = term < 8 ? 0 : 1;
      sum[i] += FromBf16(exchange.a[a_lane][a_register] >> 16 * (term & 1)) *
                FromBf16(exchange.b[b_lane][b_register] >> 16 * (term & 1));
    }
  }
}

void Block::LoadMatrices(uint32_t (&parts)[4], const void* row, bool transposed) {
  Exchange& exchange = NextExchange();
  const int lane = running_ % kWarp;
  if (!Contains(shared_, row, 16)) return Fail("a matrix is read outside shared memory");
  if (!IsAligned(row, 16)) return Fail("a row of a matrix is not aligned");
  exchange.rows[lane] = static_cast<const unsigned char*>(row);
  Wait(State::kAtWarpBarrier);
  for (int i = 0; i < 4; ++i) {
    parts[i] = 0;
    for (int half = 0; half < 2; ++half) {
      const int major = transposed ? lane % 4 * 2 + half : lane / 4;
      const int minor = transposed ? lane / 4 : lane % 4 * 2 + half;
      uint16_t element;
      std::memcpy(&element, exchange.rows[8 * i + major] + 2 * minor, sizeof(element));
      parts[i] |= uint32_t{element} << 16 * half;
    }
  }
}

void Block::Copy(const AsyncCopy& copy) {
  if (!Contains(shared_, copy.target, copy.size)) return Fail("a copy leaves shared memory");
  if (!IsAligned(copy.target, copy.size)) return Fail("the target of a copy is not aligned");
  if (!IsAligned(copy.source, copy.size)) return Fail("the source of a copy is not aligned");
  bool readable = !copy.copy;
  for (const Range& range : readable_) readable |= Contains(range, copy.source, copy.size);
  if (!readable) return Fail("a copy reads outside the arrays");
  if (schedule_.copies_at_once) {
    Perform(copy);
  } else {
    threads_[running_].open_group.push_back(copy);
  }
}

void Block::CommitCopies() {
  Thread& thread = threads_[running_];
  thread.groups.push_back(std::move(thread.open_group));
  thread.open_group.clear();
}

void Block::WaitForCopies(int pending) {
  Thread& thread = threads_[running_];
  while (static_cast<int>(thread.groups.size()) > pending) {
    for (const AsyncCopy& copy : thread.groups.front()) Perform(copy);
    thread.groups.pop_front();
  }
}

void Block::Perform(const AsyncCopy& copy) {
  if (copy.copy) {
    std::memcpy(copy.target, copy.source, copy.size);
  } else {
    std::memset(copy.target, 0, copy.size);
  }
}

}  // namespace sas::cuda::emulate
