// C entry point that runs the neighbour search of CUDA on the CPU, for tests.
#include <cstdint>

#include "emulated_launch.h"
#include "fibers.h"
#include "neighbours.h"
#include "sas_plan_cuda.h"

namespace {

using sas::cuda::emulate::EmulatedLaunch;

sas::cuda::KeyWords Words(const uint32_t* words, int64_t size) {
  return {words, words + size, size};
}

}  // namespace

extern "C" {

// keys and centres: [2, rows] words. sizes: rows of keys, of centres, valid centres, steps,
// columns. schedule: bit 1 runs threads in descending order. Returns 0, or 1 if a GPU would have
// objected.
int sas_emulate_neighbours(const uint32_t* keys, const uint32_t* centres, const uint32_t* deltas,
                           int32_t* nbr, const int64_t* sizes, int schedule) {
  const int32_t num_centres = static_cast<int32_t>(sizes[2]);
  EmulatedLaunch launch({true, (schedule & 2) != 0}, {});
  sas::cuda::LaunchNeighbours({Words(keys, sizes[0]), Words(centres, sizes[1]), &num_centres,
                               deltas, sizes[3], sizes[4], nbr},
                              launch);
  return launch.Finish();
}

}  // extern "C"
