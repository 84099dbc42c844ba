"""Call the native graph segmentation (kernels/include/superpoints.h) by ctypes."""

import ctypes

import numpy as np
from jaxtyping import Float32, Int32

from sas_jax import native_library
from sas_jax.errors import InputError

_FUNCTION = "sas_segment_graph"


def available() -> bool:
    """Tell whether the native library is built and has the function."""
    library = native_library.load()
    return library is not None and hasattr(library, _FUNCTION)


def segment_graph(
    num_points: int,
    edges: Int32[np.ndarray, "E 2"],
    weights: Float32[np.ndarray, " E"],
    k_threshold: float,
    min_vertices: int,
) -> Int32[np.ndarray, " P"]:
    """Segment a checked graph; see `segment.segment_graph`.

    Raises:
      InputError: when the library is not built or reports a bad argument.
    """
    function = getattr(native_library.require(), _FUNCTION)
    function.restype = ctypes.c_int
    edges = np.ascontiguousarray(edges, np.int32)
    weights = np.ascontiguousarray(weights, np.float32)
    labels = np.empty(num_points, np.int32)
    status = function(
        ctypes.c_int64(num_points),
        ctypes.c_int64(len(edges)),
        edges.ctypes.data_as(ctypes.c_void_p),
        weights.ctypes.data_as(ctypes.c_void_p),
        ctypes.c_float(k_threshold),
        ctypes.c_int64(min_vertices),
        labels.ctypes.data_as(ctypes.c_void_p),
    )
    if status != 0:
        raise InputError(
            f"superpoints: a valid graph is required, the kernel returned {status} for "
            f"{num_points} points and {len(edges)} edges. Check the edge indices."
        )
    return labels
