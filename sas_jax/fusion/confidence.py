"""How far teachers agree on a point: the entropy of their votes.

Each teacher that has a point votes for the class that it predicts there, with the
weight that fusion gives it. With p_k the share of the votes for class k,

    confidence = 1 - H(p) / log(number of these teachers),  H(p) = -sum_k p_k log p_k

is 1 where all agree, or where the one that is trusted stands against the others, and 0
where each says another thing with equal weight. A single vote is not contradicted: 1.
"""

import numpy as np
from jaxtyping import Bool, Float, Float32, Int


def vote_confidence(
    prediction: Int[np.ndarray, "T M"],
    weights: Float[np.ndarray, "T M"],
    seen: Bool[np.ndarray, "T M"],
) -> Float32[np.ndarray, " M"]:
    """Return the confidence of each point, 0..1.

    Args:
      prediction: class index per teacher and point; anything where unseen.
      weights: of the fusion, 0 where unseen and 1 in sum over teachers.
      seen: which teachers have the point; at least one does.
    """
    agree = prediction[:, None] == prediction[None]
    share = (agree * weights[None]).sum(axis=1)  # p of the class of each teacher
    told = weights > 0
    logs = np.log(share, out=np.zeros_like(share, np.float64), where=told)
    entropy = -(weights * logs).sum(axis=0)
    most = np.log(np.maximum(seen.sum(axis=0), 2))
    return np.clip(1 - entropy / most, 0, 1).astype(np.float32)
