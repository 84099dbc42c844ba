"""Mask3D on a scan: points and colours in, mask and class logits out."""

import dataclasses
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Float32, Int, Int32, UInt8

from sas_jax import memory
from sas_jax.errors import ContractError, InputError
from sas_jax.instances.mask3d.config import Mask3DConfig
from sas_jax.instances.mask3d.network import Mask3D, Masks
from sas_jax.instances.mask3d.scenes import Batch, VoxelScene, make_batch
from sas_jax.instances.masks import Instances
from sas_jax.instances.postprocess import PostConfig, Rows, instances_of_queries
from sas_jax.sparse.extent import check_extent
from sas_jax.sparse.keys import MAX_COORD, MIN_COORD
from sas_jax.sparse.voxelize import unique_voxels


@dataclasses.dataclass(frozen=True)
class Cells:
    """Occupied cells of a scan, in the order in which its points enter them.

    Attributes:
      coords: [V, 3] i32, floor(position / edge); may be negative.
      first_point: [V] i32, the point that stands for each.
      inverse: [P] i32, the cell of each point.
    """

    coords: Int32[np.ndarray, "V 3"]
    first_point: Int32[np.ndarray, " V"]
    inverse: Int32[np.ndarray, " P"]


@dataclasses.dataclass(frozen=True)
class Proposals:
    """What the network says of a scan, before anything is chosen.

    Attributes:
      class_logits: [Q, K] f32 of each query, "no object" the last class.
      mask_logits: [M, Q] f32 of each query's mask, above 0 inside: of segments, or of
        voxels where there are none.
      rows: what the M rows stand for; of a segment that no voxel's first point is of,
        there is none.
    """

    class_logits: Float32[np.ndarray, "Q K"]
    mask_logits: Float32[np.ndarray, "M Q"]
    rows: Rows

    def instances(self, config: PostConfig | None = None) -> Instances:
        """Return instances over the points, see `postprocess`."""
        return instances_of_queries(
            self.class_logits, self.mask_logits, self.rows, config
        )


class Predictor:
    """A Mask3D network, ready to run on scans; compiles once for each rung."""

    def __init__(self, config: Mask3DConfig, variables: dict[str, Any]):
        """Take the network of `port.read_lightning`, or of `initial.draw`."""
        self.config = config
        self.variables = jax.device_put(variables)
        self._apply = jax.jit(Mask3D(config).apply)
        self._programs: dict[Any, Any] = {}

    def propose(
        self,
        points: Float[np.ndarray, "P 3"],
        colors: UInt8[np.ndarray, "P 3"],
        segments: Int[np.ndarray, " P"] | None = None,
    ) -> Proposals:
        """Return mask and class logits of a scan.

        Args:
          points: metres, z up, in any frame; cells are those of their own precision.
          colors: of the points.
          segments: of the points, any ids; masks are then of segments, as the
            published weights were trained. None asks for masks of voxels.

        Raises:
          InputError: for a scan without points, of another unit, or too large for the
            memory that is free.

        Deterministic: yes.
        """
        _check(points, colors, segments)
        check_extent(points, self.config.voxel_size_m, "mask3d")
        cells = first_cells(points, self.config.voxel_size_m)
        first = cells.first_point
        positions = points[first].astype(np.float32)
        of_voxels = None if segments is None else _numbered(segments[first])
        scene = VoxelScene(
            cells.coords, self.normalized(colors[first]), positions, of_voxels
        )
        batch = make_batch([scene], self.config.plan_spec)
        answer = self.run(batch)[0]
        return Proposals(
            class_logits=np.asarray(answer.class_logits),
            mask_logits=batch.masked_rows(0, np.asarray(answer.mask_logits)),
            rows=Rows(
                coords=positions,
                row=of_voxels,
                voxel=cells.inverse,
                superpoints=None if segments is None else _numbered(segments),
            ),
        )

    def run(self, batch: Batch) -> list[Masks]:
        """Return what the network says of a batch, rows as in its plan."""
        scenes = batch.scenes
        leaves, structure = jax.tree.flatten(scenes)
        key = (structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves))
        if key not in self._programs:
            program = self._apply.lower(self.variables, scenes).compile()
            self._programs[key] = program
        program = self._programs[key]
        account = program.memory_analysis()
        assert account is not None  # XLA keeps one on CPU, GPU and TPU
        needed = account.temp_size_in_bytes + account.output_size_in_bytes
        memory.require(needed, f"masks of {int(batch.starts[-1])} voxels")
        return program(self.variables, scenes)

    def normalized(
        self, colors: UInt8[np.ndarray, "N 3"]
    ) -> Float32[np.ndarray, "N 3"]:
        """Return colours as the network takes them."""
        mean = np.array(self.config.color_mean, np.float32)
        std = np.array(self.config.color_std, np.float32)
        return (colors.astype(np.float32) / np.float32(255) - mean) / std


def first_cells(points: Float[np.ndarray, "P 3"], voxel_size_m: float) -> Cells:
    """Return the occupied cells of a scan, each with the first point in it.

    Args:
      points: metres; the division is of their own precision, as in the original, which
        decides on which side of a face a point lies.
      voxel_size_m: edge of a cell.

    Raises:
      InputError: if a position is not finite or too far from the origin.
    """
    cells = np.floor(points / points.dtype.type(voxel_size_m))
    # Comparing this way round also refuses NaN and infinity.
    if not (cells.min() >= MIN_COORD and cells.max() <= MAX_COORD):
        raise InputError(
            f"mask3d: finite points within {MAX_COORD} voxels of the origin are "
            f"required, got {cells.min():g}..{cells.max():g}. Check the unit of the "
            "points (metres), and move the scan to the origin."
        )
    coords = cells.astype(np.int32)
    voxels = unique_voxels(coords - coords.min(axis=0)[None])
    order = np.argsort(voxels.first_point)
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    first = voxels.first_point[order]
    return Cells(coords[first], first, rank[voxels.inverse])


def _numbered(segments: Int[np.ndarray, " N"]) -> Int32[np.ndarray, " N"]:
    """Return segments as 0..S-1, ids ascending."""
    return np.unique(segments, return_inverse=True)[1].astype(np.int32)


def _check(points: np.ndarray, colors: np.ndarray, segments: np.ndarray | None) -> None:
    if len(points) == 0:
        raise InputError(
            "mask3d: a scan with points is required, got none. Check the file."
        )
    if colors.dtype != np.uint8 or colors.shape != points.shape:
        raise ContractError(
            f"mask3d: u8 colours {list(points.shape)} are required, got {colors.dtype} "
            f"{list(colors.shape)}."
        )
    if segments is not None and segments.shape != points.shape[:1]:
        raise ContractError(
            f"mask3d: a segment of each of {len(points)} points is required, got "
            f"{list(segments.shape)}."
        )
