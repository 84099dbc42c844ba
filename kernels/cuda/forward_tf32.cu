#include "dispatch.h"
#include "sas_conv_cuda.h"
#include "stream_launch.h"

namespace sas::cuda {

const char* RunForwardTf32(const ConvForward& conv, Tile tile, void* stream) {
  StreamLaunch launch(stream);
  LaunchForwardTf32(conv, tile, launch);
  return launch.Error();
}

}  // namespace sas::cuda
