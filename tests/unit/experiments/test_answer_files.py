"""Answers on disk: whose they are, in whose coordinates, and what is cut out."""

import json
import sys
import types

import numpy as np
import pytest
import trimesh
from absl import flags
from geometry_files import Y_UP, room
from PIL import Image
from text_spaces import point_features, space

from sas_jax.datasets.contracts import Scan
from sas_jax.datasets.geometry import Geometry
from sas_jax.evaluation.answers import AnswerConfig
from sas_jax.evaluation.asked import question
from sas_jax.evaluation.asker import Asker
from sas_jax.evaluation.query import region_of
from sas_jax.scenes.ply import read_ply
from sas_jax.scenes.ply_write import write_ply


@pytest.fixture
def scripts(root, monkeypatch):
    """The modules of the scripts, with the flags' defaults."""
    monkeypatch.syspath_prepend(str(root / "experiments"))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # settings has its own
    import answer_sheets
    import sources

    flags.FLAGS.mark_as_parsed()
    return types.SimpleNamespace(sheets=answer_sheets, sources=sources)


def source_of(scripts, path, key="k", **settings):
    """Return a source that answers about a file of points, without a network."""
    data = Geometry(max_edge_m=1.0, **settings)
    scene = data.open(path)
    count = len(scene.points)
    ones, index = np.ones((count, 4), np.float32), np.arange(count, dtype=np.int32)
    features = point_features(ones, index, np.ones(count, np.int32), count)
    scan = Scan(data, scene.name, path)
    names = (None, "somebody", "student-x", features, key, None, None)
    return scripts.sources.Source(scan, scene, *names)


def answer(scripts, source, folder, most=2):
    """Write an answer of two regions: the lowest and the highest points."""
    asker = Asker(space(4), None, None, None, AnswerConfig())
    height = source.scene.points[:, 2]
    order = np.argsort(height)
    half = len(order) // 2
    found = [
        region_of(source.scene.points, np.sort(order[:half]), 0.9),
        region_of(source.scene.points, np.sort(order[half:]), 0.8),
    ]
    writer = scripts.sheets.Writer(source, asker, folder, most)
    asked = question("a floor")
    values = (1 - height / height.max()).astype(np.float32)
    return writer.write(asked, values, found), found


def test_boxes_and_points_are_in_the_coordinates_of_the_input(scripts, tmp_path):
    """A room in millimetres, y up: what is written fits the file that was given."""
    points, colors, faces = room()
    given = (1000 * points @ Y_UP.T).astype(np.float32)
    path = tmp_path / "room.ply"
    write_ply(path, given, colors=colors, faces=faces)
    source = source_of(scripts, path, up="y", units="mm")
    np.testing.assert_allclose(source.scene.points, points, atol=1e-4)
    folder, found = answer(scripts, source, tmp_path / "out")
    note = json.loads((folder / "answer.json").read_text())
    for row, region in zip(note["regions"], found, strict=True):
        part = given[region.points]
        np.testing.assert_allclose(row["box_min"], part.min(axis=0), atol=0.1)
        np.testing.assert_allclose(row["box_max"], part.max(axis=0), atol=0.1)
        np.testing.assert_allclose(row["size_m"], region.size_m, atol=1e-3)
    heat = read_ply(folder / "heat.ply")
    np.testing.assert_allclose(heat.points + heat.origin, given, atol=0.1)
    np.testing.assert_array_equal(heat.faces, faces)
    cut = read_ply(folder / "object1.ply")
    own = given[found[0].points]
    np.testing.assert_allclose(cut.points + cut.origin, own, atol=0.1)
    np.testing.assert_array_equal(cut.colors, colors[found[0].points])
    inside = np.isin(faces, found[0].points).all(axis=1)
    assert len(cut.faces) == inside.sum() > 0
    # glTF states metres and y up.
    model = trimesh.load_mesh(folder / "object1.glb", process=False)
    np.testing.assert_allclose(
        model.vertices, points[found[0].points] @ Y_UP.T, atol=1e-4
    )
    assert len(model.faces) == inside.sum()
    with Image.open(folder / "sheet.png") as sheet:
        assert sheet.width == 1800 and round(sheet.info["dpi"][0]) == 144


def test_a_cloud_is_cut_out_as_a_cloud(scripts, tmp_path):
    points, colors, _ = room()
    write_ply(tmp_path / "room.ply", points, colors=colors)
    source = source_of(scripts, tmp_path / "room.ply")
    folder, found = answer(scripts, source, tmp_path / "out", most=1)
    assert {path.name for path in folder.iterdir()} == {
        *("answer.json", "sheet.png", "heat.ply", "object1.ply")
    }
    assert len(read_ply(folder / "object1.ply").points) == len(found[0].points)


def test_map_coordinates_are_kept(scripts, tmp_path):
    points, colors, _ = room()
    place = np.array([500_000.0, 5_000_000.0, 0.0])
    far = points + place
    write_ply(tmp_path / "far.ply", points, colors=colors, origin=place)
    source = source_of(scripts, tmp_path / "far.ply")
    assert source.scene.origin.any()
    folder, found = answer(scripts, source, tmp_path / "out")
    cut = read_ply(folder / "object1.ply")
    np.testing.assert_allclose(
        cut.points + cut.origin, far[found[0].points], rtol=0, atol=2e-3
    )


def test_an_older_answer_leaves_nothing_behind(scripts, tmp_path):
    points, colors, faces = room()
    write_ply(tmp_path / "room.ply", points, colors=colors, faces=faces)
    source = source_of(scripts, tmp_path / "room.ply")
    folder, _ = answer(scripts, source, tmp_path / "out")
    (folder / "mine.txt").touch()
    asker = Asker(space(4), None, None, None, AnswerConfig())
    writer = scripts.sheets.Writer(source, asker, tmp_path / "out", 2)
    nothing = np.zeros(len(points), np.float32)
    writer.write(question("a floor"), nothing, [])
    assert {path.name for path in folder.iterdir()} == {"answer.json", "mine.txt"}


def test_every_path_source_and_setting_has_a_folder(scripts, tmp_path):
    points, colors, _ = room()
    paths = [tmp_path / place / "scan.ply" for place in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        write_ply(path, points, colors=colors)
    a, b = (source_of(scripts, path) for path in paths)
    other = source_of(scripts, paths[0], key="of another run")
    price = AnswerConfig(abstain=1.0)
    folders = [a.folder(), b.folder(), other.folder(), a.folder(price)]
    assert len(set(folders)) == 4
    assert a.folder() == source_of(scripts, paths[0]).folder()
