// Graph segmentation after Felzenszwalb and Huttenlocher (superpoints of a mesh or cloud).
#ifndef SAS_JAX_KERNELS_SUPERPOINTS_H_
#define SAS_JAX_KERNELS_SUPERPOINTS_H_

#include <cstdint>

extern "C" {

// Segments a weighted graph.
//
// Edges are visited by ascending (weight, edge index). Two segments join when the weight is at
// most the threshold of both; the joined threshold is weight + k_threshold / size. Then, in the
// same order, an edge between two segments of which one has fewer than min_vertices points joins
// them.
//
//   num_points    P, at most 2^31 - 1
//   num_edges     E, at most 2^32 - 1
//   edges         [E, 2] int32, points in 0..P-1, row-major
//   weights       [E] float, not NaN
//   k_threshold   initial threshold of every point
//   min_vertices  least size of a segment that is left alone
//   labels        [P] int32 out: segment ids, contiguous from 0 in order of first appearance
//
// Returns 0; 1 for sizes out of range; 2 for an edge index out of range; 3 for a NaN weight;
// 4 when memory is short. Labels are unspecified unless 0 is returned. Deterministic, single
// threaded, linear time but for the inverse Ackermann function, 16 E + 12 P bytes of memory.
int sas_segment_graph(int64_t num_points, int64_t num_edges, const int32_t* edges,
                      const float* weights, float k_threshold, int64_t min_vertices,
                      int32_t* labels);

}  // extern "C"

#endif  // SAS_JAX_KERNELS_SUPERPOINTS_H_
