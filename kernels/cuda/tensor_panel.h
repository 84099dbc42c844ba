// Operands of tensor cores in shared memory: rows of 16-byte chunks, in the order of banks.
#ifndef SAS_JAX_KERNELS_CUDA_TENSOR_PANEL_H_
#define SAS_JAX_KERNELS_CUDA_TENSOR_PANEL_H_

#include <cstdint>

#include "device.h"

namespace sas::cuda {

constexpr int kChunkBytes = 16;

// kRows_ rows of kWidth elements, as they come from memory.
//
// A warp's LoadMatrix reads the same chunk of eight consecutive rows; chunks are exchanged within
// their row so that these eight lie in different banks, whatever the row's length.
template <class T, int kRows_, int kWidth>
struct TensorPanel {
  static constexpr int kRows = kRows_;
  static constexpr int kRowBytes = kWidth * static_cast<int>(sizeof(T));
  static constexpr int kChunks = kRowBytes / kChunkBytes;
  static constexpr int kElements = kChunkBytes / static_cast<int>(sizeof(T));  // of a chunk
  static_assert(kRowBytes % 64 == 0, "chunks are exchanged in groups of four or eight");

  alignas(128) unsigned char data[kRows * kRowBytes];

  template <int kBlockThreads>
  static constexpr int kPiecesOf = (kRows * kChunks + kBlockThreads - 1) / kBlockThreads;

  // The row of a thread's piece, which may lie beyond the last.
  template <int kBlockThreads>
  static SAS_DEVICE int RowOfPiece(int piece) {
    return (piece * kBlockThreads + ThreadIndex()) / kChunks;
  }

  SAS_DEVICE const unsigned char* Chunk(int row, int chunk) const {
    return data + Place(row, chunk);
  }

  // Starts copying. Row i begins at base + row_at(i), or is zero if that is negative; what lies at
  // or beyond `width` in a row is zero too. Rows must be aligned to chunks, widths be whole chunks.
  template <class RowAt>
  SAS_DEVICE void Fill(const T* base, int width, RowAt row_at) {
    FillPieces<kThreads>(base, width, [&](int row, int) { return row_at(row); });
  }

  // The same by kBlockThreads threads and row_at(row, piece): a thread has kPiecesOf pieces.
  template <int kBlockThreads, class RowAt>
  SAS_DEVICE void FillPieces(const T* base, int width, RowAt row_at) {
    constexpr int kPieces = kRows * kChunks;
    SAS_UNROLL
    for (int piece = 0; piece < kPiecesOf<kBlockThreads>; ++piece) {
      const int i = piece * kBlockThreads + ThreadIndex();
      if (kPieces % kBlockThreads != 0 && i >= kPieces) break;
      const int row = i / kChunks;
      const int chunk = i % kChunks;
      const int64_t offset = row_at(row, piece);
      const bool copy = offset >= 0 && chunk * kElements < width;
      CopyAsync<kChunkBytes>(data + Place(row, chunk),
                             copy ? base + offset + chunk * kElements : base, copy);
    }
  }

 private:
  static SAS_DEVICE int Place(int row, int chunk) {
    const int turn = kRowBytes % 128 == 0 ? row & 7 : row >> 1 & 3;
    return row * kRowBytes + (chunk ^ turn) * kChunkBytes;
  }
};

}  // namespace sas::cuda

#endif  // SAS_JAX_KERNELS_CUDA_TENSOR_PANEL_H_
