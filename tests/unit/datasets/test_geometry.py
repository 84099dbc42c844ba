"""A mesh or a cloud alone: the same scene from every format, axis and unit."""

import logging
import pathlib

import numpy as np
import pytest
from geometry_files import (
    CLOUDS,
    MESHES,
    Y_UP,
    geo_keys,
    room,
    wkt,
    write_room,
)
from scene_files import write_frame, write_scannet

from sas_jax.datasets import registry
from sas_jax.datasets.geometry import Geometry
from sas_jax.errors import InputError
from sas_jax.evaluation import query
from sas_jax.models import shipped
from sas_jax.models.student import Predictor
from sas_jax.models.student_file import read_student
from sas_jax.scenes.units import METRES
from sas_jax.superpoints.stage import segment_scene

LAZ = pytest.param(".laz", id="laz")
# The room of the tests is coarse; but for this, more points were made of it.
KEPT = {"max_edge_m": 1.0}


@pytest.fixture(scope="module")
def student():
    return Predictor(read_student(shipped.find("rooms")))


@pytest.fixture(scope="module")
def answer(student):
    """Return where the student sees the largest thing of a class, the bed's."""
    texts = student.student.text_features
    asked = student.student.class_names.index("bed")

    def region(scene):
        found = student.features(scene.points)
        is_class = (found.feat @ texts.T).argmax(axis=1) == asked
        values = is_class[found.row].astype(np.float32)
        return max(query.regions(scene.points, values), key=lambda r: np.prod(r.size_m))

    return region


@pytest.fixture(scope="module")
def expected(answer, tmp_path_factory):
    points, colors, faces = room()
    path = tmp_path_factory.mktemp("room") / "room.ply"
    return answer(Geometry(**KEPT).open(write_room(path, points, colors, faces)))


def coordinates(scene):
    return scene.points.astype(np.float64) + scene.origin


@pytest.mark.parametrize("suffix", [*MESHES, *CLOUDS, LAZ])
def test_a_room_is_the_same_in_every_format(tmp_path, suffix, answer, expected, caplog):
    if suffix == ".laz":
        pytest.importorskip("lazrs", reason="LAZ needs the extra [las]")
    points, colors, faces = room()
    stored = points @ Y_UP.T if suffix.startswith(".gl") else points
    path = write_room(tmp_path / f"room{suffix}", stored, colors, faces)
    scan = registry.scan_at(path, KEPT)
    assert scan.dataset.name == "geometry" and scan.name == "room"
    scene = scan.open()
    assert len(caplog.records) == 2  # what is up, and the unit
    found = coordinates(scene)
    if suffix == ".stl":  # three own vertices a face, and no colours
        found, points = (np.unique(a, axis=0) for a in (found, points[faces]))
        points = np.unique(points.reshape(-1, 3), axis=0)
    elif suffix != ".off":  # which has none as trimesh writes it
        np.testing.assert_allclose(scene.colors, colors, atol=1)
    assert len(found) == len(points)
    np.testing.assert_allclose(found, points, atol=1e-4)
    assert (scene.faces is None) == (suffix not in MESHES)
    ours = answer(scene)
    np.testing.assert_allclose(ours.center_m, expected.center_m, atol=0.05)
    np.testing.assert_allclose(ours.size_m, expected.size_m, atol=0.1)


@pytest.mark.parametrize("unit", METRES)
@pytest.mark.parametrize("up", ["z", "y"])
def test_axes_and_units_are_found_or_said_to_be_unclear(tmp_path, up, unit, caplog):
    points, colors, faces = room()
    stored = points @ Y_UP.T if up == "y" else points
    path = tmp_path / "room.ply"
    write_room(path, stored / METRES[unit], colors, faces)
    scene = Geometry(**KEPT).open(path)
    assert f"{up} is up, by its floor" in caplog.text
    if unit == "foot":  # a hall of as many metres is possible
        assert "taken for m, by its size, but could be foot" in caplog.text
        scene = Geometry(units="foot", **KEPT).open(path)
    else:
        assert f"taken for {unit}, by its size" in caplog.text
    np.testing.assert_allclose(coordinates(scene), points, atol=1e-5)
    assert not scene.origin.any()
    given = Geometry(up=up, scale=METRES[unit], **KEPT).open(path)
    np.testing.assert_array_equal(given.points, scene.points)


@pytest.mark.parametrize("up", ["x", "-x", "-y", "-z"])
def test_every_axis_is_found_in_a_room_without_ceiling(tmp_path, up):
    points, colors, _ = room()
    scene = Geometry(up=up, **KEPT).open(write_room(tmp_path / "a.ply", points, colors))
    turned = write_room(tmp_path / "b.ply", _undone(points, scene.points), colors)
    np.testing.assert_allclose(
        coordinates(Geometry(**KEPT).open(turned)), points, atol=1e-4
    )


def _undone(points, turned):
    """Return points that a rotation takes to `points`, as it takes them to `turned`."""
    turn, *_ = np.linalg.lstsq(points, turned, rcond=None)
    return (points @ np.round(turn).T).astype(np.float32)


def test_what_no_surface_tells_stays_as_it_is(tmp_path, caplog):
    points = np.random.default_rng(0).normal(0, 0.05, (3000, 3)).astype(np.float32)
    scene = Geometry(**KEPT).open(write_room(tmp_path / "a.ply", points, None))
    np.testing.assert_array_equal(scene.points, points)
    assert "do not clearly tell" in caplog.text and "small for a scan" in caplog.text


def test_a_tilted_world_is_levelled(tmp_path, caplog):
    points, colors, faces = room()
    angle = np.radians(12)
    cosine, sine = np.cos(angle), np.sin(angle)
    tilt = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    path = write_room(tmp_path / "a.ply", points @ tilt.T, colors, faces)
    for up in ("auto", "surfaces"):
        scene = Geometry(up=up, **KEPT).open(path)
        np.testing.assert_allclose(coordinates(scene)[:, 2], points[:, 2], atol=0.08)
        assert "tilted by 12.0 degrees" in caplog.text
        caplog.clear()
    with pytest.raises(InputError, match=r"got camera.*a\.ply"):
        Geometry(up="camera", **KEPT).open(path)


@pytest.mark.parametrize("suffix", [".las", ".xyz", ".ply"])
def test_map_coordinates_keep_their_millimetres(tmp_path, suffix, answer, expected):
    points, colors, _ = room()
    far = points.astype(np.float64) + np.array([500_000, 5_400_000, 0])
    path = tmp_path / f"a{suffix}"
    if suffix == ".ply":
        head = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(far)}\n"
        head += "".join(f"property double {axis}\n" for axis in "xyz") + "end_header\n"
        path.write_bytes(head.encode() + far.astype("<f8").tobytes())
    else:
        write_room(path, far, colors)
    scene = Geometry(**KEPT).open(path)
    assert scene.origin.tolist() == [500_000, 5_400_000, 0]
    np.testing.assert_allclose(coordinates(scene), far, atol=1e-4)
    ours = answer(scene)
    np.testing.assert_allclose(ours.center_m, expected.center_m, atol=0.05)
    turned = Geometry(up="y", **KEPT).open(path)
    exact = np.stack([far[:, 0], -far[:, 2], far[:, 1]], axis=1)
    np.testing.assert_allclose(coordinates(turned), exact, atol=1e-4)


FEET = 'COMPD_CS["a",PROJCS["b",GEOGCS["c",UNIT["degree",0.0174]],UNIT["foot",0.3048]]'
FEET += ',VERT_CS["d",UNIT["foot",0.3048]]]'


@pytest.mark.parametrize(
    ("note", "metres"),
    [
        (geo_keys(model=1, linear=9001), 1.0),
        (geo_keys(model=1, linear=9002, vertical=9001), 0.3048),
        (geo_keys(model=1, linear=9003), 1200 / 3937),
        (geo_keys(model=1), 1.0),
        (wkt(FEET), 0.3048),
        (wkt('PROJCRS["a",LENGTHUNIT["metre",1]]'), 1.0),
    ],
)
def test_a_coordinate_system_states_the_unit(tmp_path, note, metres, caplog):
    points, colors, _ = room()
    path = write_room(tmp_path / "a.las", points, colors, notes=[note])
    scene = Geometry(**KEPT).open(path)
    np.testing.assert_allclose(coordinates(scene), points * metres, atol=1e-4)
    assert "as its format states" in caplog.text
    assert ("heights have another unit" in caplog.text) == (
        note == geo_keys(model=1, linear=9002, vertical=9001)
    )


@pytest.mark.parametrize(
    "note", [geo_keys(model=2), wkt('GEOGCS["a",UNIT["degree",0.0174]]')]
)
def test_degrees_are_refused(tmp_path, note):
    path = write_room(tmp_path / "a.las", *room()[:2], notes=[note])
    with pytest.raises(InputError, match=r"^las: coordinates .*got degrees .*a\.las"):
        Geometry(**KEPT).open(path)


def test_laz_without_its_package_names_the_command(tmp_path, monkeypatch):
    import sys

    path = write_room(tmp_path / "a.las", *room()[:2])
    data = bytearray(path.read_bytes())
    data[104] |= 0x80
    path = path.with_suffix(".laz")
    path.write_bytes(data)
    with pytest.raises(InputError, match="without the record that says how"):
        Geometry(**KEPT).open(path)
    how = (b"laszip encoded", 22204, bytes(52))
    data = write_room(tmp_path / "b.las", *room()[:2], notes=[how]).read_bytes()
    data = bytearray(data)
    data[104] |= 0x80
    path.write_bytes(data)
    monkeypatch.setitem(sys.modules, "lazrs", None)
    with pytest.raises(InputError, match=r"^las: the package lazrs.*install.*\[las\]"):
        Geometry(**KEPT).open(path)


def test_a_cloud_without_normals_has_superpoints(tmp_path):
    points, colors, _ = room()
    scene = Geometry(thin_m=0.1, **KEPT).open(
        write_room(tmp_path / "a.pcd", points, colors)
    )
    assert 1000 < len(scene.points) < len(points) and scene.normals is None
    assert len(scene.colors) == len(scene.points)
    assert 3 < segment_scene(scene).max() < 500


def test_folders_with_one_file_are_scans(tmp_path):
    points, colors, faces = room()
    scan = tmp_path / "scans" / "kitchen"
    scan.mkdir(parents=True)
    write_room(scan / "textured.gltf", points @ Y_UP.T, colors, faces)
    (scan / "textures").mkdir()
    (scan / "textures" / "a.jpg").touch()
    (scan / "license.txt").write_text("CC BY")
    found = registry.scan_at(scan, KEPT)
    assert (found.dataset.name, found.name) == ("geometry", "kitchen")
    np.testing.assert_allclose(coordinates(found.open()), points, atol=1e-5)
    key = found.key("geometry")
    binary = next(scan.glob("*.bin"))
    binary.write_bytes(binary.read_bytes()[:-4] + bytes(4))
    assert found.key("geometry") != key
    write_room(tmp_path / "scans" / "hall.ply", points, colors)
    dataset = registry.of_root(tmp_path / "scans")
    assert dataset.scan_names(tmp_path / "scans", "train") == ["hall", "kitchen"]
    assert dataset.scan_path(tmp_path / "scans", "hall").name == "hall.ply"
    assert not dataset.has_labels(scan)
    write_room(tmp_path / "scans" / "hall.pcd", points, colors)
    with pytest.raises(InputError, match="got hall twice"):
        dataset.scan_names(tmp_path / "scans", "train")


def test_other_data_sets_keep_their_folders(tmp_path):
    folder = write_scannet(tmp_path)
    for path in (folder / f"{folder.name}_vh_clean_2.labels.ply", folder / "color"):
        if path.is_file():
            path.unlink()
    assert registry.scan_at(folder).dataset.name == "scannet"
    mesh = folder / f"{folder.name}_vh_clean_2.ply"
    assert registry.scan_at(mesh).dataset.name == "geometry"


def test_an_unknown_folder_is_told_what_is_in_it_and_what_comes_nearest(tmp_path):
    scan = tmp_path / "scan"
    for i in range(4):
        write_frame(scan, i, np.eye(4))
    write_room(scan / "mesh.ply", *room()[:2])
    (scan / ".hidden").touch()
    wanted = (
        r"got 4 \.jpg in color/, 4 \.png in depth/, 4 \.txt in pose/, 1 \.ply "
        r"\(.*scan\)\. Nearest: posed_rgbd, lacks intrinsic\.txt\. It holds scans"
    )
    with pytest.raises(InputError, match=wanted) as caught:
        registry.scan_at(scan)
    assert "\n" not in str(caught.value)
    (scan / "mesh.ply").unlink()
    wanted = r"lacks intrinsic\.txt in scan/\. Check the path"
    with pytest.raises(InputError, match=wanted):
        registry.of_root(tmp_path)
    (tmp_path / "empty").mkdir()
    for name, got in (("none", r"that is there.*got none"), ("empty", "got no files")):
        with pytest.raises(InputError, match=got):
            registry.scan_at(tmp_path / name)
    (tmp_path / "a.zip").touch()
    with pytest.raises(InputError, match=r"got a file of kind \.zip.*Unpack it"):
        registry.scan_at(tmp_path / "a.zip")


@pytest.mark.parametrize(
    "values", [{"up": "Z"}, {"units": "km"}, {"scale": 0}, {"thin_m": float("nan")}]
)
def test_settings_out_of_range_are_named(values):
    with pytest.raises(InputError, match=f"geometry: {next(iter(values))} must be"):
        Geometry(**values)


def test_a_folder_that_changed_is_told(tmp_path):
    with pytest.raises(InputError, match="a folder with one file of points"):
        Geometry(**KEPT).open(pathlib.Path(tmp_path))


def test_thinning_is_logged(tmp_path, caplog):
    path = write_room(tmp_path / "a.ply", *room()[:2])
    with caplog.at_level(logging.INFO):
        Geometry(thin_m=0.2, **KEPT).open(path)
    assert "thinned from" in caplog.text


def test_large_triangles_get_points(tmp_path, student, caplog):
    points, colors, faces = room()
    path = write_room(tmp_path / "a.ply", points, colors, faces)
    scene = Geometry().open(path)
    assert len(caplog.records) == 3 and "cut to edges of at most 0.08 m" in caplog.text
    np.testing.assert_array_equal(scene.points[: len(points)], points)
    np.testing.assert_array_equal(scene.colors[: len(points)], colors)
    corners = scene.points[scene.faces]
    edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    assert edges.max() <= 0.0801
    share = (scene.points - points.min(axis=0)) / np.ptp(points, axis=0)
    assert np.abs(share * 255 - scene.colors).max() < 12  # colours follow the place
    again = write_room(tmp_path / "b.ply", scene.points, scene.colors, scene.faces)
    np.testing.assert_array_equal(Geometry().open(again).points, scene.points)


def test_a_file_that_memory_cannot_hold_is_refused_before_it_is_read(
    tmp_path, monkeypatch
):
    path = write_room(tmp_path / "a.ply", *room()[:2])
    monkeypatch.setattr("sas_jax.memory.available_bytes", lambda: 1_000_000)
    with pytest.raises(InputError, match=r"reading a\.ply, got 0\.0 GB.*thin it"):
        Geometry().open(path)
