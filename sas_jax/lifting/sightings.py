"""Which photographs see which points, for any number of questions."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Int, UInt8

from sas_jax.lifting.project import project
from sas_jax.scenes.scene import Frame, Scene

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""

# Of the measured depth: what lies behind the edge of a table is not in the photograph.
_THRESHOLD = 0.05


@dataclasses.dataclass(frozen=True)
class Sightings:
    """What each frame of a scene sees.

    Attributes:
      names: F frames.
      bits: [F, ceil(P / 8)] u8, which points each sees, as `numpy.packbits`.
      num_points: P.
    """

    names: tuple[str, ...]
    bits: UInt8[np.ndarray, "F B"]
    num_points: int

    def of(self, points: Int[np.ndarray, " R"]) -> Bool[np.ndarray, "F R"]:
        """Return which frames see which of some points."""
        shift = (7 - points % 8).astype(np.uint8)
        return (self.bits[:, points // 8] >> shift & 1).astype(bool)

    def shares(self, points: Int[np.ndarray, " R"]) -> dict[str, float]:
        """Return frame -> share of some points that it sees, the most first."""
        seen = self.of(points).mean(axis=1) if len(points) else np.zeros(0)
        order = np.argsort(-seen, kind="stable")
        return {self.names[i]: float(seen[i]) for i in order if seen[i] > 0}

    def best(self, parts: Sequence[Int[np.ndarray, " R"]], most: int) -> list[str]:
        """Return frames that together see the most of every part, the best first.

        Each next one is that which adds most, counted in shares of parts; seeing again
        what others saw counts for little.

        Args:
          parts: indices of points, the most important first.
          most: number of frames.
        """
        seen = [self.of(part).astype(np.float32) for part in parts if len(part)]
        if not seen or not len(self.names):
            return []
        weight = 1 / np.arange(1, len(seen) + 1)
        best = [np.zeros(one.shape[1], np.float32) for one in seen]
        chosen: list[int] = []
        while len(chosen) < most:
            gain = np.zeros(len(self.names))
            for share, one, had in zip(weight, seen, best, strict=True):
                gain += share * (np.maximum(one - had, 0) + 0.05 * one).mean(axis=1)
            gain[chosen] = 0
            if gain.max() <= 0:
                break
            chosen.append(int(gain.argmax()))
            for one, had in zip(seen, best, strict=True):
                np.maximum(had, one[chosen[-1]], out=had)
        return [self.names[i] for i in chosen]


def sightings(scene: Scene, frame_stride: int = 1) -> Sightings:
    """Look at the frames of a scene once.

    Args:
      scene: with frames, or without any.
      frame_stride: every how many-th frame is looked at.
    """
    names, rows = [], []
    for frame, visible in _looks(scene, frame_stride):
        names.append(frame.name)
        rows.append(np.packbits(visible))
    width = -(-len(scene.points) // 8)
    bits = np.array(rows, np.uint8).reshape(len(names), width)
    return Sightings(tuple(names), bits, len(scene.points))


def _looks(
    scene: Scene, frame_stride: int
) -> Iterator[tuple[Frame, Bool[np.ndarray, " P"]]]:
    for frame in scene.frames(frame_stride):
        yield frame, pixels(scene, frame)[1]


def pixels(
    scene: Scene, frame: Frame
) -> tuple[Int[np.ndarray, "P 2"], Bool[np.ndarray, " P"]]:
    """Return (row, column) of each point in a frame, and which points it sees."""
    return project(scene.points, frame, threshold=_THRESHOLD, border_px=0)
