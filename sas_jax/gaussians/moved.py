"""What a turn, a mirror image or another size of a scene makes of raw Gaussians."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32, Float64
from scipy.spatial.transform import Rotation

from sas_jax.gaussians.harmonics import sh_basis
from sas_jax.models.config import GAUSSIAN_INPUTS

_REST = 15  # coefficients of a colour above the constant one, degree 3
_DIRECTIONS = 64
_AXES = Rotation.create_group("O").as_quat()[:, [3, 0, 1, 2]]
"""Ways to call the own axes of a Gaussian x, y and z, (w, x, y, z)."""
_NAMED = np.abs(Rotation.create_group("O").as_matrix()).argmax(axis=1)
"""Of each way, the old axis that is the new x, y and z."""


def moved_inputs(
    inputs: Float32[np.ndarray, "G C_in"], linear: Float[np.ndarray, "3 3"]
) -> Float32[np.ndarray, "G C_in"]:
    """Return the raw inputs of Gaussians of a scene that was moved.

    Colours turn with the scene, logarithms of scales grow by that of its size. Of the
    24 names that the axes of an ellipsoid can have, those nearest to the world's are
    taken: training begins with round Gaussians that are not turned, so files hold
    these. A quaternion keeps its length and has w >= 0.

    Args:
      inputs: as `student.raw_inputs` gives them, everything or colours alone.
      linear: a similarity, metres to metres; the identity leaves all as it is.
    """
    if np.array_equal(linear, np.eye(3)):
        return inputs
    size = float(np.cbrt(abs(np.linalg.det(linear))))
    turn = linear.astype(np.float64) / size
    whole = inputs.shape[1] == GAUSSIAN_INPUTS["all"]
    first = 4 if whole else 3  # after opacity and constant colours
    found = inputs.copy()
    rest = inputs[:, first : first + 3 * _REST].reshape(-1, 3, _REST)
    turned = rest @ _of_harmonics(turn).T.astype(np.float32)
    found[:, first : first + 3 * _REST] = turned.reshape(len(inputs), -1)
    if whole:
        # A mirrored ellipsoid is its own, turned by the mirror image's opposite.
        proper = Rotation.from_matrix(turn * np.linalg.det(turn))
        x, y, z, w = proper.as_quat()
        rotations = _product(np.array([w, x, y, z]), inputs[:, -4:].astype(np.float64))
        scales = inputs[:, -7:-4] + np.float32(np.log(size))
        named = np.array([_product(rotations, axes) for axes in _AXES])
        best = np.abs(named[:, :, 0]).argmax(axis=0)
        chosen = named[best, np.arange(len(best))]
        found[:, -4:] = chosen * np.where(chosen[:, :1] < 0, -1, 1)
        found[:, -7:-4] = np.take_along_axis(scales, _NAMED[best], axis=1)
    return found


def _of_harmonics(turn: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, "15 15"]:
    """Return the matrix that turns coefficients of degrees 1 to 3."""
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(_DIRECTIONS, 3))
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    now, before = (
        np.asarray(sh_basis(jnp.asarray(d), 3), np.float64)[:, 1:]
        for d in (seen, seen @ turn)
    )
    return np.linalg.lstsq(now, before, rcond=None)[0]


def _product(
    left: Float64[np.ndarray, "... 4"], right: Float64[np.ndarray, "... 4"]
) -> Float64[np.ndarray, "G 4"]:
    """Return the product of quaternions, that of the right one's turn first."""
    a, b, c, d = np.moveaxis(left, -1, 0)
    w, x, y, z = np.moveaxis(right, -1, 0)
    return np.stack(
        [
            a * w - b * x - c * y - d * z,
            a * x + b * w + c * z - d * y,
            a * y - b * z + c * w + d * x,
            a * z + b * y - c * x + d * w,
        ],
        axis=-1,
    )
