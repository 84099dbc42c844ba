#include "dispatch.h"
#include "sas_conv_cuda.h"
#include "stream_launch.h"

namespace sas::cuda {

const char* RunWeightGradF32(const ConvWeightGrad& conv, Tile tile, void* stream) {
  StreamLaunch launch(stream);
  LaunchWeightGradF32(conv, tile, launch);
  return launch.Error();
}

}  // namespace sas::cuda
