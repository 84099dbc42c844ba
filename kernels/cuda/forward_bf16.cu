#include "dispatch.h"
#include "sas_conv_cuda.h"
#include "stream_launch.h"

namespace sas::cuda {

const char* RunForwardBf16(const ConvForwardOf<Bfloat16>& conv, Tile tile, void* stream) {
  StreamLaunch launch(stream);
  LaunchForwardBf16(conv, tile, launch);
  return launch.Error();
}

}  // namespace sas::cuda
