#include "dispatch.h"
#include "sas_conv_cuda.h"
#include "stream_launch.h"

namespace sas::cuda {

const char* RunForward(const ConvForward& conv, Precision precision, void* stream) {
  StreamLaunch launch(stream);
  LaunchForward(conv, precision, 0, launch);
  return launch.Error();
}

}  // namespace sas::cuda
