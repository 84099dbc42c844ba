// XLA handler for CUDA of the neighbour search: unpack, check, enqueue.
//
// Operands: words of the keys u32 [N] twice, of the centres u32 [M] twice, num_centres i32 scalar,
// deltas u32 [2, S, C]; result i32 [S, C, M].
#include <cstdint>
#include <string>

#include "sas_plan_cuda.h"
#include "xla/ffi/api/ffi.h"

// What cudaStream_t points to; the handler only passes it on, and needs no header of CUDA for that.
struct CUstream_st;

namespace {

namespace ffi = xla::ffi;

using Stream = CUstream_st*;
using Words = ffi::Buffer<ffi::U32, 1>;
using Deltas = ffi::Buffer<ffi::U32, 3>;
using Scalar = ffi::Buffer<ffi::S32, 0>;
using Tables = ffi::Buffer<ffi::S32, 3>;

ffi::Error Invalid(const char* requirement) {
  return ffi::Error::InvalidArgument(std::string("sas_neighbours: ") + requirement);
}

sas::cuda::KeyWords Keys(const Words& high, const Words& low) {
  return {high.typed_data(), low.typed_data(), high.dimensions()[0]};
}

ffi::Error Neighbours(Stream stream, Words high, Words low, Words centre_high, Words centre_low,
                      Scalar num_centres, Deltas deltas, ffi::Result<Tables> nbr) {
  if (high.dimensions()[0] != low.dimensions()[0] ||
      centre_high.dimensions()[0] != centre_low.dimensions()[0]) {
    return Invalid("both words of every key are required");
  }
  const auto shape = deltas.dimensions();
  const auto table = nbr->dimensions();
  if (shape[0] != 2) return Invalid("deltas must have two words");
  if (table[0] != shape[1] || table[1] != shape[2] || table[2] != centre_high.dimensions()[0]) {
    return Invalid("the table must have an entry per offset and centre");
  }
  const char* error = sas::cuda::RunNeighbours(
      {Keys(high, low), Keys(centre_high, centre_low), num_centres.typed_data(),
       deltas.typed_data(), shape[1], shape[2], nbr->typed_data()},
      stream);
  if (error == nullptr) return ffi::Error::Success();
  return ffi::Error::Internal(std::string("sas_neighbours: ") + error);
}

}  // namespace

// XLA may capture it into CUDA graphs: it only enqueues a kernel.
XLA_FFI_DEFINE_HANDLER_SYMBOL(SasNeighbours, Neighbours,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::PlatformStream<Stream>>()
                                  .Arg<Words>()
                                  .Arg<Words>()
                                  .Arg<Words>()
                                  .Arg<Words>()
                                  .Arg<Scalar>()
                                  .Arg<Deltas>()
                                  .Ret<Tables>(),
                              {ffi::Traits::kCmdBufferCompatible});
