"""Batches of scenes: what the network sees, and its answers in the caller's order."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Float, Int, Int32

from sas_jax.errors import InputError
from sas_jax.sparse.device_plan import place_plan
from sas_jax.sparse.kernel_map import leaf, pytree_dataclass
from sas_jax.sparse.plan import Plan, level_counts, pad_rows
from sas_jax.sparse.plan_spec import PlanSpec
from sas_jax.sparse.rungs import Rung, choose_rung

_SEGMENTS = 256


@dataclasses.dataclass(frozen=True)
class VoxelScene:
    """Voxels of one scene. Their order decides where queries begin: with the first.

    Attributes:
      coords: [N, 3] distinct cells.
      colors: [N, 3] colours as the network takes them.
      positions: [N, 3] metres, of the points that the voxels stand for.
      segments: [N] segment of each voxel, 0..S-1, or None: masks are of voxels.
    """

    coords: Int[np.ndarray, "N 3"]
    colors: Float[np.ndarray, "N 3"]
    positions: Float[np.ndarray, "N 3"]
    segments: Int[np.ndarray, " N"] | None = None

    def __post_init__(self) -> None:
        count = len(self.coords)
        same = len(self.colors) == len(self.positions) == count
        if self.segments is not None:
            same = same and len(self.segments) == count
        if not count or not same:
            raise InputError(
                "mask3d: one colour, position and segment of each of at least one "
                f"voxel are required, got {count} voxels, {len(self.colors)} colours "
                f"and {len(self.positions)} positions. Voxelize the points first."
            )

    @property
    def num_masked(self) -> int:
        """Return how many voxels or segments masks are over."""
        if self.segments is None:
            return len(self.coords)
        return int(self.segments.max()) + 1


@pytree_dataclass("num_scenes", "segment_capacity")
class Scenes:
    """A batch of scenes, rows in the order of its plan.

    Attributes:
      plan: levels and kernel maps of all voxels; the batch index is the scene.
      colors: of every row.
      positions: metres, of every row.
      number: i32, which of its scene's voxels, in the caller's order, a row is.
      segments: i32, segment of every row, those of a scene after those of the one
        before; -1 in padding. None: masks are of voxels.
      num_scenes: B.
      segment_capacity: segments of all scenes, and more.
    """

    plan: Plan
    colors: Float[Array, "cap0 3"]
    positions: Float[Array, "cap0 3"]
    number: Int32[Array, " cap0"]
    segments: Int32[Array, " cap0"] | None
    num_scenes: int
    segment_capacity: int


@dataclasses.dataclass(frozen=True)
class Batch:
    """Scenes for the network, and what leads back to the caller's order.

    Attributes:
      scenes: what the network takes.
      order: row r of level 0 is voxel `order[r]` of all scenes, one after the other.
      starts: [B + 1] first voxel of each scene.
      segment_starts: [B + 1] first segment of each scene.
    """

    scenes: Scenes
    order: Int32[np.ndarray, " N"]
    starts: Int[np.ndarray, " B1"]
    segment_starts: Int[np.ndarray, " B1"]

    def masked_rows(
        self, scene: int, rows: Float[np.ndarray, "M Q"]
    ) -> Float[np.ndarray, "_ Q"]:
        """Return the rows of a scene's segments or voxels in the caller's order."""
        if self.scenes.segments is not None:
            return rows[self.segment_starts[scene] : self.segment_starts[scene + 1]]
        return self.voxel_rows(scene, rows)

    def voxel_rows(
        self, scene: int, rows: Float[np.ndarray, "cap0 C"]
    ) -> Float[np.ndarray, "N C"]:
        """Return the rows of a scene's voxels in the caller's order."""
        row_of = np.empty(len(self.order), np.int32)
        row_of[self.order] = np.arange(len(self.order), dtype=np.int32)
        return rows[row_of[self.starts[scene] : self.starts[scene + 1]]]

    def voxels(
        self, scene: int, rows: Int32[np.ndarray, " Q"]
    ) -> Int32[np.ndarray, " Q"]:
        """Return which of its scene's voxels rows of level 0 are."""
        return self.order[rows] - np.int32(self.starts[scene])


def make_batch(
    scenes: Sequence[VoxelScene],
    spec: PlanSpec,
    rung: Rung | None = None,
    dtype: type[np.floating] = np.float32,
) -> Batch:
    """Put scenes into one batch; masks of all or of none are of segments.

    Args:
      scenes: one or more; each is answered as if it were alone.
      spec: levels and kernels of the network (`Mask3DConfig.plan_spec`).
      rung: capacities; None takes the least that fits.
      dtype: of colours and positions.

    Raises:
      InputError: if some scenes have segments and others not, a scene is empty, or
        voxels are repeated or too far apart for a plan.
    """
    with_segments = [scene.segments is not None for scene in scenes]
    if not scenes or any(with_segments) != all(with_segments):
        raise InputError(
            "mask3d: scenes that all have segments, or none of them, are required, "
            f"got {sum(with_segments)} of {len(scenes)} with. Make batches of a kind."
        )
    counts = [len(scene.coords) for scene in scenes]
    owner = np.repeat(np.arange(len(scenes)), counts)
    cells = np.concatenate([scene.coords for scene in scenes])
    coords = np.column_stack([owner, cells]).astype(np.int32)
    rung = rung or choose_rung(level_counts(coords, spec))
    plan, placed = place_plan(coords, rung, spec=spec)
    order = np.asarray(placed)[: len(coords)]
    capacity = rung.capacities[0]
    masked = np.cumsum([0, *(scene.num_masked for scene in scenes)])

    def rows(arrays: Sequence[np.ndarray], kind: type) -> Array:
        return leaf(pad_rows(np.concatenate(arrays)[order].astype(kind), capacity))

    segments = None
    if all(with_segments):
        shifted = [
            np.asarray(scene.segments) + first
            for scene, first in zip(scenes, masked, strict=False)
        ]
        # Moved by one, so that what pads is -1.
        segments = rows([s + 1 for s in shifted], np.int32) - np.int32(1)
    inputs = Scenes(
        plan=plan,
        colors=rows([scene.colors for scene in scenes], dtype),
        positions=rows([scene.positions for scene in scenes], dtype),
        number=rows([np.arange(count) for count in counts], np.int32),
        segments=segments,
        num_scenes=len(scenes),
        segment_capacity=_capacity(masked[-1]) if all(with_segments) else 0,
    )
    return Batch(inputs, order, np.cumsum([0, *counts]), masked)


def _capacity(count: int) -> int:
    """Return the least power of two that holds so many segments, so that few differ."""
    return max(_SEGMENTS, 1 << int(count - 1).bit_length())
