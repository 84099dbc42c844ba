"""Text files of cameras: intrinsics and poses."""

import pathlib

import numpy as np
from jaxtyping import Float

from sas_jax.errors import InputError
from sas_jax.scenes.poses import RIGID_TOLERANCE, rotation_error, without_rounding
from sas_jax.scenes.scene import BadFrame

# A principal point further than this share of the image from its centre belongs to
# another resolution (half or twice the size moves it by at least a quarter).
_CENTRE_TOLERANCE = 0.2


def read_matrix(path: pathlib.Path, what: str) -> Float[np.ndarray, "R C"]:
    """Read a text matrix (white space or commas between numbers), f64.

    Raises:
      InputError: for a missing or unreadable file.
    """
    try:
        rows = path.read_text(encoding="utf-8").replace(",", " ").split("\n")
        return np.array(
            [[float(v) for v in row.split()] for row in rows if row.strip()]
        )
    except (OSError, ValueError) as error:
        raise InputError(
            f"{what}: a matrix of numbers is required, got {error} ({path}). "
            "Write one matrix row per line."
        ) from error


def read_intrinsics(path: pathlib.Path) -> Float[np.ndarray, "3 3"]:
    """Read a 3x3 pinhole matrix (or the 3x3 corner of a 4x4 one), f64.

    Raises:
      InputError: unless focal lengths are positive and the last row is 0 0 1.
    """
    matrix = read_matrix(path, "intrinsics")
    if matrix.ndim != 2 or matrix.shape not in ((3, 3), (4, 4)):
        raise InputError(
            f"intrinsics: a 3x3 or 4x4 matrix is required, got {list(matrix.shape)} "
            f"({path}). Write fx 0 cx / 0 fy cy / 0 0 1."
        )
    return checked_intrinsics(matrix[:3, :3], path)


def checked_intrinsics(
    intrinsics: Float[np.ndarray, "3 3"], path: pathlib.Path
) -> Float[np.ndarray, "3 3"]:
    """Return a pinhole matrix that a file states; raises like `read_intrinsics`."""
    focal = np.diag(intrinsics)[:2]
    sound = np.isfinite(intrinsics).all() and (focal > 0).all()
    if not sound or not np.allclose(intrinsics[2], (0, 0, 1)):
        raise InputError(
            "intrinsics: finite values, positive focal lengths and a last row 0 0 1 "
            f"are required, got {intrinsics.tolist()} ({path}). Check the calibration."
        )
    return intrinsics


def rigid_fault(pose: Float[np.ndarray, "4 4"]) -> str | None:
    """Say why a matrix is no rigid pose, or None when it is one."""
    if pose.shape != (4, 4):
        return f"shape {list(pose.shape)}"
    if not np.isfinite(pose).all():
        return "values that are not finite"
    rotation = pose[:3, :3]
    # Checked first, so that the product cannot overflow.
    within = np.abs(rotation).max() <= 1 + RIGID_TOLERANCE
    if not within or rotation_error(rotation) > RIGID_TOLERANCE:
        return "a 3x3 part that is no rotation"
    if np.linalg.det(rotation) < 0:
        return "a mirrored rotation"
    if not np.allclose(pose[3], (0, 0, 0, 1)):
        return f"last row {pose[3].tolist()}"
    return None


def read_pose(path: pathlib.Path) -> Float[np.ndarray, "4 4"]:
    """Read a pose as it is stored; one of three decimals is made rigid again.

    Raises:
      BadFrame: for a missing file and for anything but a rigid motion. ScanNet marks
        frames that lost tracking with -inf.
    """
    if not path.exists():
        raise BadFrame("missing pose", f"pose: a file is required, got none ({path}).")
    try:
        pose = without_rounding(read_matrix(path, "pose"))
    except InputError as error:
        raise BadFrame("invalid pose", str(error)) from error
    fault = rigid_fault(pose)
    if fault is not None:
        raise BadFrame(
            "invalid pose",
            f"pose: a rigid 4x4 matrix is required, got {fault} ({path}).",
        )
    return pose


def off_centre(intrinsics: Float[np.ndarray, "3 3"], size_wh: tuple[int, int]) -> float:
    """Return how far a principal point is from an image's centre, in image sizes."""
    middle = (np.array(size_wh) - 1) / 2
    return float((np.abs(intrinsics[:2, 2] - middle) / size_wh).max())


def is_central(intrinsics: Float[np.ndarray, "3 3"], size_wh: tuple[int, int]) -> bool:
    """Tell whether a principal point is one of an image of this size."""
    return off_centre(intrinsics, size_wh) <= _CENTRE_TOLERANCE
