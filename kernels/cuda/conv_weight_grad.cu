#include "dispatch.h"
#include "sas_conv_cuda.h"
#include "stream_launch.h"

namespace sas::cuda {

const char* RunWeightGrad(const ConvWeightGrad& conv, Precision precision, void* stream) {
  StreamLaunch launch(stream);
  LaunchWeightGrad(conv, precision, 0, launch);
  return launch.Error();
}

}  // namespace sas::cuda
