"""Teachers' features of a scene's images, lifted onto its Gaussians; see `lift`.

Frames stream through in small batches, each read once for all teachers. Memory does not
grow with their number: 8 G C bytes for every teacher.
"""

import itertools
from collections.abc import Callable, Sequence

import jax.numpy as jnp

from sas_jax import memory
from sas_jax.artefacts.features import Features
from sas_jax.gaussians.lift import SplatLiftConfig, SplatLifter
from sas_jax.gaussians.projection import Camera, Gaussians, camera_of
from sas_jax.lifting.config import ExtractConfig
from sas_jax.lifting.extract import feature_images
from sas_jax.scenes.scene import Frame, Scene
from sas_jax.teachers.contracts import Captioner, DenseTeacher, MaskTeacher


def lift_scene(
    gaussians: Gaussians,
    scene: Scene,
    teachers: Sequence[DenseTeacher | MaskTeacher],
    config: ExtractConfig,
    lift: SplatLiftConfig,
    *,
    captioner: Captioner | None = None,
    on_frame: Callable[[Frame], None] | None = None,
) -> list[Features]:
    """Lift what every teacher says of a scene's frames onto Gaussians.

    Args:
      gaussians: in the world of the scene's cameras, relative to its origin.
      scene: its frames; unusable ones are counted in `scene.skipped`.
      teachers: dense, or mask.
      config: which frames; its `lift` decides of alignment alone.
      lift: how features come from pixels to Gaussians.
      captioner: see `lifting.extract.extract_scene`.
      on_frame: called after each frame, for a progress bar.

    Returns:
      Features of the Gaussians that were seen, for each teacher; maybe none.

    Raises:
      InputError: for faults of the scene, and for sums that do not fit the memory.
    """
    spaces = [teacher.spec.text_space for teacher in teachers]
    num = len(gaussians.means)
    memory.require(
        8 * num * sum(space.dim + 1 for space in spaces),
        f"features of {num} Gaussians from {len(teachers)} teachers",
        remedy="Ask one teacher after the other (--teachers).",
    )
    lifters = [SplatLifter(gaussians, space.dim, lift) for space in spaces]
    frames = scene.frames(config.frame_stride)
    while batch := list(itertools.islice(frames, config.batch)):
        images = [frame.rgb for frame in batch]
        for teacher, lifter in zip(teachers, lifters, strict=True):
            features = feature_images(images, teacher, captioner, config.lift.compat)
            for frame, feature in zip(batch, features, strict=True):
                lifter.add(camera_at(frame), feature, frame.size_hw)
        if on_frame is not None:
            for frame in batch:
                on_frame(frame)
    return [
        lifter.features(space) for lifter, space in zip(lifters, spaces, strict=True)
    ]


def camera_at(frame: Frame) -> Camera:
    """Return the camera of a frame, f32."""
    matrices = camera_of(frame.intrinsics, frame.world_from_camera)
    return Camera(*(jnp.asarray(matrix, jnp.float32) for matrix in matrices))
