"""What the viewer draws: fewer points, meshes in colours, legends, boxes in a row."""

import io
from unittest import mock

import numpy as np
import pytest
import trimesh

from sas_jax.view.browser import paint
from sas_jax.view.browser.canvas import Box, Canvas
from sas_jax.view.browser.glb import mesh_glb
from sas_jax.view.browser.shape import Shape, part_of
from sas_jax.view.browser.thinning import thinned


def plane(count, seed=0):
    points = np.random.default_rng(seed).uniform(0, 4, (count, 3)).astype(np.float32)
    points[:, 2] = 0.1 * points[:, 0]
    return points


def test_few_points_are_all_drawn():
    which, edge_m = thinned(plane(500), 500)
    assert edge_m == 0 and np.array_equal(which, np.arange(500))


@pytest.mark.parametrize("most", [1, 300, 20_000])
def test_many_points_are_thinned_evenly_and_never_above_the_limit(most):
    points = plane(60_000)
    which, edge_m = thinned(points, most)
    assert 0.6 * most <= len(which) <= most and (np.diff(which) > 0).all()
    if most == 20_000:
        quarter = np.floor(points[which, :2] / 2) @ [2, 1]
        shares = np.bincount(quarter.astype(int)) / len(which)
        np.testing.assert_allclose(shares, 0.25, atol=0.02)
        assert 0.5 < edge_m / (4 / np.sqrt(most)) < 2


def test_points_at_one_place_are_thinned_too():
    points = np.concatenate([np.zeros((5000, 3)), np.ones((1, 3))]).astype(np.float32)
    assert len(thinned(points, 10).which) == 2


def test_a_mesh_keeps_places_faces_and_colours():
    points = plane(30)
    colors = np.random.default_rng(1).integers(0, 256, (30, 3)).astype(np.uint8)
    faces = np.arange(30, dtype=np.int32).reshape(10, 3)
    data = mesh_glb(points, colors, faces)
    mesh = trimesh.load(io.BytesIO(data), "glb", process=False).to_geometry()
    np.testing.assert_array_equal(mesh.vertices.astype(np.float32), points)
    np.testing.assert_array_equal(mesh.faces, faces)
    levels = np.frombuffer(data[-4 * faces.size - 8 * 30 : -4 * faces.size], "<u2")
    linear = levels.reshape(30, 4)[:, :3] / 65535
    srgb = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    )
    np.testing.assert_array_equal(np.round(255 * srgb), colors)


def test_heat_lies_on_a_grey_scan_and_the_unseen_is_dark():
    base = np.array([[250, 10, 10]] * 4, np.uint8)
    values = np.array([0.0, 0.5, 1.0, np.nan], np.float32)
    cold, warm, hottest, unseen = paint.heat_over(base, values, 0.0, 1.0)
    assert np.ptp(cold) == 0
    assert warm[1] > 200 and hottest[0] > 100 > hottest[1] > hottest[2]
    assert tuple(unseen) == paint.UNSEEN


def test_groups_differ_and_none_is_dark():
    colors = paint.group_colors(np.array([0, 1, 2, 0, -1]))
    assert len(np.unique(colors[:3], axis=0)) == 3
    assert np.array_equal(colors[0], colors[3]) and tuple(colors[4]) == paint.UNSEEN


def test_names_in_legends_are_no_html():
    told = paint.legend([("<b>", (1, 2, 3))]) + paint.heat_legend("<i>", 0, 1, True)
    assert "<b>" not in told and "<i>" not in told and "rgb(1,2,3)" in told


def test_a_scan_without_colours_is_lit_or_told_by_height():
    points = plane(50)
    height = paint.own_colors(None, None, points)
    assert np.argmax(height[:, 0]) == np.argmax(points[:, 2])
    normals = np.tile(np.array([0, 0, 1], np.float32), (50, 1))
    assert len(np.unique(paint.own_colors(None, normals, points))) == 1


@pytest.fixture
def drawn():
    """A canvas of a plane, and what it was told to draw, by name."""
    server, nodes = mock.MagicMock(), {}
    for kind in ("add_point_cloud", "add_glb", "add_line_segments", "add_frame"):
        getattr(server.scene, kind).side_effect = lambda name, *args, **more: (
            nodes.setdefault(name, mock.MagicMock(args=args, **more))
        )
    server.scene.remove_by_name.side_effect = lambda name: [
        nodes.pop(each) for each in list(nodes) if each.startswith(name)
    ]
    return Canvas(server, Shape(plane(4000)), most=2000), nodes, server


def test_copies_stand_in_a_row_and_share_the_limit(drawn):
    canvas, nodes, _ = drawn
    colors = np.zeros((4000, 3), np.uint8)
    canvas.show(["a", "b/c"], [colors, colors + 9])
    clouds = [nodes["/1 a/scan"], nodes["/2 b c/scan"]]
    assert all(600 < len(cloud.args[0]) <= 1000 for cloud in clouds)
    assert clouds[1].args[1].min() == 9
    assert canvas.offset(1)[0] > 4 and "of 4,000 points are drawn" in canvas.thinned
    canvas.show(["a", "b/c"], [colors + 5, colors])
    assert clouds[0].colors.min() == 5  # the node stays, its colours change
    canvas.show(["a"], [colors])
    assert not any(name.startswith("/2") for name in nodes)


def test_what_is_above_a_height_is_hidden(drawn):
    canvas, nodes, _ = drawn
    canvas.show(["a"], [np.zeros((4000, 3), np.uint8)])
    canvas.cut(0.2, [np.zeros((4000, 3), np.uint8)])
    assert nodes["/1 a/scan"].args[0][:, 2].max() <= 0.2


def test_a_cut_mesh_has_only_faces_whose_corners_are_left(drawn):
    _, nodes, server = drawn
    faces = np.arange(3999, dtype=np.int32).reshape(-1, 3)
    canvas = Canvas(server, Shape(plane(4000), faces), most=9000)
    canvas.top_m = 0.2
    canvas.show(["m"], [np.zeros((4000, 3), np.uint8)])
    data = io.BytesIO(nodes["/1 m/scan"].args[0])
    mesh = trimesh.load(data, "glb", process=False).to_geometry()
    low = plane(4000)[:, 2] <= 0.2
    assert len(mesh.faces) == low[faces].all(axis=1).sum() > 0


def test_a_large_mesh_is_points_and_of_many_gaussians_the_visible_are_drawn():
    faces = np.arange(3999, dtype=np.int32).reshape(-1, 3)
    part = part_of(Shape(plane(4000), faces), np.inf, 5000)
    assert part.faces is None and len(part.which) == 4000
    assert "drawn as points" in part.told
    size = np.random.default_rng(0).uniform(0.1, 1, 4000).astype(np.float32)
    wide = size[:, None, None] * np.eye(3, dtype=np.float32)
    shape = Shape(plane(4000), None, wide, np.ones(4000, np.float32))
    part = part_of(shape, np.inf, 100)
    assert set(part.which) == set(np.argsort(-size)[:100])
    assert "100 largest" in part.told and not part_of(shape, np.inf, 4000).told


def test_boxes_have_twelve_edges_of_their_length(drawn):
    canvas, nodes, _ = drawn
    canvas.show(["a"], [np.zeros((4000, 3), np.uint8)])
    size = np.array([1.0, 2.0, 3.0])
    canvas.boxes("boxes", 0, [Box(np.ones(3), size, "1"), Box(np.zeros(3), size)])
    lines = nodes["/1 a/boxes/lines"].args[0]
    lengths = np.linalg.norm(lines[:, 0] - lines[:, 1], axis=1)
    np.testing.assert_allclose(np.sort(lengths), np.repeat([1, 2, 3], 8))
    np.testing.assert_allclose(lines[:12].mean(axis=(0, 1)), 1)
    canvas.boxes("boxes", 0, [])
    assert "/1 a/boxes/lines" not in nodes


def test_labels_of_boxes_keep_apart_and_stay_above_their_box():
    server = mock.MagicMock()
    canvas = Canvas(server, Shape(plane(400)))
    canvas.show(["scan"], [np.zeros((400, 3), np.uint8)])
    centers = [(1, 1, 0.2), (1.05, 1, 0.1), (1, 1.05, 0.3), (3, 3, 0.2)]
    boxes = [Box(np.array(c), np.full(3, 0.2), str(i)) for i, c in enumerate(centers)]
    canvas.boxes("answers", 0, boxes)
    calls = server.scene.add_label.call_args_list
    places = np.array([c.kwargs["position"] for c in calls if "anchor" in c.kwargs])
    gaps = np.linalg.norm(places[:, None] - places, axis=-1)[np.triu_indices(4, 1)]
    assert gaps.min() > 0.15
    np.testing.assert_allclose(places[:, :2], np.array(centers)[:, :2])
    tops = np.array(centers)[:, 2] + 0.1
    assert (places[:, 2] >= tops - 1e-9).all() and places[3, 2] == pytest.approx(0.3)
