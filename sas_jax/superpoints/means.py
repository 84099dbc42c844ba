"""Mean features of superpoints."""

import numpy as np
import scipy.sparse
from jaxtyping import Float64, Int

from sas_jax.artefacts.features import Features


def superpoint_rows(
    features: Features, superpoints: Int[np.ndarray, " P"]
) -> Float64[np.ndarray, "S C"]:
    """Return the mean unit feature of the seen points of each superpoint, else 0."""
    rows = features.feat.astype(np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    seen = features.row >= 0
    shape = (int(superpoints.max(initial=-1)) + 1, len(rows))
    entries = np.ones(int(seen.sum())), (superpoints[seen], features.row[seen])
    shares = scipy.sparse.csr_matrix(entries, shape=shape)
    points = np.asarray(shares.sum(axis=1))
    return (shares @ rows) / np.maximum(points, 1)
