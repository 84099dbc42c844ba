"""From what files store, logarithms and logits, to what formulas use; and back."""

import numpy as np
from jaxtyping import Float, Float32

# The logit of the f32 nearest to 1 is 16.6; nothing between it and 1 is lost.
_LARGEST_LOGIT = 17.0
_SMALLEST_LOG = -87.0


def opacity_of_logit(logits: Float[np.ndarray, " G"]) -> Float32[np.ndarray, " G"]:
    """Return 1 / (1 + exp(-x)) in f32, without overflow; NaN stays."""
    logits = np.asarray(logits, np.float32)
    small = np.exp(-np.abs(logits))
    return np.where(logits < 0, small, np.float32(1)) / (1 + small)


def logit_of_opacity(opacities: Float32[np.ndarray, " G"]) -> Float32[np.ndarray, " G"]:
    """Return log(o / (1 - o)), clamped where o is 0 or 1 and it has no value."""
    wide = np.asarray(opacities, np.float64)
    with np.errstate(divide="ignore"):
        logits = np.log(wide) - np.log1p(-wide)
    return np.clip(logits, -_LARGEST_LOGIT, _LARGEST_LOGIT).astype(np.float32)


def scale_of_log(logs: Float[np.ndarray, "G 3"]) -> Float32[np.ndarray, "G 3"]:
    """Return exp(x) in f32; what is too large becomes infinite."""
    with np.errstate(over="ignore"):
        return np.exp(np.asarray(logs, np.float32))


def log_of_scale(scales: Float32[np.ndarray, "G 3"]) -> Float32[np.ndarray, "G 3"]:
    """Return log(s), clamped where s is 0."""
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(scales), np.float32(_SMALLEST_LOG))
