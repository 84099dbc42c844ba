"""Labels of faces, voted to the vertices."""

import numpy as np
from jaxtyping import Int, Int32


def most_at_vertex(
    faces: Int32[np.ndarray, "F 3"], value: Int[np.ndarray, " F"], num_points: int
) -> Int32[np.ndarray, " P"]:
    """Return the value that most corners of faces at each vertex have.

    Args:
      faces: vertex indices.
      value: of each face, >= 0.
      num_points: P.

    Returns:
      Of values with as many votes, the least; 0 for a vertex without a face.
    """
    winner = np.zeros(num_points, np.int32)
    if not len(faces):
        return winner
    span = int(value.max()) + 1
    votes = (faces.astype(np.int64) * span + value[:, None]).ravel()
    pair, count = np.unique(votes, return_counts=True)
    vertex, of_vertex = np.divmod(pair, span)
    # The last write to a vertex counts: fewest votes first, of equals the least last.
    order = np.lexsort((-of_vertex, count))
    winner[vertex[order]] = of_vertex[order]
    return winner
