"""What a scene is: points with optional attributes, and a lazy source of frames.

World coordinates are metres with z up. A camera looks along +z, x right, y down
(OpenCV); `world_from_camera` maps camera to world coordinates. Intrinsics hold for
the frame's own resolution, with integer pixel centres. A frame that cannot be used
(invalid pose, damaged image) is skipped and counted, never guessed.

Map coordinates are too large for f32: points and poses are relative to the scene's
`origin`, which is zero for all other scenes. What leaves for the user adds it again,
and turns and scales where files have other axes and units (`Scene.in_input`).
"""

import collections
import dataclasses
import logging
from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, UInt8

from sas_jax.errors import ContractError, InputError, system_error
from sas_jax.scenes.labels import LabelSet

# Skipped frames of one reason that are named.
_NAMED = 10


class BadFrame(InputError):
    """Report one frame that cannot be used; the scene goes on without it.

    Attributes:
      reason: short text that equal cases share, the key of `Scene.skipped`.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class Frame:
    """One posed image.

    Attributes:
      name: unique in its scene.
      rgb: [H, W, 3] u8 sRGB.
      depth_m: [H, W] f32 metres along the optical axis, 0 = no reading; or None.
      intrinsics: [3, 3] f64 pinhole matrix for H x W.
      world_from_camera: [4, 4] f64 rigid.
    """

    name: str
    rgb: UInt8[np.ndarray, "H W 3"]
    depth_m: Float32[np.ndarray, "H W"] | None
    intrinsics: Float[np.ndarray, "3 3"]
    world_from_camera: Float[np.ndarray, "4 4"]

    def __post_init__(self) -> None:
        if self.depth_m is not None and self.depth_m.shape != self.rgb.shape[:2]:
            raise ContractError(
                f"frame {self.name}: depth must have the colour's size "
                f"{self.rgb.shape[:2]}, got {self.depth_m.shape}. Resize one of them."
            )

    @property
    def known_depth_m(self) -> Float32[np.ndarray, "H W"]:
        """Depth of a frame that has it, metres, 0 = no reading.

        Raises:
          ContractError: for a frame without depth.
        """
        if self.depth_m is None:
            raise ContractError(
                f"frame {self.name}: depth is required, got none. "
                "Take frames of a capture with depth."
            )
        return self.depth_m

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rgb.shape[0], self.rgb.shape[1]


class FrameSource(Protocol):
    """Frames by name, read when asked for."""

    @property
    def names(self) -> tuple[str, ...]:
        """Frame names in recording order."""
        ...

    def read(self, name: str) -> Frame:
        """Read one frame.

        Raises:
          BadFrame: when this frame alone is unusable.
          InputError: when the whole source is.
        """
        ...


@dataclasses.dataclass(frozen=True)
class NoFrames:
    """The source of a scene that has points only."""

    names: tuple[str, ...] = ()

    def read(self, name: str) -> Frame:
        """Raise: there is nothing to read."""
        raise InputError(
            f"frames: the scene has none, got {name!r}. Use a name in names."
        )


@dataclasses.dataclass(frozen=True)
class Scene:
    """Points of one scene and where its frames come from.

    Attributes:
      name: identifier, also of its artefacts: fit for the name of a file.
      points: [P, 3] f32 metres, finite, P >= 1.
      normals: [P, 3] f32 unit or zero, or None.
      colors: [P, 3] u8 or None.
      faces: [F, 3] i32 vertex indices or None.
      labels: [P] i32 class index, 255 = unlabelled; or None.
      instances: [P] i32 instance id, -1 = none; or None.
      frame_source: reads frames one by one.
      label_set: what `labels` mean.
      skipped_frames: frame name -> reason, filled by `frames()`.
      origin: [3] f64 metres; `origin + points` are world coordinates.
      input_from_world: [4, 4] f64 similarity from world coordinates to those of the
        input, in its axes and unit.
    """

    name: str
    points: Float32[np.ndarray, "P 3"]
    normals: Float32[np.ndarray, "P 3"] | None = None
    colors: UInt8[np.ndarray, "P 3"] | None = None
    faces: Int32[np.ndarray, "F 3"] | None = None
    labels: Int32[np.ndarray, " P"] | None = None
    instances: Int32[np.ndarray, " P"] | None = None
    frame_source: FrameSource = NoFrames()
    label_set: LabelSet | None = None
    skipped_frames: dict[str, str] = dataclasses.field(default_factory=dict)
    origin: Float64[np.ndarray, " 3"] = dataclasses.field(
        default_factory=lambda: np.zeros(3)
    )
    input_from_world: Float64[np.ndarray, "4 4"] = dataclasses.field(
        default_factory=lambda: np.eye(4)
    )

    def __post_init__(self) -> None:
        check_name(self.name)
        check_points(self.points, f"scene {self.name}")
        num_points = len(self.points)
        for field in ("normals", "colors", "labels", "instances"):
            value = getattr(self, field)
            if value is not None and len(value) != num_points:
                raise InputError(
                    f"scene {self.name}: {field} must have one row per point "
                    f"({num_points}), got {len(value)}. Are the files of one scan?"
                )
        if self.faces is not None:
            check_faces(self.faces, num_points, f"scene {self.name}")

    def in_input(self, points: Float[np.ndarray, "N 3"]) -> Float64[np.ndarray, "N 3"]:
        """Return points of the scene in the coordinates of the input."""
        world = points.astype(np.float64) + self.origin
        matrix = self.input_from_world
        return world @ matrix[:3, :3].T + matrix[:3, 3]

    @property
    def skipped(self) -> dict[str, int]:
        """Number of skipped frames by reason."""
        return dict(collections.Counter(self.skipped_frames.values()))

    def frames(self, stride: int = 1) -> Iterator[Frame]:
        """Read frames one at a time, leaving out those that cannot be used.

        Args:
          stride: take every stride-th name of the source, >= 1.

        Returns:
          Usable frames in order. A skipped one is logged the first time it is met
          and stands in `skipped_frames` afterwards.

        Raises:
          InputError: for a stride below 1 and for faults of the whole source.
        """
        if stride < 1:
            raise InputError(
                f"frames: stride must be >= 1, got {stride}. Use 1 for all."
            )
        names = self.frame_source.names[::stride]
        return usable_frames(self.frame_source, names, self.skipped_frames)


def usable_frames(
    source: FrameSource, names: Iterable[str], skipped: dict[str, str]
) -> Iterator[Frame]:
    """Yield the named frames that can be used; note the others with their reason.

    Args:
      source: where the frames are.
      names: frames to read, in order.
      skipped: name -> reason, extended in place; a frame in it is not logged again.

    Raises:
      InputError: when the system cannot read a frame, which says nothing about it.
    """
    for name in names:
        try:
            frame = source.read(name)
        except BadFrame as error:
            if cause := system_error(error):
                raise InputError(
                    f"frame {name}: files that the system can read are required, got "
                    f"{cause.strerror} ({error}). Check the disk or the network, then "
                    "run the same command again."
                ) from error
            if name not in skipped:
                _tell_skipped(name, error, list(skipped.values()).count(error.reason))
            skipped[name] = error.reason
            continue
        yield frame


def _tell_skipped(name: str, error: BadFrame, before: int) -> None:
    """Warn of a frame, unless many were skipped for the same reason before."""
    if before < _NAMED:
        logging.warning("frame %s skipped: %s", name, error)
    elif before == _NAMED:
        logging.warning("%s: more frames are skipped for that, not named", error.reason)


def check_name(name: str) -> None:
    """Raise InputError unless a name can be that of a file in any folder."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise InputError(
            f"scene: a name that can be a file's is required, got {name!r}. "
            "Open the folder by its own name."
        )


def check_points(points: Float[np.ndarray, "P 3"], where: str) -> None:
    """Raise InputError unless points are [P >= 1, 3] and finite."""
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise InputError(
            f"{where}: points must be [P, 3] with P >= 1, got {list(points.shape)}. "
            "Is the file complete?"
        )
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(bad):
        raise InputError(
            f"{where}: points must be finite, got {len(bad)} with NaN or infinity, the "
            f"first at row {bad[0]}. Remove them from the file."
        )


def check_faces(faces: Int32[np.ndarray, "F 3"], num_points: int, where: str) -> None:
    """Raise InputError unless every face index is in 0..num_points-1."""
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise InputError(
            f"{where}: faces must be [F, 3], got {list(faces.shape)}. Triangulate them."
        )
    if faces.size and (faces.min() < 0 or faces.max() >= num_points):
        raise InputError(
            f"{where}: face indices must be in 0..{num_points - 1}, got "
            f"{faces.min()}..{faces.max()}. Is the file of another scan?"
        )
