#include "dispatch.h"
#include "sas_conv_cuda.h"
#include "stream_launch.h"

namespace sas::cuda {

const char* RunWeightGradBf16(const ConvWeightGradOf<Bfloat16>& conv, Tile tile, void* stream) {
  StreamLaunch launch(stream);
  LaunchWeightGradBf16(conv, tile, launch);
  return launch.Error();
}

}  // namespace sas::cuda
