"""Superpoints of files as people have them: repeats, loose signs, own corners."""

import logging

import numpy as np
import pytest

from sas_jax.scenes import positions as module
from sas_jax.scenes.scene import Scene
from sas_jax.superpoints.graph import given_axes, knn_edges, vertex_normals
from sas_jax.superpoints.segment import segment_mesh, segment_points
from sas_jax.superpoints.stage import segment_scene


def bumps(n=40, seed=0):
    """Rough terraces with vertices, faces and unit vertex normals."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(n) * 0.02, np.arange(n) * 0.02, indexing="ij")
    z = 0.2 * np.floor(2.5 * np.sin(6 * x) * np.cos(5 * y))
    points = np.stack([x, y, z], -1).reshape(-1, 3)
    points += rng.normal(0, 1e-3, points.shape)
    points = points.astype(np.float32)
    i = np.arange(n * n).reshape(n, n)
    lower = np.stack([i[:-1, :-1], i[1:, :-1], i[:-1, 1:]], -1).reshape(-1, 3)
    upper = np.stack([i[1:, :-1], i[1:, 1:], i[:-1, 1:]], -1).reshape(-1, 3)
    faces = np.concatenate([lower, upper]).astype(np.int32)
    normals = vertex_normals(points, faces)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return points, faces, normals


def in_order(labels):
    first = {label: rank for rank, label in enumerate(dict.fromkeys(labels.tolist()))}
    return [first[label] for label in labels.tolist()]


def assert_same_partition(one, other):
    assert in_order(one) == in_order(other)


def test_signs_of_a_clouds_normals_do_not_matter():
    points, _, normals = bumps()
    expected = segment_points(points, normals, min_vertices=20)
    assert 10 < expected.max() < 300
    rng = np.random.default_rng(1)
    for share in (0.1, 0.5, 1.0):
        sign = np.where(rng.random(len(points)) < share, -1, 1).astype(np.float32)
        labels = segment_points(points, normals * sign[:, None], min_vertices=20)
        np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("given", [True, False])
def test_the_order_of_points_does_not_matter(given):
    points, _, normals = bumps()
    grid = np.stack(np.meshgrid(np.arange(9), np.arange(9), [0, 5]), -1)
    points = np.concatenate([points, 3 + 0.02 * grid.reshape(-1, 3).astype("f4")])
    up = np.tile(np.float32([[0, 0, 1]]), (162, 1))
    normals = np.concatenate([normals, up]) if given else None
    labels = segment_points(points, normals, min_vertices=20)
    assert labels.max() > 10
    order = np.random.default_rng(2).permutation(len(points))
    moved = segment_points(
        points[order], normals[order] if given else None, min_vertices=20
    )
    assert_same_partition(moved, labels[order])
    assert in_order(moved) == moved.tolist()


@pytest.mark.parametrize("given", [True, False])
def test_repeated_points_are_one_point(given):
    points, _, normals = bumps()
    labels = segment_points(points, normals if given else None, min_vertices=20)
    count = np.random.default_rng(3).integers(1, 5, len(points))
    order = np.random.default_rng(4).permutation(np.repeat(np.arange(1600), count))
    repeated = segment_points(
        points[order], normals[order] if given else None, min_vertices=20
    )
    assert_same_partition(repeated, labels[order])


def test_a_cloud_of_zeros_builds_small_trees(monkeypatch, caplog):
    sizes, most = [], []

    class Tree(module.scipy.spatial.cKDTree):
        def __init__(self, data, **options):
            super().__init__(data, **options)
            sizes.append(len(data))

        def query(self, data, k, **options):
            most.append(len(data) * len(k))
            return super().query(data, k, **options)

    monkeypatch.setattr(module.scipy.spatial, "cKDTree", Tree)
    points, _, _ = bumps()
    zeros = np.zeros((50_000, 3), np.float32)
    zeros[::2] *= -1
    scene = Scene("cam", np.concatenate([points, zeros]))
    with caplog.at_level(logging.WARNING):
        labels = segment_scene(scene)
    assert set(sizes) == {1601} and sum(most) <= 1601 * (16 + 9)
    assert "superpoints of cam: 50000 of 51600 points (96.9 %)" in caplog.text
    assert len(set(labels[1600:])) == 1
    alone = segment_points(np.concatenate([points, zeros[:1]]))
    np.testing.assert_array_equal(labels[:1601], alone)


def test_edges_of_repeated_points_hang_on_the_first():
    points = np.float32([[5, 0, 0], [1, 0, 0], [0, 0, 0], [1, 0, 0], [1, -0.0, 0]])
    edges = knn_edges(points, 1)
    np.testing.assert_array_equal(edges, [[0, 1], [1, 2], [1, 3], [1, 4]])


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_normals_without_a_direction_are_estimated(value):
    points, _, normals = bumps()
    np.testing.assert_array_equal(
        segment_points(points, np.full_like(normals, value)), segment_points(points)
    )
    some = normals.copy()
    some[::50] = value
    labels = segment_points(points, some, min_vertices=20)
    expected = segment_points(points, normals, min_vertices=20)
    same = labels[:, None] == labels[None]
    agree = (same == (expected[:, None] == expected[None])).mean()
    assert agree > 0.95


def test_a_place_takes_the_most_upright_of_its_normals():
    points = np.zeros((5, 3), np.float32)
    points[4] = 1
    normals = np.float32([[3, 0, 0], [0, 0, 0], [0.6, 0, -0.8], [0, 1, 0], [0, -7, 0]])
    positions = module.distinct_positions(points)
    np.testing.assert_allclose(
        given_axes(positions, normals)[positions.of_point[[0, 4]]],
        [[-0.6, 0, 0.8], [0, -1, 0]],
        atol=1e-7,
    )
    one = module.distinct_positions(points[:3])
    np.testing.assert_array_equal(given_axes(one, normals[:3] * 0), [[0, 0, 0]])


@pytest.mark.parametrize(
    "points",
    [
        np.ones((1, 3)),
        np.ones((70, 3)),
        np.eye(3)[:2],
        np.eye(3),
        np.outer(np.arange(300) * 0.02, [3, 2, 1]) + 100,
        np.outer(np.arange(300) * 0.02, [0, 0, 1]),
    ],
    ids=["one", "equal", "two", "three", "line", "vertical line"],
)
def test_points_without_a_crease_are_one_superpoint(points):
    assert set(segment_points(points.astype(np.float32))) == {0}


def test_clusters_far_apart_stay_apart():
    points, _, _ = bumps()
    far = np.concatenate([points, points + np.float32([4096, 0, -2048])])
    labels = segment_points(far, min_vertices=20)
    assert not set(labels[:1600]) & set(labels[1600:])


def soup(points, faces, share=1.0):
    """Give a share of the corners a vertex of their own."""
    own = np.random.default_rng(5).random(faces.size) < share
    corner = faces.reshape(-1).copy()
    extra = points[corner[own]]
    corner[own] = len(points) + np.arange(len(extra))
    used, corner = np.unique(corner, return_inverse=True)
    points = np.concatenate([points, extra])[used]
    return points, corner.reshape(-1, 3).astype(np.int32)


@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
def test_corners_of_their_own_are_cut_like_shared_ones(share):
    points, faces, _ = bumps()
    shared = segment_mesh(points, faces, min_vertices=20)
    assert shared.max() > 10
    many, corners = soup(points, faces, share)
    labels = segment_mesh(many, corners, min_vertices=20)
    assert len(many) > len(points)
    assert_same_partition(labels[corners].reshape(-1), shared[faces].reshape(-1))
    assert in_order(labels) == labels.tolist()


def test_a_warning_for_meshes_with_many_vertices_in_one_place(caplog):
    points, faces, _ = bumps()
    segment_mesh(*soup(points, faces))
    assert not caplog.records
    segment_mesh(np.concatenate([points, np.zeros((200, 3), np.float32)]), faces)
    assert "200 of 1800 points" in caplog.text
