"""Posed images that Gaussians are trained on, and those that are held out."""

import dataclasses
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, UInt8

from sas_jax.errors import InputError
from sas_jax.gaussians.metrics import WINDOW
from sas_jax.gaussians.projection import Camera, camera_of
from sas_jax.memory import require
from sas_jax.scenes.scene import Frame, Scene


@dataclasses.dataclass(frozen=True)
class View:
    """A posed image.

    Attributes:
      name: of the frame.
      image: [H, W, 3] u8 sRGB.
      viewmat: [4, 4] f32, as in `Camera`.
      intrinsics: [3, 3] f32, as in `Camera`.
    """

    name: str
    image: UInt8[np.ndarray, "H W 3"]
    viewmat: Float32[np.ndarray, "4 4"]
    intrinsics: Float32[np.ndarray, "3 3"]

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]

    @property
    def camera(self) -> Camera:
        """For the renderer."""
        return Camera(jnp.asarray(self.viewmat), jnp.asarray(self.intrinsics))


@dataclasses.dataclass(frozen=True)
class Views:
    """The usable frames of a scene.

    Attributes:
      train: learned from.
      held_out: scored on.
      skipped: number of frames that could not be used.
    """

    train: Sequence[View]
    held_out: Sequence[View]
    skipped: int


def read_views(
    scene: Scene,
    *,
    stride: int = 1,
    held_out_every: int = 8,
    on_frame: Callable[[], None] = lambda: None,
) -> Views:
    """Read the frames of a scene; all stay in memory, 3 bytes a pixel.

    Which frames are held out follows from their places among all names, so that a
    damaged frame changes no other's part.

    Args:
      scene: with frames.
      stride: every how many-th frame is used.
      held_out_every: every how many-th of these is held out, from half of that on.
      on_frame: called for each usable frame.

    Raises:
      InputError: where no frame is left to train on, or none to hold out, and for
        images smaller than 11 pixels or, all together, than memory holds.
    """
    names = scene.frame_source.names[::stride]
    place = {name: i % held_out_every for i, name in enumerate(names)}
    parts: tuple[list[View], list[View]] = [], []
    for frame in scene.frames(stride):
        if not any(parts):
            needed = len(names) * frame.rgb.nbytes
            require(
                needed, "all images", remedy="Change --frame_stride or --image_size."
            )
        held_out = place[frame.name] == held_out_every // 2
        parts[held_out].append(_view(frame))
        on_frame()
    skipped = sum(name in scene.skipped_frames for name in names)
    if not parts[0] or not parts[1]:
        raise InputError(
            "splats: a frame to train on and one to hold out are required, got "
            f"{len(parts[0])} and {len(parts[1])} of {len(names)} frames, {skipped} "
            f"of them unusable ({scene.name}). Take a capture of more frames, or "
            "change --frame_stride or --held_out_every."
        )
    return Views(*parts, skipped)


def _view(frame: Frame) -> View:
    height, width = frame.size_hw
    if min(height, width) < WINDOW:
        raise InputError(
            f"splats: images of {WINDOW} pixels or more along each side are required, "
            f"got {width} x {height} (frame {frame.name}). Change --image_size."
        )
    viewmat, intrinsics = camera_of(frame.intrinsics, frame.world_from_camera)
    return View(
        frame.name, frame.rgb, viewmat.astype(np.float32), intrinsics.astype(np.float32)
    )
