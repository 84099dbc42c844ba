"""Text files of cameras: intrinsics and poses."""

import json
import pathlib
import re
from typing import Any

import numpy as np
from jaxtyping import Float

from sas_jax.artefacts import array_files
from sas_jax.artefacts.plain_files import plain
from sas_jax.errors import InputError
from sas_jax.scenes.poses import RIGID_TOLERANCE, rotation_error, without_rounding
from sas_jax.scenes.scene import BadFrame

# A principal point further than this share of the image from its centre belongs to
# another resolution (half or twice the size moves it by at least a quarter).
_CENTRE_TOLERANCE = 0.2
_COMMENT = re.compile(r"(?:#|//|%)[^\n]*")
_SIZE = re.compile(r"(\d{2,5})\s*(?:x|\u00d7|\*|by)\s*(\d{2,5})\b", re.IGNORECASE)
_WIDTH_HEIGHT = re.compile(
    r"\bw(?:idth)?\W{1,3}(\d{2,5})\W+h(?:eight)?\W{1,3}(\d{2,5})\b", re.IGNORECASE
)


def read_matrix(path: pathlib.Path, what: str) -> Float[np.ndarray, "R C"]:
    """Read a text matrix (white space or commas between numbers), f64.

    Raises:
      InputError: for a missing or unreadable file.
    """
    try:
        rows = plain(path).read_text(encoding="utf-8").replace(",", " ").split("\n")
        return np.array(
            [[float(v) for v in row.split()] for row in rows if row.strip()]
        )
    except (OSError, ValueError) as error:
        raise InputError(
            f"{what}: a matrix of numbers is required, got {error} ({path}). "
            "Write one matrix row per line."
        ) from error


def read_npy(path: pathlib.Path, what: str) -> Float[np.ndarray, "..."]:
    """Read a small .npy file of numbers, f64.

    Raises:
      InputError: for a missing or damaged file, or one of other things.
    """
    try:
        return np.array(array_files.read_npy(path), np.float64)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{what}: a whole .npy file of numbers is required, got {error} ({path}). "
            "Export it again."
        ) from error


def read_intrinsics(path: pathlib.Path) -> Float[np.ndarray, "3 3"]:
    """Read a pinhole matrix, f64; see `read_pinhole`."""
    return read_pinhole(path)[0]


def read_pinhole(
    path: pathlib.Path,
) -> tuple[Float[np.ndarray, "3 3"], tuple[int, int] | None]:
    """Read a pinhole matrix, and the size of the images that it is for where it says.

    Args:
      path: a 3x3, 3x4 or 4x4 matrix, in lines or in one; or `fx fy cx cy`. White space,
        commas or brackets lie between numbers. A size is two more numbers at the end,
        width and height, or stands in a comment: `# 640 x 480`. Or JSON, see
        `pinhole_of`.

    Returns:
      The matrix, [3, 3] f64; width and height or None.

    Raises:
      InputError: unless focal lengths are positive and the last row is 0 0 1.
    """
    try:
        text = plain(path).read_text(encoding="utf-8")
        if text.lstrip().startswith("{"):
            return pinhole_of(json.loads(text), path)
        said = " / ".join(_COMMENT.findall(text))
        words = re.sub(r"[][,;()]", " ", _COMMENT.sub("", text)).split()
        numbers = [float(word) for word in words]
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"intrinsics: a matrix of numbers is required, got {error} ({path}). "
            "Write fx 0 cx / 0 fy cy / 0 0 1."
        ) from error
    size = _SIZE.search(said) or _WIDTH_HEIGHT.search(said)
    size_wh = (int(size[1]), int(size[2])) if size else None
    if len(numbers) in (6, 11, 14, 18):
        size_wh = _checked_size(numbers[-2:], path)
        numbers = numbers[:-2]
    if len(numbers) == 4:
        fx, fy, cx, cy = numbers
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    elif len(numbers) in (9, 12, 16):
        matrix = np.reshape(numbers, (-1, 3 if len(numbers) == 9 else 4))[:3, :3]
    else:
        raise InputError(
            "intrinsics: a 3x3 or 4x4 matrix, or fx fy cx cy, is required, got "
            f"{len(numbers)} numbers ({path}). Write fx 0 cx / 0 fy cy / 0 0 1."
        )
    return checked_intrinsics(matrix, path), size_wh


def pinhole_of(
    values: Any, path: pathlib.Path
) -> tuple[Float[np.ndarray, "3 3"], tuple[int, int] | None]:
    """Return the pinhole matrix that JSON states, and the size of its images or None.

    Args:
      values: Open3D's `intrinsic_matrix`, by columns; or `fx fy cx cy`; sizes are
        `width height` or `w h`. All may lie in a group `camera`.
      path: for messages.

    Raises:
      InputError: where there is neither, and like `read_pinhole`.
    """
    if isinstance(values, dict) and isinstance(values.get("camera"), dict):
        values = values["camera"]
    try:
        if "intrinsic_matrix" in values:
            stated = np.array(values["intrinsic_matrix"], np.float64)
            matrix = stated.reshape(3, 3).T if stated.ndim == 1 else stated
        else:
            fx, fy, cx, cy = (float(values[k]) for k in ("fx", "fy", "cx", "cy"))
            matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        if matrix.shape != (3, 3):
            raise ValueError(f"a matrix {list(matrix.shape)}")
        size = [values[key] for key in ("width", "height", "w", "h") if key in values]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "intrinsics: intrinsic_matrix of 9 numbers or fx, fy, cx and cy are "
            f"required, got {error!r} ({path}). Export the camera again."
        ) from error
    matrix = checked_intrinsics(matrix, path)
    return matrix, _checked_size(size, path) if len(size) == 2 else None


def _checked_size(size: list[Any], path: pathlib.Path) -> tuple[int, int]:
    if all(isinstance(v, int | float) and v == v // 1 > 0 for v in size):
        return int(size[0]), int(size[1])
    raise InputError(
        f"intrinsics: a width and a height in pixels are required, got {size} "
        f"({path}). Write the numbers of pixels, or leave both out."
    )


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
