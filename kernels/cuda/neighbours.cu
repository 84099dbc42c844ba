#include "neighbours.h"
#include "sas_plan_cuda.h"
#include "stream_launch.h"

namespace sas::cuda {

const char* RunNeighbours(const NeighbourSearch& search, void* stream) {
  StreamLaunch launch(stream);
  LaunchNeighbours(search, launch);
  return launch.Error();
}

}  // namespace sas::cuda
