import formulas
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sas_jax.errors import InputError
from sas_jax.superpoints import native
from sas_jax.superpoints.graph import (
    edge_weights,
    knn_edges,
    mesh_edges,
    vertex_normals,
)
from sas_jax.superpoints.segment import segment_graph, segment_mesh, segment_points

IMPLS = [
    "numpy",
    pytest.param(
        "native",
        marks=pytest.mark.skipif(
            not native.available(), reason="the native library is not built"
        ),
    ),
]


def grid(n, m, height=lambda x, y: 0 * x):
    x, y = np.meshgrid(np.arange(n) * 0.02, np.arange(m) * 0.02, indexing="ij")
    points = np.stack([x, y, height(x, y)], -1).reshape(-1, 3).astype(np.float32)
    i = np.arange(n * m).reshape(n, m)
    lower = np.stack([i[:-1, :-1], i[1:, :-1], i[:-1, 1:]], -1).reshape(-1, 3)
    upper = np.stack([i[1:, :-1], i[1:, 1:], i[:-1, 1:]], -1).reshape(-1, 3)
    return points, np.concatenate([lower, upper]).astype(np.int32)


def fold(n=40, slope=50.0, rough=1e-3):
    """Floor and slope of n x n/2 vertices meeting in a crease; slightly rough."""
    points, faces = grid(n, n, lambda x, y: slope * np.maximum(0, x - x[n // 2, 0]))
    rng = np.random.default_rng(0)
    points += rng.normal(0, rough * 0.02, points.shape).astype(np.float32)
    return points, faces


def test_vertex_normals_by_definition():
    points, faces = grid(6, 5, lambda x, y: np.sin(40 * x) * 0.01)
    got = vertex_normals(points, faces)
    wanted = formulas.vertex_normals(points, faces)
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_weights_by_definition():
    points, faces = fold(12, rough=0.3)
    normals = vertex_normals(points, faces)
    edges = mesh_edges(faces)
    # A normal upright on its edge (that of a vertex with one face) is neither convex
    # nor concave: there rounding decides, and the goldens say how.
    along = points[edges[:, 1]] - points[edges[:, 0]]
    edges = edges[np.abs((normals[edges[:, 1]] * along).sum(axis=1)) > 1e-6]
    assert len(edges) > 0.99 * len(along)
    got = edge_weights(points, normals, edges)
    exact = normals.astype(np.float64)
    wanted = [formulas.mesh_edge_weight(points, exact, a, b) for a, b in edges]
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_normals_survive_faces_without_area_and_lone_vertices():
    points = np.array(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [2, 0, 0], [9, 9, 9]], np.float32
    )
    faces = np.array([[0, 1, 2], [0, 1, 3], [0, 0, 1]], np.int32)
    normals = vertex_normals(points, faces)
    np.testing.assert_array_equal(normals[:3], [[0, 0, 1]] * 3)
    np.testing.assert_array_equal(normals[3:], 0)


def test_convex_edges_are_squared():
    points = np.array([[0, 0, 0], [1, 0, 0]], np.float32)
    tilt = np.array([0.6, 0, 0.8], np.float32)
    up = np.array([0, 0, 1], np.float32)
    edges = np.array([[0, 1]], np.int32)
    convex = edge_weights(points, np.stack([up, tilt]), edges)
    concave = edge_weights(points, np.stack([up, tilt * [-1, 1, 1]]), edges)
    np.testing.assert_allclose(concave, [0.2], atol=1e-6)
    np.testing.assert_allclose(convex, [0.04], atol=1e-6)
    same = edge_weights(points * 0, np.stack([up, tilt]), edges)
    np.testing.assert_allclose(same, [0.2], atol=1e-6)


def test_mesh_edges_keep_face_order():
    edges = mesh_edges(np.array([[4, 5, 6], [6, 5, 7]], np.int32))
    np.testing.assert_array_equal(
        edges, [[4, 5], [4, 6], [6, 5], [6, 5], [6, 7], [7, 5]]
    )


@pytest.mark.parametrize("impl", IMPLS)
def test_graph_by_hand(impl):
    # 0-1 and 2-3 join at once; 1-2 exceeds both thresholds, 0.1 + 1/2.
    edges = np.array([[1, 2], [0, 1], [2, 3]], np.int32)
    weights = np.array([0.65, 0.1, 0.1], np.float32)
    labels = segment_graph(5, edges, weights, 1.0, 0, impl=impl)
    np.testing.assert_array_equal(labels, [0, 0, 1, 1, 2])
    labels = segment_graph(5, edges, weights - 0.1, 1.0, 0, impl=impl)
    np.testing.assert_array_equal(labels, [0, 0, 1, 1, 2])
    labels = segment_graph(5, edges, np.float32([0.59, 0.1, 0.1]), 1.0, 0, impl=impl)
    np.testing.assert_array_equal(labels, [0, 0, 0, 0, 1])
    # Small segments join whatever the weight; a lone point has nobody to join.
    labels = segment_graph(5, edges, weights, 1.0, 3, impl=impl)
    np.testing.assert_array_equal(labels, [0, 0, 0, 0, 1])
    assert labels.dtype == np.int32


@pytest.mark.parametrize("impl", IMPLS)
def test_ties_go_by_edge_order(impl):
    edges = np.array([[2, 3], [0, 1], [1, 2]], np.int32)
    labels = segment_graph(4, edges, np.ones(3, np.float32), 0.0, 2, impl=impl)
    np.testing.assert_array_equal(labels, [0, 0, 1, 1])
    labels = segment_graph(4, edges[::-1], np.ones(3, np.float32), 0.0, 2, impl=impl)
    np.testing.assert_array_equal(labels, [0, 0, 0, 0])


@pytest.mark.parametrize("impl", IMPLS)
def test_no_edges_and_no_points(impl):
    none, nothing = np.zeros((0, 2), np.int32), np.zeros(0, np.float32)
    np.testing.assert_array_equal(segment_graph(3, none, nothing, impl=impl), [0, 1, 2])
    assert segment_graph(0, none, nothing, impl=impl).shape == (0,)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.01, 0.5]),
    st.integers(0, 30),
    st.booleans(),
)
def test_any_graph_is_cut_by_the_formula(seed, k_threshold, min_vertices, ties):
    rng = np.random.default_rng(seed)
    num_points = int(rng.integers(1, 80))
    edges = rng.integers(0, num_points, (int(rng.integers(0, 300)), 2)).astype(np.int32)
    weights = rng.normal(0.2, 0.3, len(edges)).astype(np.float32)
    if ties:
        weights = np.round(weights, 1) * np.float32(rng.choice([-1, 1]))
    check_cut(num_points, edges, weights, k_threshold, min_vertices)


def check_cut(num_points, edges, weights, k_threshold, min_vertices):
    """Hold every implementation against the formula in the same precision, f32."""
    k = np.float32(k_threshold)
    wanted = formulas.segments(num_points, edges, weights, k, min_vertices)
    arguments = (num_points, edges, weights, k_threshold, min_vertices)
    for impl in ["numpy", *["native"] * native.available()]:
        labels = segment_graph(*arguments, impl=impl)
        np.testing.assert_array_equal(labels, wanted)
    return wanted


@pytest.mark.parametrize("min_vertices", [5, 60])
def test_a_mesh_is_cut_by_the_formula(min_vertices):
    points, faces = fold(24, rough=0.3)
    edges = mesh_edges(faces)
    weights = edge_weights(points, vertex_normals(points, faces), edges)
    wanted = check_cut(len(points), edges, weights, 0.01, min_vertices)
    labels = segment_mesh(points, faces, min_vertices=min_vertices)
    np.testing.assert_array_equal(labels, wanted)
    assert labels.max() > 0


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("slope", [-50, 50])
def test_floor_and_wall_are_two_superpoints(impl, slope):
    points, faces = fold(slope=slope)
    labels = segment_mesh(points, faces, min_vertices=100, impl=impl)
    assert labels.max() == 1
    x = np.arange(len(points)) // 40
    assert len(set(labels[x < 19])) == 1 and len(set(labels[x > 22])) == 1
    assert labels[0] != labels[-1]


def test_min_vertices_bounds_the_size_of_connected_superpoints():
    points, faces = fold(rough=0.3)
    sizes = {}
    for least in (1, 20, 60):
        labels = segment_mesh(points, faces, min_vertices=least)
        np.testing.assert_array_equal(np.unique(labels), np.arange(labels.max() + 1))
        sizes[least] = np.bincount(labels)
        assert sizes[least].min() >= least
    assert len(sizes[1]) > len(sizes[20]) > len(sizes[60])


def test_ids_appear_in_order():
    points, faces = fold(rough=0.3)
    labels = segment_mesh(points, faces, min_vertices=5)
    first = [np.flatnonzero(labels == i)[0] for i in range(labels.max() + 1)]
    assert first == sorted(first)


def test_knn_edges_equal_brute_force():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(50, 3)).astype(np.float32)
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    expected = {
        (min(i, j), max(i, j)) for i in range(50) for j in np.argsort(distance[i])[:4]
    }
    edges = knn_edges(points, 4)
    assert [tuple(e) for e in edges] == sorted(expected)
    assert knn_edges(points[:1], 4).shape == (0, 2)
    np.testing.assert_array_equal(knn_edges(points[:2], 4), [[0, 1]])


@pytest.mark.parametrize("known_normals", [True, False])
def test_clouds_without_a_mesh(known_normals):
    points, faces = fold(slope=1.5)
    normals = vertex_normals(points, faces) if known_normals else None
    labels = segment_points(points, normals, min_vertices=100)
    x = np.arange(len(points)) // 40
    assert labels.max() == 1
    assert len(set(labels[x < 18])) == 1 and len(set(labels[x > 23])) == 1


def test_one_point_and_coincident_points():
    one = np.zeros((1, 3), np.float32)
    np.testing.assert_array_equal(segment_points(one), [0])
    no_faces = np.zeros((0, 3), np.int32)
    np.testing.assert_array_equal(segment_mesh(one, no_faces), [0])
    assert segment_points(np.zeros((20, 3), np.float32)).shape == (20,)


def test_bad_input():
    points, faces = grid(3, 3)
    edges, weights = np.array([[0, 1]], np.int32), np.zeros(1, np.float32)
    with pytest.raises(InputError, match="finite"):
        segment_mesh(points * np.float32(np.nan), faces)
    with pytest.raises(InputError, match="face indices"):
        segment_mesh(points, faces + 7)
    with pytest.raises(InputError, match=r"0\.\.1, got 0\.\.2"):
        segment_graph(2, edges * 2, weights)
    with pytest.raises(InputError, match="1 weights that are not finite"):
        segment_graph(2, edges, weights * np.nan)
    with pytest.raises(InputError, match="k_threshold=-1"):
        segment_graph(2, edges, weights, -1)
    with pytest.raises(InputError, match="one weight per edge"):
        segment_graph(2, edges, np.zeros(2, np.float32))
    with pytest.raises(InputError, match="neighbors must be >= 1"):
        segment_points(points, neighbors=0)
