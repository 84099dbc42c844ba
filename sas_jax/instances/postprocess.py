"""From a query network's logits to instances, as the trainers do it.

Q queries, C classes, R rows of mask logits (superpoints or voxels), V voxels, P points.
Two trainers are followed, Mask3D's and OpenMask3D's, which differ in settings alone:
  - a query's mask is where its logit is above 0; with a radius it is split into the
    density clusters of its voxels, each with the class probabilities of the query;
  - the surest pairs of a mask and a class are kept: one mask may come with several
    classes. Of equally sure ones, such as the clusters of a query, larger masks come
    first; which they are in the originals, nobody knows. OpenMask3D keeps as many pairs
    as there are masks, and drops the class after that: masks come twice, and those of
    unsure queries are lost;
  - the score is the probability of the class (softmax with the class "no object", which
    is left out after it) times the mean sigmoid of the mask's logits;
  - voxels become points, then whole superpoints by majority; surest first;
  - a filter, off by default, drops a mask of which too much of a surer mask is part.

Source: the procedure of Mask3D's and OpenMask3D's trainers.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

from sas_jax.errors import ContractError
from sas_jax.instances.clusters import NOISE, dbscan
from sas_jax.instances.masks import NO_CLASS, Instances, shared_points
from sas_jax.scenes.labels import LabelSet


@dataclasses.dataclass(frozen=True)
class PostConfig:
    """Settings; the defaults are those of Mask3D on ScanNet.

    Attributes:
      top_k: how many pairs of a mask and a class are kept; 0: as many as there are
        masks, as OpenMask3D does.
      split_radius_m: of the clusters that masks are split into, metres; 0: no split.
      split_min_points: of a neighbourhood in a cluster; 1: whatever is near is of one.
      min_score: of the filter.
      max_covered: of the filter: share of a surer mask that may be part of a mask; 1
        keeps all. The originals call it IoU.
    """

    top_k: int = 500
    split_radius_m: float = 0.95
    split_min_points: int = 1
    min_score: float = 0.0
    max_covered: float = 1.0


OPENMASK3D = PostConfig(top_k=0)


@dataclasses.dataclass(frozen=True)
class Rows:
    """Which row of mask logits a point has.

    Attributes:
      coords: [V, 3] metres, of each voxel.
      row: [V] row of each voxel; None: rows are voxels.
      voxel: [P] voxel of each point.
      superpoints: [P] ids >= 0 of points for the majority; None: points stay as their
        voxel says.
    """

    coords: Float[np.ndarray, "V 3"]
    row: Int[np.ndarray, " V"] | None
    voxel: Int[np.ndarray, " P"]
    superpoints: Int[np.ndarray, " P"] | None = None


@dataclasses.dataclass(frozen=True)
class _Part:
    """A mask over voxels.

    Attributes:
      query: that it is of.
      voxels: indices of its voxels.
      confidence: mean sigmoid of their logits.
    """

    query: int
    voxels: Int[np.ndarray, " n"]
    confidence: float


def instances_of_queries(
    class_logits: Float[np.ndarray, "Q C+1"],
    mask_logits: Float[np.ndarray, "R Q"],
    rows: Rows,
    config: PostConfig | None = None,
) -> Instances:
    """Return the instances that a query network sees, surest first.

    Args:
      class_logits: the last class is "no object".
      mask_logits: of each row and query.
      rows: what the rows stand for.
      config: default: `PostConfig()`.

    Returns:
      Instances over the P points with scores in f32; `classes` are columns of
      `class_logits`, see `mask3d_classes` for their names.
    """
    config = config or PostConfig()
    if len(class_logits) != mask_logits.shape[1]:
        raise ContractError(
            f"postprocess: class and mask logits of equally many queries are required, "
            f"got {len(class_logits)} and {mask_logits.shape[1]}."
        )
    parts = _parts(mask_logits, rows, config)
    table = _probabilities(class_logits)[[part.query for part in parts]]
    count = min(config.top_k or len(parts), table.size)
    sizes = np.repeat([len(part.voxels) for part in parts], table.shape[1])
    pairs = np.lexsort((-sizes, -table.ravel()))[:count]
    part, column = np.divmod(pairs, max(table.shape[1], 1))
    confidence = np.array([p.confidence for p in parts], np.float32)
    scores = table.ravel()[pairs] * confidence[part]
    order = np.argsort(-scores, kind="stable")
    return _filtered(
        Instances(
            _point_masks(parts, rows, part)[order],
            len(rows.voxel),
            scores[order],
            column[order].astype(np.int32),
        ),
        config,
    )


def mask3d_classes(label_set: LabelSet, columns: int) -> tuple[str, ...]:
    """Return the names of a published Mask3D's classes, in the order of its columns.

    The first column stands for the label set's third class, after wall and floor; in
    ScanNet200, where the floor is third, the first one for the second and the second
    one for the fourth. Columns beyond the list have the empty name.

    Args:
      label_set: ScanNet's 20 or 200 classes.
      columns: C.
    """
    names = list(label_set.classes.names)
    named = names[2:] if names[:2] == ["wall", "floor"] else [names[1], *names[3:]]
    return tuple(named[i] if i < len(named) else "" for i in range(columns))


def _probabilities(logits: Float[np.ndarray, "Q C+1"]) -> Float32[np.ndarray, "Q C"]:
    """Return softmax without its last class."""
    shifted = logits.astype(np.float64)
    shifted = np.exp(shifted - shifted.max(axis=1, keepdims=True))
    return (shifted / shifted.sum(axis=1, keepdims=True))[:, :-1].astype(np.float32)


def _parts(
    mask_logits: Float[np.ndarray, "R Q"], rows: Rows, config: PostConfig
) -> list[_Part]:
    """Return the masks of all queries; without a split an empty one is kept, too."""
    parts = []
    for query in range(mask_logits.shape[1]):
        column = mask_logits[:, query].astype(np.float64)
        logits = column if rows.row is None else column[rows.row]
        inside = np.flatnonzero(logits > 0)
        pieces = [inside]
        if config.split_radius_m:
            radius, least = config.split_radius_m, config.split_min_points
            cluster = dbscan(rows.coords[inside], radius, least)
            number = int(cluster.max(initial=NOISE)) + 1
            pieces = [inside[cluster == index] for index in range(number)]
        for voxels in pieces:
            sigmoid = 1 / (1 + np.exp(-logits[voxels]))
            confidence = float(sigmoid.sum() / (len(voxels) + 1e-6))
            parts.append(_Part(query, voxels, confidence))
    return parts


def _point_masks(
    parts: list[_Part], rows: Rows, chosen: Int[np.ndarray, " K"]
) -> UInt8[np.ndarray, "K B"]:
    """Return the bits of parts over all points; each part is brought there once."""
    used, of_chosen = np.unique(chosen, return_inverse=True)
    packed = np.zeros((len(used), -(-len(rows.voxel) // 8)), np.uint8)
    for bits, index in zip(packed, used.tolist(), strict=True):
        mask = np.zeros(len(rows.coords), bool)
        mask[parts[index].voxels] = True
        mask = mask[rows.voxel]
        if rows.superpoints is not None:
            mask = majority(mask, rows.superpoints)
        bits[:] = np.packbits(mask)
    return packed[of_chosen]


def majority(
    mask: Bool[np.ndarray, " P"], superpoints: Int[np.ndarray, " P"]
) -> Bool[np.ndarray, " P"]:
    """Return the superpoints of whose points more than half are in a mask."""
    points = np.bincount(superpoints)
    inside = np.bincount(superpoints[mask], minlength=len(points))
    return (2 * inside > points)[superpoints]


def _filtered(instances: Instances, config: PostConfig) -> Instances:
    """Drop unsure masks, empty ones, and those that too much of a surer one is in."""
    if config.max_covered >= 1 and config.min_score <= 0:
        return instances
    sizes = instances.sizes()
    shared = shared_points(instances.packed, instances.packed)
    covered = shared / np.maximum(sizes, 1)[None, :] > config.max_covered
    surer = np.tri(len(instances), k=-1, dtype=bool)
    kept = ~(covered & surer).any(axis=1) & (sizes > 0)
    return instances.chosen(kept & (instances.scores >= config.min_score))


def unnamed(instances: Instances) -> Instances:
    """Return the instances without classes."""
    classes = np.full(len(instances), NO_CLASS, np.int32)
    return dataclasses.replace(instances, classes=classes, class_names=())
