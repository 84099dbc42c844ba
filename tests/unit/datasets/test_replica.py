"""Replica's semantic meshes: objects of faces, voted to vertices, and their classes."""

import json

import numpy as np
import pytest
from PIL import Image

from sas_jax.datasets import registry
from sas_jax.datasets.face_votes import most_at_vertex
from sas_jax.errors import InputError
from sas_jax.scenes.labels import label_set

POINTS = [(0, 0, 0), (1, 0, 0), (2, 0, 0), (0, 1, 0), (1, 1, 0), (2, 1, 0), (9, 9, 9)]
QUADS = [(0, 1, 4, 3), (1, 2, 5, 4)]


def write(folder, objects=(4, 7), classes=None):
    (folder / "habitat").mkdir(parents=True, exist_ok=True)
    header = ["ply", "format ascii 1.0", f"element vertex {len(POINTS)}"]
    header += [f"property float {n}" for n in "xyz"]
    header += [f"element face {len(QUADS)}", "property list uchar int vertex_indices"]
    header += ["property int object_id", "end_header"]
    rows = [" ".join(map(str, p)) for p in POINTS]
    rows += [
        f"4 {' '.join(map(str, quad))} {o}"
        for quad, o in zip(QUADS, objects, strict=True)
    ]
    text = "\n".join([*header, *rows, ""])
    (folder / "habitat" / "mesh_semantic.ply").write_text(text)
    ids = label_set("replica51").raw_ids["replica"]
    classes = {4: ids[3], 7: ids[10]} if classes is None else classes
    objects = [{"id": k, "class_id": v, "class_name": "x"} for k, v in classes.items()]
    info = folder / "habitat" / "info_semantic.json"
    info.write_text(json.dumps({"objects": objects}))
    return folder


def test_vertices_have_the_class_of_their_object(tmp_path):
    scan = registry.scan_at(write(tmp_path / "room_0"))
    assert scan.dataset.name == "replica" and scan.has_labels
    scene = scan.open()
    # Quads are cut at their first corner: vertex 1 has one corner of the first quad,
    # two of the second; vertex 4 two of the first, one of the second.
    assert scene.instances.tolist() == [4, 7, 7, 4, 4, 7, -1]
    assert scene.labels.tolist() == [3, 10, 10, 3, 3, 10, 255]
    assert len(scene.faces) == 4
    np.testing.assert_array_equal(scan.points(), scene.points)
    assert scan.key("labels") != scan.key("geometry")


def test_objects_without_a_class_are_unlabelled(tmp_path):
    scene = registry.scan_at(write(tmp_path / "a", (-1, 7), {7: -2})).open()
    assert set(scene.labels.tolist()) == {255}


@pytest.mark.parametrize(
    "text", ["", "{}", '{"objects": [{"id": 1}]}', "[1]", "[" * 9999]
)
def test_bad_classes_are_named(tmp_path, text):
    folder = write(tmp_path / "a")
    (folder / "habitat" / "info_semantic.json").write_text(text)
    with pytest.raises(InputError, match="objects with id and class_id"):
        registry.scan_at(folder).open()


def test_splits_and_all(tmp_path):
    for name in ("room_0", "office_1"):
        write(tmp_path / name)
    dataset = registry.of_root(tmp_path)
    assert dataset.scan_names(tmp_path, "any") == ["office_1", "room_0"]
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "test.txt").write_text("room_0")
    assert dataset.scan_names(tmp_path, "test") == ["room_0"]


def test_votes_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 40, (200, 3)).astype(np.int32)
    value = rng.integers(0, 5, 200)
    votes = np.zeros((41, 5), int)
    for face, v in zip(faces, value, strict=True):
        for corner in face:
            votes[corner, v] += 1
    np.testing.assert_array_equal(most_at_vertex(faces, value, 41), votes.argmax(1))
    assert not most_at_vertex(faces[:0], value[:0], 3).any()


def test_frames_are_the_renderings_of_the_scene(tmp_path):
    write(tmp_path / "room_0")
    place = tmp_path / "room0"
    (place / "results").mkdir(parents=True)
    pose = np.eye(4)
    np.savetxt(place / "traj.txt", [pose.ravel()])
    Image.new("RGB", (1200, 680)).save(place / "results" / "frame000000.jpg")
    depth = Image.fromarray(np.full((680, 1200), 13107, np.uint16))
    depth.save(place / "results" / "depth000000.png")
    scan = registry.scan_at(tmp_path / "room_0")
    (frame,) = scan.open(image_size_wh=(640, 360)).frames()
    assert frame.size_hw == (360, 640) and (frame.depth_m == 2).all()
    assert scan.key("views") != scan.key("geometry")
