"""ScanNet++: two sensors on one mesh, objects within objects, names to classes."""

import json

import numpy as np
import pytest
from colmap_files import write_colmap
from one_room import HIGH, LOW, pictures
from PIL import Image
from scene_files import write_ply

from sas_jax.datasets import registry
from sas_jax.datasets.scannetpp import ScanNetPP
from sas_jax.errors import InputError

CORNERS = np.array(
    [[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float64
)
# The walls of x, y and z, corners in turn.
QUADS = [
    *[(0, 1, 3, 2), (4, 5, 7, 6), (0, 1, 5, 4)],
    *[(2, 3, 7, 6), (0, 2, 6, 4), (1, 3, 7, 5)],
]
NAMES = ScanNetPP.label_sets[0].classes.names


def write(path):
    """Write the analytic room: a mesh of twelve faces, both sensors, two objects."""
    (path / "scans").mkdir(parents=True)
    points = (LOW + CORNERS * (HIGH - LOW)).astype(np.float32)
    faces = [t for a, b, c, d in QUADS for t in ((a, b, c), (a, c, d))]
    write_ply(path / "scans/mesh_aligned_0.05.ply", points, np.array(faces, np.int32))
    segments = {"segIndices": [0, 0, 0, 0, 1, 1, 2, 2]}
    (path / "scans/segments.json").write_text(json.dumps(segments))
    groups = [
        {"objectId": 5, "label": "small table", "segments": [1]},
        {"objectId": 1, "label": "wall", "segments": [0, 1]},
        {"objectId": 9, "label": "nobody knows", "segments": [2]},
    ]
    objects = json.dumps({"segGroups": groups})
    (path / "scans/segments_anno.json").write_text(objects)
    frames = pictures()
    for sensor, images in (("iphone", "rgb"), ("dslr", "resized_images")):
        write_colmap(path / sensor, place="colmap", frames=frames)
        (path / sensor / "images").rename(path / sensor / images)
    (path / "iphone" / "depth").mkdir()
    for i, frame in enumerate(frames):
        depth = Image.fromarray(np.rint(frame.depth_m * 1000).astype(np.uint16))
        depth.save(path / "iphone" / "depth" / f"{i}.png")
    return frames


@pytest.mark.parametrize("sensor", ["iphone", "dslr"])
def test_frames_of_both_sensors_see_the_mesh(tmp_path, sensor):
    frames = write(tmp_path / "data" / "a1")
    scan = registry.scan_at(tmp_path / "data" / "a1", {"sensor": sensor})
    assert scan.dataset.name == "scannetpp"
    scene = scan.open()
    assert len(scene.points) == 8 and scene.frame_source.names[:2] == ("0", "1")
    for one, frame in zip(scene.frames(), frames, strict=True):
        np.testing.assert_allclose(one.world_from_camera, frame.pose, atol=1e-6)
        np.testing.assert_array_equal(one.rgb, frame.rgb)
        off = np.abs(one.depth_m - frame.depth_m)
        assert np.median(off) < 0.03 and (off < 0.15).mean() > 0.97
    sensors = [ScanNetPP(sensor=s) for s in ("iphone", "dslr")]
    assert len({d.files(scan.path, "views", 1, None)[-1] for d in sensors}) == 2


def test_a_vertex_is_of_the_smallest_object(tmp_path):
    write(tmp_path / "data" / "a1")
    table = tmp_path / "metadata" / "semantic_benchmark"
    table.mkdir(parents=True)
    rows = ["class,count,semantic_map_to,instance_map_to", "small table,3,table,table"]
    rows += ["wall,9,,None", "nobody knows,1,None,"]
    (table / "map_benchmark.csv").write_text("\n".join(rows))
    scene = registry.scan_at(tmp_path / "data" / "a1").open()
    wall, small = NAMES.index("wall"), NAMES.index("table")
    assert scene.labels.tolist() == [wall] * 4 + [small] * 2 + [255] * 2
    assert scene.instances.tolist() == [1] * 4 + [5] * 2 + [9] * 2
    (table / "map_benchmark.csv").unlink()
    scene = registry.scan_at(tmp_path / "data" / "a1").open()
    assert scene.labels.tolist() == [wall] * 4 + [255] * 4


def test_the_benchmarks_lists_are_found(tmp_path):
    write(tmp_path / "data" / "a1")
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "nvs_sem_val.txt").write_text("a1")
    dataset = registry.of_root(tmp_path)
    assert dataset.scan_names(tmp_path, "val") == ["a1"]
    with pytest.raises(InputError, match="split train"):
        dataset.scan_names(tmp_path, "train")


BAD = {
    "segments.json": ["", "{}", '{"segIndices": [1, 2]}', '{"segIndices": ["a"]}'],
    "segments_anno.json": ["", '{"segGroups": [{}]}', '{"segGroups": 3}'],
}


@pytest.mark.parametrize(("name", "text"), [(k, t) for k, v in BAD.items() for t in v])
def test_bad_objects_are_named(tmp_path, name, text):
    write(tmp_path / "data" / "a1")
    (tmp_path / "data" / "a1" / "scans" / name).write_text(text)
    with pytest.raises(InputError, match=rf"scannetpp: .*{name}"):
        registry.scan_at(tmp_path / "data" / "a1").open()


def test_what_is_absent_costs_no_more_than_it_gives(tmp_path):
    write(tmp_path / "data" / "a1")
    path = tmp_path / "data" / "a1"
    (path / "scans" / "segments.json").unlink()
    (path / "iphone" / "depth" / "3.png").unlink()
    scene = registry.scan_at(path).open()
    assert scene.labels is None and len(list(scene.frames())) == len(pictures()) - 1
    (path / "iphone" / "colmap" / "images.bin").unlink()
    assert not registry.scan_at(path).open().frame_source.names
