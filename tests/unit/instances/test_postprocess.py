import dataclasses

import numpy as np
import pytest
from sklearn.cluster import DBSCAN

from sas_jax.errors import ContractError
from sas_jax.instances import clusters, masks, postprocess
from sas_jax.instances.postprocess import PostConfig, Rows, instances_of_queries
from sas_jax.scenes.labels import SCANNET20, label_set


def blobs(seed, count=400):
    rng = np.random.default_rng(seed)
    centres = rng.random((7, 3)) * 3
    places = centres[rng.integers(0, 7, count)] + rng.normal(0, 0.08, (count, 3))
    return np.concatenate([places, rng.random((40, 3)) * 3, places[:5]])


@pytest.mark.parametrize(("listed", "brute"), [(True, 0), (False, 0), (False, 4096)])
@pytest.mark.parametrize("min_points", [1, 2, 5, 12])
@pytest.mark.parametrize("radius", [0.03, 0.1, 0.25, 0.9])
def test_clusters(monkeypatch, radius, min_points, listed, brute):
    if not listed:
        monkeypatch.setattr(clusters, "_CROWDED", 0)
    monkeypatch.setattr(clusters, "_BRUTE", brute)
    for seed in range(3):
        places = blobs(seed)
        expected = DBSCAN(eps=radius, min_samples=min_points).fit(places).labels_
        found = clusters.dbscan(places, radius, min_points)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("limit", [-1, 100])
def test_the_rim_is_inside(monkeypatch, limit):
    monkeypatch.setattr(clusters, "_CROWDED", limit)
    line = np.zeros((6, 3))
    line[:, 0] = [0, 1, 2, 4, 5, 7.5]
    assert clusters.dbscan(line, 1).tolist() == [0, 0, 0, 1, 1, 2]
    assert clusters.dbscan(line, 1, 3).tolist() == [0, 0, 0, -1, -1, -1]


def test_no_points_and_one():
    assert clusters.dbscan(np.zeros((0, 3)), 1, 1).tolist() == []
    assert clusters.dbscan(np.zeros((0, 3)), 1, 2).tolist() == []
    assert clusters.dbscan(np.zeros((1, 3)), 1, 1).tolist() == [0]
    assert clusters.dbscan(np.zeros((1, 3)), 1, 2).tolist() == [-1]
    with pytest.raises(ContractError, match="radius > 0"):
        clusters.dbscan(np.zeros((1, 3)), 0)


def scene(seed=0, num_points=300, queries=6, columns=4):
    rng = np.random.default_rng(seed)
    coords = rng.random((90, 3)).astype(np.float32)
    rows = Rows(
        coords,
        rng.integers(0, 20, 90),
        rng.integers(0, 90, num_points),
        rng.integers(0, 12, num_points),
    )
    return (
        rng.normal(size=(queries, columns + 1)).astype(np.float32),
        rng.normal(size=(20, queries)).astype(np.float32),
        rows,
    )


def slowly(class_logits, mask_logits, rows, config):
    """Return (score, class, points) of every kept pair, surest first."""
    kept = []
    for query, logits in enumerate(class_logits.astype(float)):
        p = np.exp(logits) / np.exp(logits).sum()
        inside = [v for v, r in enumerate(rows.row) if mask_logits[r, query] > 0]
        pieces = {0: inside}
        if config.split_radius_m and inside:
            labels = DBSCAN(
                eps=config.split_radius_m, min_samples=config.split_min_points
            ).fit(rows.coords[inside])
            pieces = {}
            for voxel, label in zip(inside, labels.labels_, strict=True):
                if label >= 0:
                    pieces.setdefault(label, []).append(voxel)
        elif config.split_radius_m:
            pieces = {}
        for piece in pieces.values():
            x = [float(mask_logits[rows.row[v], query]) for v in piece]
            sure = sum(1 / (1 + np.exp(-v)) for v in x) / (len(x) + 1e-6)
            points = {i for i, v in enumerate(rows.voxel) if v in set(piece)}
            whole = set()
            for number in set(rows.superpoints.tolist()):
                own = set(np.flatnonzero(rows.superpoints == number))
                if 2 * len(own & points) > len(own):
                    whole |= own
            kept += [
                (p[c], len(piece), p[c] * sure, c, whole) for c in range(len(p) - 1)
            ]
    masks_there = len(kept) // (class_logits.shape[1] - 1)
    kept.sort(key=lambda row: (-row[0], -row[1]))
    kept = [row[2:] for row in kept[: config.top_k or masks_there]]
    kept.sort(key=lambda row: -row[0])
    chosen = []
    for i, (score, column, points) in enumerate(kept):
        hidden = any(
            other and len(other & points) / len(other) > config.max_covered
            for _, _, other in kept[:i]
        )
        filtered = config.max_covered < 1 or config.min_score > 0
        if not filtered or (points and not hidden and score >= config.min_score):
            chosen.append((score, column, points))
    return chosen


@pytest.mark.parametrize(
    "config",
    [
        PostConfig(split_radius_m=0),
        PostConfig(top_k=7, split_radius_m=0.15),
        PostConfig(top_k=0, split_radius_m=0.25, split_min_points=3),
        PostConfig(max_covered=0.5, min_score=0.05),
        PostConfig(top_k=12, max_covered=0.8, split_radius_m=0),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_procedure(config, seed):
    given = scene(seed)
    expected = slowly(*given, config)
    found = instances_of_queries(*given, config)
    np.testing.assert_allclose(found.scores, [s for s, _, _ in expected], rtol=1e-6)
    assert found.classes.tolist() == [column for _, column, _ in expected]
    got = [set(np.flatnonzero(mask).tolist()) for mask in found.masks()]
    assert got == [points for _, _, points in expected]
    assert found.scores.dtype == np.float32


def test_voxels_without_superpoints():
    class_logits, mask_logits, rows = scene()
    rows = dataclasses.replace(rows, row=None, superpoints=None)
    logits = np.linspace(-1, 1, 90 * 6).reshape(90, 6)
    found = instances_of_queries(class_logits, logits, rows, PostConfig(1, 0))
    query = np.argmax(np.exp(class_logits).T[:-1] / np.exp(class_logits).sum(1)) % 6
    np.testing.assert_array_equal(found.mask(0), logits[rows.voxel, query] > 0)
    assert mask_logits.shape == (20, 6)


def test_nothing_is_seen():
    class_logits, mask_logits, rows = scene()
    nothing = -np.ones_like(mask_logits)
    split = instances_of_queries(class_logits, nothing, rows)
    assert len(split) == 0 and split.num_points == 300
    whole = instances_of_queries(class_logits, nothing, rows, PostConfig(3, 0))
    assert whole.scores.tolist() == [0, 0, 0] and not whole.sizes().any()
    none = instances_of_queries(class_logits[:0], nothing[:, :0], rows)
    assert len(none) == 0
    with pytest.raises(ContractError, match="got 6 and 5"):
        instances_of_queries(class_logits, nothing[:, :5], rows)


def test_half_is_no_majority():
    ids = np.array([0, 0, 1, 1, 1, 3])
    mask = np.array([True, False, True, True, False, False])
    assert postprocess.majority(mask, ids).tolist() == [False] * 2 + [True] * 3 + [
        False
    ]


def test_names_of_columns():
    assert postprocess.mask3d_classes(SCANNET20, 18)[::17] == (
        *("cabinet", "other furniture"),
    )
    names = postprocess.mask3d_classes(label_set("scannet200"), 200)
    assert names[:3] == ("chair", "table", "door") and names[197] == "mattress"
    assert names[198:] == ("", "")


def test_shared_points():
    rng = np.random.default_rng(0)
    first, second = rng.random((5, 20_001)) < 0.3, rng.random((3, 20_001)) < 0.6
    expected = first.astype(int) @ second.T.astype(int)
    found = masks.shared_points(*map(masks.packed_masks, (first, second)))
    np.testing.assert_array_equal(found, expected)
