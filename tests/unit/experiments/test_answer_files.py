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

from sas_jax.artefacts.space import TextFeatures
from sas_jax.datasets.contracts import Scan
from sas_jax.datasets.geometry import Geometry
from sas_jax.evaluation.answers import AnswerConfig
from sas_jax.evaluation.evidence import Words
from sas_jax.evaluation.query import distinct, region_of
from sas_jax.scenes.ply import read_ply
from sas_jax.scenes.ply_write import write_ply


@pytest.fixture
def scripts(root, monkeypatch):
    """The modules of the scripts, with the flags' defaults."""
    monkeypatch.syspath_prepend(str(root / "experiments"))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # settings has its own
    import answer_sheets
    import asking
    import sources

    flags.FLAGS.mark_as_parsed()
    return types.SimpleNamespace(sheets=answer_sheets, asking=asking, sources=sources)


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
    asker = scripts.asking.Asker(space(4), None, None, AnswerConfig())
    height = source.scene.points[:, 2]
    order = np.argsort(height)
    half = len(order) // 2
    found = [
        region_of(source.scene.points, np.sort(order[:half]), 0.9),
        region_of(source.scene.points, np.sort(order[half:]), 0.8),
    ]
    writer = scripts.sheets.Writer(source, asker, folder, most)
    question = scripts.asking.question("a floor", [], [])
    values = (1 - height / height.max()).astype(np.float32)
    return writer.write(question, values, found), found


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
    asker = scripts.asking.Asker(space(4), None, None, AnswerConfig())
    writer = scripts.sheets.Writer(source, asker, tmp_path / "out", 2)
    nothing = np.zeros(len(points), np.float32)
    writer.write(scripts.asking.question("a floor", [], []), nothing, [])
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


def test_a_question_says_what_it_is(scripts):
    ask = scripts.asking.question
    asked = ask("a chair | a  sofa", ["office chair"], [])
    assert asked.any_of == ("a chair", "a sofa")
    assert asked.title == "a chair | a sofa, without office chair"
    # A name that is asked for does not stand against itself.
    assert ask("a chair", [], ["chair", "table"]).among == ("table",)
    for wrong in ("a chair |", "", "|"):
        with pytest.raises(scripts.sources.InputError, match="must hold a word"):
            ask(wrong, [], [])
    with pytest.raises(scripts.sources.InputError, match="other names than the text"):
        ask("a chair", ["chair"], [])


def encoder_of(vectors):
    """Return a stand-in for a text tower that knows a few texts."""

    def of_space(_):
        def encode(texts):
            rows = np.array([vectors.get(t, (0, 0, 0, 1)) for t in texts], np.float32)
            return TextFeatures(rows, space(4))

        return encode

    return of_space


@pytest.fixture
def asked(scripts, monkeypatch):
    """Points in three rows: two things in each, and an asker without probabilities."""
    vectors = {
        "a chair": (1, 0, 0, 0),
        "a stool": (0.8, 0.6, 0, 0),
        "a lamp": (0, 0, 1, 0),
    }
    monkeypatch.setattr(scripts.asking.settings, "text_encoder", encoder_of(vectors))
    feat = np.repeat(np.eye(3, 4, dtype=np.float32), 100, axis=0)
    feat[100:200] = (0.8, 0.6, 0, 0)  # stools
    index = np.arange(300, dtype=np.int32)
    features = point_features(feat, index, np.ones(300, np.int32), 300)
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 0.3, (300, 3)) + np.repeat([0, 2, 4], 100)[:, None]
    words = Words(encoder_of({})(None)(["object"]), None)
    asker = scripts.asking.Asker(space(4), words, None, AnswerConfig())

    def ask(text, without=(), among=()):
        question = scripts.asking.question(text, without, among)
        (rows,) = asker.answers(features, None, [question])
        found = asker.found(question, points.astype(np.float32), rows, None)
        return sorted({int(i) // 100 for region in found for i in region.points})

    return ask


def test_names_that_are_not_meant_are_left_out(asked):
    assert asked("a chair") == [0, 1]
    assert asked("a chair", without=["stool"]) == [0]
    assert asked("a chair", without=["lamp"]) == [0, 1]


def test_among_names_the_text_must_win(asked):
    assert asked("a chair", among=["lamp"]) == [0, 1]
    assert asked("a chair", among=["chair", "stool", "lamp"]) == [0]
    assert asked("a stool", among=["chair", "lamp"]) == [1]


def test_any_of_several_texts_is_right(asked):
    assert asked("a lamp") == [2]
    assert asked("a chair | a lamp") == [0, 1, 2]
    assert asked("a chair | a lamp", without=["stool"]) == [0, 2]


def test_regions_of_several_texts_are_told_once():
    points = np.random.default_rng(0).uniform(0, 1, (40, 3)).astype(np.float32)
    whole, half = np.arange(30), np.arange(20)
    one, two = region_of(points, whole, 0.7), region_of(points, half, 0.9)
    other = region_of(points, np.arange(30, 40), 0.5)
    assert distinct([[one], [two, other]], 40) == [two, other]
