"""Batches of static shape: several scenes, one plan, padded superpoints and points.

N voxels, S superpoints, P points of all scenes of one device, each padded to the
bucket; C channels, K classes.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Literal

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int32, Shaped

from sas_jax.distill import augment
from sas_jax.distill.buckets import Bucket, RowCounts
from sas_jax.distill.config import TrainConfig
from sas_jax.distill.data import TrainScene
from sas_jax.errors import ContractError, InputError
from sas_jax.sparse.device_plan import UnbuiltPlan, leave_unbuilt
from sas_jax.sparse.extent import check_extent
from sas_jax.sparse.kernel_map import leaf
from sas_jax.sparse.keys import MAX_COORD
from sas_jax.sparse.plan import Plan, level_counts
from sas_jax.sparse.plan import build_plan as build_on_host
from sas_jax.sparse.plan_spec import MINKUNET, PlanSpec
from sas_jax.sparse.voxelize import Voxels, grid_cells, unique_voxels

# 3 GB of noise while it is smoothed: 200 m x 200 m x 20 m at the finest default grid.
_MAX_NOISE_NODES = 2**27


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Ensemble:
    """What temporal ensembling needs beside the voxels.

    Attributes:
      mask: voxels that take part in Eq. 13.
      first_point: the point that represents each voxel.
      point_voxel: voxel row of each point; 0 for padding.
      point_superpoint: superpoint of each point; the capacity S for padding.
      history: running mean of the logits of each point (Eq. 11 times T).
    """

    mask: Bool[Array, " N"]
    first_point: Int32[Array, " N"]
    point_voxel: Int32[Array, " P"]
    point_superpoint: Int32[Array, " P"]
    history: Float32[Array, "P K"]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        *("plan", "superpoint", "mask", "targets", "weights", "ensemble", "inputs")
    ],
    meta_fields=["num_superpoints"],
)
@dataclasses.dataclass(frozen=True)
class Batch:
    """The scenes of one device in one step.

    Attributes:
      plan: levels and kernel maps, or the voxels to build them from in the step; voxel
        rows are those of level 0.
      superpoint: superpoint of each voxel, scenes one after the other; the capacity S
        for padding.
      mask: voxels that take part in Eq. 10.
      targets: f16, one row per superpoint, or per voxel (`TrainConfig.own_targets`).
      weights: of the targets, where they do not count alike.
      ensemble: second stage only.
      num_superpoints: S, the capacity.
      inputs: of each voxel; None for constant ones.
    """

    plan: Plan | UnbuiltPlan
    superpoint: Int32[Array, " N"]
    mask: Bool[Array, " N"]
    targets: Float[Array, "S C"]
    weights: Float32[Array, " S"] | None
    ensemble: Ensemble | None
    num_superpoints: int
    inputs: Float32[Array, "N C_in"] | None = None

    def built_plan(self) -> Plan:
        """Return the plan, built under jit if the host did not."""
        return self.plan if isinstance(self.plan, Plan) else self.plan.build()

    @property
    def known_ensemble(self) -> Ensemble:
        """What temporal ensembling needs, of a batch made for the second stage.

        Raises:
          ContractError: for a batch made without.
        """
        if self.ensemble is None:
            raise ContractError(
                "batch: an ensemble is required, got none. "
                "Collate with ensemble=True for steps of the second stage."
            )
        return self.ensemble


@dataclasses.dataclass(frozen=True)
class Sample:
    """One scene, augmented and voxelised.

    Attributes:
      scene: where it comes from.
      voxels: its voxels, shifted as the batch is.
      linear: scale, rotation and mirror image that it went through.
    """

    scene: TrainScene
    voxels: Voxels
    linear: Float[np.ndarray, "3 3"]


def make_sample(
    scene: TrainScene,
    config: TrainConfig,
    rng: np.random.Generator | None,
    shift: Int32[np.ndarray, " 3"] | None = None,
) -> Sample:
    """Augment and voxelise one scene.

    Args:
      scene: the scene.
      config: voxel size and ranges of the transforms.
      rng: source of the transforms, or None for none at all.
      shift: voxels by which the whole batch is moved.

    Raises:
      InputError: if a position is not finite or the cloud is too large.
    """
    points, linear = scene.points, np.eye(3)
    _check_extent(scene, config)
    if rng is not None:
        points, linear = augment.placed(points, config.augment, rng)
    cells = grid_cells(points, config.voxel_size_m)
    if rng is not None:
        signs = augment.random_flips(config.augment, rng)
        cells, linear = augment.flip_cells(cells, signs), signs[:, None] * linear
    voxels = unique_voxels(cells)
    if shift is not None:
        voxels = dataclasses.replace(voxels, coords=voxels.coords + shift[None])
    return Sample(scene, voxels, linear)


def _check_extent(scene: TrainScene, config: TrainConfig) -> None:
    """Refuse a cloud that voxels or elastic distortion cannot span, before it is tried.

    Raises:
      InputError: naming the scene.
    """
    if len(scene.points) == 0:
        return
    check_extent(scene.points, config.voxel_size_m, f"scene {scene.name}")
    extent_m = np.ptp(scene.points, axis=0).astype(np.float64)
    # This way round, NaN and infinity are refused as well.
    if not (
        extent_m.max() / config.voxel_size_m <= MAX_COORD
        and augment.noise_nodes(extent_m, config.augment) <= _MAX_NOISE_NODES
    ):
        edges = " x ".join(f"{edge:g}" for edge in extent_m)
        raise InputError(
            f"scene {scene.name}: finite points spanning at most {MAX_COORD} voxels "
            f"and {_MAX_NOISE_NODES} nodes of elastic noise are required, got {edges} "
            "m. Check the unit of the points (metres) and for stray points."
        )


def batch_coords(samples: Sequence[Sample]) -> Int32[np.ndarray, "N 4"]:
    """Return (scene, x, y, z) of all voxels, in the row order of the plan."""
    parts = [np.zeros((0, 4), np.int32)]
    for index, sample in enumerate(samples):
        coords = sample.voxels.coords
        parts.append(np.insert(coords, 0, np.int32(index), axis=1))
    return np.concatenate(parts)


def count_rows(samples: Sequence[Sample], spec: PlanSpec = MINKUNET) -> RowCounts:
    """Return the rows that these scenes take together, on the levels of a network."""
    return RowCounts(
        levels=level_counts(batch_coords(samples), spec),
        superpoints=sum(sample.scene.num_superpoints for sample in samples),
        points=sum(len(sample.scene.points) for sample in samples),
    )


def collate(
    samples: Sequence[Sample],
    bucket: Bucket,
    config: TrainConfig,
    *,
    ensemble: bool,
    rng: np.random.Generator | None = None,
    build_plan: bool = True,
) -> Batch:
    """Put scenes into one padded batch; there may be none.

    Args:
      samples: the scenes of one device.
      bucket: sizes of all arrays.
      config: what to supervise and how many voxels to sample.
      ensemble: whether to prepare the second stage; its history is left empty
        (`History.attach` fills it).
      rng: picks voxels where `max_sample_voxels` is set.
      build_plan: build it here, rather than leave that to the step.

    Raises:
      ContractError: if the scenes do not fit the bucket.
    """
    spec = config.student.plan_spec
    coords, rung = batch_coords(samples), bucket.rung
    plan: Plan | UnbuiltPlan
    if build_plan:
        plan, _ = build_on_host(coords, rung, spec=spec)
    else:
        plan = leave_unbuilt(coords, rung, spec)
    superpoint, target_row = _voxel_rows(samples)
    mask = _sampled(target_row >= 0, config.max_sample_voxels, rng)
    rows = bucket.rung.capacities[0]
    return Batch(
        plan=plan,
        superpoint=_padded(superpoint, rows, fill=bucket.superpoints),
        mask=_padded(mask, rows),
        targets=_targets(samples, "feat", target_row, bucket, config),
        weights=(
            _targets(samples, "confidence", target_row, bucket, config)
            if config.confidence_weights
            else None
        ),
        ensemble=_ensemble(samples, bucket, config, rng) if ensemble else None,
        num_superpoints=bucket.superpoints,
        inputs=_inputs(samples, rows, config),
    )


def _inputs(
    samples: Sequence[Sample], capacity: int, config: TrainConfig
) -> Float32[Array, "N C_in"] | None:
    """Return the input of each voxel: that of its first point."""
    if not config.student.takes_gaussians:
        return None
    rows = [np.zeros((0, config.student.in_channels), np.float32)]
    for sample in samples:
        scene = sample.scene
        if scene.inputs is None or scene.moved is None:
            raise ContractError(
                f"collate: inputs of the student are required, got none (scene "
                f"{scene.name}). Load Gaussians."
            )
        of_voxels = scene.inputs[sample.voxels.first_point]
        rows.append(scene.moved(of_voxels, sample.linear))
    return _padded(np.concatenate(rows), capacity)


def _voxel_rows(
    samples: Sequence[Sample],
) -> tuple[Int32[np.ndarray, " N"], Int32[np.ndarray, " N"]]:
    """Return superpoint and target row of each voxel, counted over all scenes."""
    superpoints, rows = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    first_superpoint = first_row = 0
    for sample in samples:
        scene, point = sample.scene, sample.voxels.first_point
        superpoints.append(scene.superpoint[point] + np.int32(first_superpoint))
        row = scene.targets.row[point]
        rows.append(np.where(row >= 0, row + first_row, -1).astype(np.int32))
        first_superpoint += scene.num_superpoints
        first_row += len(scene.targets.feat)
    return np.concatenate(superpoints), np.concatenate(rows)


def _targets(
    samples: Sequence[Sample],
    name: Literal["feat", "confidence"],
    target_row: Int32[np.ndarray, " N"],
    bucket: Bucket,
    config: TrainConfig,
) -> Shaped[Array, " S *rest"]:
    """Return an array of `Features` for all targets of the batch."""
    parts = [getattr(sample.scene.targets, name) for sample in samples]
    if not config.own_targets:
        # The store may know more superpoints than the last id needs, never fewer.
        parts = [
            part[: sample.scene.num_superpoints]
            for part, sample in zip(parts, samples, strict=True)
        ]
        capacity = bucket.superpoints
    else:
        capacity = bucket.rung.capacities[0]
    none = (
        np.zeros((0, config.student.out_dim), np.float16)
        if name == "feat"
        else np.zeros(0, np.float32)
    )
    rows = np.concatenate([none, *parts])
    if config.own_targets and len(rows):
        rows = rows[target_row]  # row -1 is masked, any will do
    return _padded(rows, capacity)


def _ensemble(
    samples: Sequence[Sample],
    bucket: Bucket,
    config: TrainConfig,
    rng: np.random.Generator | None,
) -> Ensemble:
    empty = np.zeros(0, np.int32)
    first_point, point_voxel, point_superpoint = [empty], [empty], [empty]
    voxels = superpoints = points = 0
    for sample in samples:
        first_point.append(sample.voxels.first_point + np.int32(points))
        point_voxel.append(sample.voxels.inverse + np.int32(voxels))
        point_superpoint.append(sample.scene.superpoint + np.int32(superpoints))
        voxels += len(sample.voxels.coords)
        superpoints += sample.scene.num_superpoints
        points += len(sample.scene.points)
    rows = bucket.rung.capacities[0]
    mask = _sampled(np.ones(voxels, bool), config.max_sample_voxels, rng)
    return Ensemble(
        mask=_padded(mask, rows),
        first_point=_padded(np.concatenate(first_point), rows),
        point_voxel=_padded(np.concatenate(point_voxel), bucket.points),
        point_superpoint=_padded(
            np.concatenate(point_superpoint), bucket.points, fill=bucket.superpoints
        ),
        history=leaf(np.zeros((bucket.points, 0), np.float32)),
    )


def _sampled(
    mask: Bool[np.ndarray, " N"], most: int | None, rng: np.random.Generator | None
) -> Bool[np.ndarray, " N"]:
    """Return the mask with at most that many rows left, drawn without replacement."""
    if most is None or mask.sum() <= most:
        return mask
    if rng is None:
        raise ContractError("collate: sampling requires rng, got None. Pass one.")
    kept = np.zeros_like(mask)
    kept[rng.choice(np.flatnonzero(mask), most, replace=False)] = True
    return kept


def _padded(
    rows: Shaped[np.ndarray, " N *rest"], capacity: int, fill: int = 0
) -> Shaped[Array, " cap *rest"]:
    if len(rows) > capacity:
        raise ContractError(
            f"collate: at most {capacity} rows fit the bucket, got {len(rows)}. "
            "Choose the bucket from count_rows the same scenes."
        )
    padded = np.full((capacity, *rows.shape[1:]), fill, rows.dtype)
    padded[: len(rows)] = rows
    return leaf(padded)
