"""The world of a capture whose format does not say all: its up and its unit."""

import contextlib
import dataclasses

import numpy as np
from jaxtyping import Float, Float32, Float64

from sas_jax.errors import InputError
from sas_jax.scenes.capture_checks import Frames
from sas_jax.scenes.scene import BadFrame
from sas_jax.scenes.upright import AXES, Up, Z, mean_camera_up, turn_up

_UPRIGHT_COSINE = 0.5  # mean camera up within 60 degrees of z
# How high above the floor people hold a camera, and heights that are taken as they are.
_HELD_M, _PLAUSIBLE_M = 1.4, (0.8, 2.2)
# Sparse models have stray points below the floor, and floors have a share of any room.
_FLOOR_PERCENTILE = 3


def turned_by_cameras(
    source: Frames, up: Up
) -> tuple[Frames, Float[np.ndarray, " 3"], Up, str | None]:
    """Turn a source as far as cameras tell.

    Returns:
      The source in the world of `up`; the cameras' up in it; `up` with "auto" decided;
      and what is to be said.
    """
    if up in AXES:
        return dataclasses.replace(source, turn=turn_up(AXES[up])), Z, up, None
    mean_up = mean_camera_up(_poses(source))
    said = None
    if up == "auto":
        if mean_up[2] >= _UPRIGHT_COSINE:
            return source, mean_up, "z", None
        x, y, z = mean_up
        up = "surfaces"
        said = (
            f"{source.folder.name}: cameras point their upper edge along ({x:.2f}, "
            f"{y:.2f}, {z:.2f}), so z is not up there: the world is turned by cameras "
            "and floors. If z is up all the same, give --up=z."
        )
    return dataclasses.replace(source, turn=turn_up(mean_up)), Z, up, said


def camera_positions(source: Frames) -> Float[np.ndarray, "N 3"]:
    """Return where the cameras of all valid poses are.

    Raises:
      InputError: for a source without a valid pose.
    """
    poses = _poses(source)
    if not poses:
        raise InputError(
            "capture: at least one frame with a valid pose is required, got none of "
            f"{len(source.names)} ({source.folder}). Export the capture again."
        )
    return np.array(poses)[:, :3, 3]


def likely_scale(
    points: Float[np.ndarray, "P 3"], source: Frames, name: str
) -> tuple[float, str]:
    """Return metres per unit where nothing tells, by how high cameras are held.

    Args:
      points: of the scene, z up, in its units.
      source: its cameras in the same world.
      name: of the scene, for the message.

    Returns:
      1 where the cameras are 0.8 to 2.2 units above the floor, which are metres then,
      and where they are below it; else what makes their height 1.4 m. And what is to
      be said.
    """
    floor = np.percentile(points[:, 2], _FLOOR_PERCENTILE)
    height = float(np.median(camera_positions(source)[:, 2]) - floor)
    scale, so = 1.0, "so they are taken for metres"
    if height <= 0:
        so = "which tells nothing: they are taken for metres"
    elif not _PLAUSIBLE_M[0] <= height <= _PLAUSIBLE_M[1]:
        scale = _HELD_M / height
        so = f"so one is taken for {scale:.4g} m, as if held at {_HELD_M} m"
    return scale, (
        f"{name}: nothing says how long a unit is; cameras are {height:.3g} units "
        f"above the floor, {so}. If that is wrong, give the metres per unit: "
        f"--scale={scale:.4g}."
    )


def rotated(
    rows: Float32[np.ndarray, "P 3"], turn: Float[np.ndarray, "4 4"]
) -> Float32[np.ndarray, "P 3"]:
    """Return rows turned, without the motion; the same for any number of threads."""
    x, y, z = rows.astype(np.float64).T
    turned = [turn[i, 0] * x + turn[i, 1] * y + turn[i, 2] * z for i in range(3)]
    return np.stack(turned, axis=1).astype(np.float32)


def input_from_world(
    turn: Float[np.ndarray, "4 4"], scale: float | None
) -> Float64[np.ndarray, "4 4"]:
    """Return the similarity that undoes what was done to a file's coordinates.

    Args:
      turn: rotation that came last.
      scale: that was applied before it; None for 1.
    """
    matrix = np.eye(4)
    matrix[:3, :3] = turn[:3, :3].T / (scale or 1.0)
    return matrix


def _poses(source: Frames) -> list[Float[np.ndarray, "4 4"]]:
    poses = []
    for name in source.names:
        with contextlib.suppress(BadFrame):
            poses.append(source.read_pose(name))
    return poses
