"""What sources of posed frames share: stored poses become the cameras of a scene."""

import abc
import contextlib
import dataclasses
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float

from sas_jax.scenes.origin import choose_origin, moved_by
from sas_jax.scenes.poses import PoseConvention, to_opencv
from sas_jax.scenes.scene import BadFrame


class PosedFrames(abc.ABC):
    """A frozen dataclass with these fields, which reads poses as they are stored.

    Attributes:
      convention: how poses are stored.
      scale: what positions of poses are multiplied by to be metres.
      turn: [4, 4] f64 applied to every pose from the left.
      image_size_wh: of the frames; see the subclass.
      upright: turn frames by quarters so that the world's z is nearest to their upper
        edge; for teachers that know things standing.
    """

    # Declared, not set: every subclass is a dataclass.
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    convention: PoseConvention
    scale: float
    turn: Float[np.ndarray, "4 4"]
    image_size_wh: tuple[int, int] | None
    upright: bool

    @property
    @abc.abstractmethod
    def names(self) -> tuple[str, ...]:
        """Frame names in recording order."""

    @abc.abstractmethod
    def stored_pose(self, name: str) -> Float[np.ndarray, "4 4"]:
        """Return a rigid pose as it is stored; raises `BadFrame`."""

    def pose_of_pixels(self, name: str) -> Float[np.ndarray, "4 4"]:
        """Return `world_from_camera` of the stored pixels; raises `BadFrame`."""
        pose = to_opencv(self.stored_pose(name), self.convention).copy()
        pose[:3, 3] *= self.scale
        return self.turn @ pose

    def handed_out(
        self, turn: Float[np.ndarray, "4 4"], image_size_wh: tuple[int, int] | None
    ) -> Self:
        """Return the frames for teachers: in the scene's world, upright, of a size."""
        return dataclasses.replace(
            self, turn=turn, image_size_wh=image_size_wh, upright=True
        )

    def relative_to(self, origin: Float[np.ndarray, " 3"]) -> Self:
        """Return the same frames with an origin taken off their positions."""
        if not origin.any():
            return self
        return dataclasses.replace(self, turn=moved_by(-origin) @ self.turn)

    def far_origin(self) -> Float[np.ndarray, " 3"]:
        """Return the origin that the cameras' positions call for, zeros for most."""
        positions = []
        for name in self.names:
            with contextlib.suppress(BadFrame):
                positions.append(self.pose_of_pixels(name)[:3, 3])
        return choose_origin(np.reshape(positions, (-1, 3)))
