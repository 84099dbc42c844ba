"""nuScenes: tables joined, sweeps in one frame, two vehicle poses of a projection."""

import dataclasses
import json
import pickle
import shutil

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from outdoor_files import (
    CAMERAS,
    LIDAR_HEIGHT_M,
    SIZE_WH,
    NuScenesFiles,
    paint,
    world,
    write_nuscenes,
)

from sas_jax.artefacts.stamps import Memo
from sas_jax.datasets import json_rows, nuscenes_index, nuscenes_tables, registry
from sas_jax.datasets.nuscenes import NuScenes
from sas_jax.errors import InputError
from sas_jax.lifting.project import project

SCAN = "scene-0103_01"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A data set that no test changes."""
    return write_nuscenes(tmp_path_factory.mktemp("nuscenes"))


@pytest.fixture
def root(written, tmp_path):
    """A data set of the test's own."""
    return shutil.copytree(written, tmp_path / "nuscenes")


def opened(root, name=SCAN, **settings):
    known = NuScenes(**settings)
    return known.open(known.scan_path(root, name))


def table(root, name):
    """Return the path and the rows of a table."""
    path = root / "v1.0-mini" / f"{name}.json"
    return path, json.loads(path.read_text())


def change(root, name, field, value, where=lambda row: True):
    path, rows = table(root, name)
    for row in filter(where, rows):
        row[field] = value
    path.write_text(json.dumps(rows))


def bins(root):
    scan = NuScenes().scan_path(root, SCAN)
    return scan, sorted((root / "lidarseg/v1.0-mini").glob("*.bin"))


def test_it_is_recognised_and_lists_keyframes_by_scene(written):
    known = registry.of_root(written)
    assert known.name == "nuscenes"
    assert known.label_set("nuscenes16").asked.name == "nuscenes43"  # Table 8
    names = ["scene-0103_00", "scene-0103_01"]
    assert known.scan_names(written, "val") == names
    path = known.scan_path(written, names[1])
    scan = registry.scan_at(path)
    assert scan.name == names[1] and scan.has_labels
    assert pickle.loads(pickle.dumps(scan)) == scan
    for name in ("scene-0103_02", "scene-9999_00", "desk"):
        assert not known.scan_path(written, name).exists()


def test_sweeps_are_moved_into_the_vehicle_at_the_keyframe(written):
    scene = opened(written)
    own = scene.labels != 255
    # Its own sweep comes first; of the others, one is the keyframe half a second ago.
    assert own[:800].all() and not own[800:].any() and len(own) == 6 * 800
    expected, _ = world(seed=7)
    # The vehicle drove 5 m in half a second; the world has not moved.
    np.testing.assert_allclose(scene.points[:800], expected - [5, 0, 0], atol=1e-4)
    earlier, _ = world(seed=8)
    np.testing.assert_allclose(scene.points[800:1600], earlier - [5, 0, 0], atol=1e-4)
    np.testing.assert_array_equal(np.bincount(scene.labels)[[10, 14]], [400, 400])
    assert scene.points[:400, 2].max() < 1e-3  # the road lies at z = 0, not the sensor
    assert LIDAR_HEIGHT_M > 1


@pytest.mark.parametrize(("window_s", "sweeps"), [(0, 1), (0.11, 2), (0.5, 6), (9, 6)])
def test_a_window_takes_sweeps_of_its_own_scene_only(written, window_s, sweeps):
    scene = opened(written, sweep_window_s=window_s)
    assert len(scene.points) == 800 * sweeps
    assert len(opened(written, "scene-0103_00").points) == 800  # nothing before it


def test_cameras_see_by_the_vehicles_pose_at_their_own_time(written):
    scene = opened(written)
    frames = {frame.name: frame for frame in scene.frames()}
    assert tuple(sorted(frames)) == tuple(sorted(CAMERAS))
    # 0.5 m before the axle, and 0.2 m further after 0.02 s at 10 m/s.
    front = frames["CAM_FRONT"]
    pose = front.world_from_camera
    np.testing.assert_allclose(pose[:3, 3], [0.7, 0, 1.5], atol=1e-9)
    np.testing.assert_allclose(pose[:3, 2], [1, 0, 0], atol=1e-9)  # looks along x
    np.testing.assert_allclose(pose[:3, 1], [0, 0, -1], atol=1e-9)  # y is down
    np.testing.assert_allclose(frames["CAM_BACK"].world_from_camera[0, 3], 0.9)
    assert front.depth_m is None and front.size_hw == SIZE_WH[::-1]
    _, seen = project(scene.points, front, border_px=5)
    x, y, z = (scene.points - [0.7, 0, 1.5]).T
    with np.errstate(divide="ignore"):
        u, v = 31.5 - 32 * y / x, 17.5 - 32 * z / x
    inside = (x > 0) & (u > 4.5) & (u < 58.5) & (v > 4.5) & (v < 30.5)
    np.testing.assert_array_equal(seen, inside)
    assert 100 < seen.sum() < len(seen)


def test_frames_are_resized_with_their_cameras(written):
    known = NuScenes()
    path = known.scan_path(written, SCAN)
    frame = next(known.open(path, image_size_wh=(32, 18)).frames())
    assert frame.size_hw == (18, 32)
    assert frame.intrinsics[0, 0] == pytest.approx(16)
    np.testing.assert_allclose(frame.intrinsics[:2, 2], [15.5, 8.5])


def test_images_that_are_stored_smaller_keep_what_they_show(root):
    for path in (root / "samples").glob("CAM_*/*.png"):
        paint(path, (32, 18))
    frames = list(opened(root).frames())
    assert len(frames) == 2 and frames[0].intrinsics[0, 0] == pytest.approx(16)


def test_an_unusable_image_is_skipped_and_counted(root):
    back = next((root / "samples/CAM_BACK").glob("scene-0103__1.png"))
    back.write_bytes(b"")
    front = next((root / "samples/CAM_FRONT").glob("scene-0103__1.png"))
    paint(front, (48, 48))
    scene = opened(root)
    assert not list(scene.frames())
    assert scene.skipped == {"unreadable image": 1, "image of another size": 1}


def test_a_version_without_labels_is_a_scan_without(root):
    (root / "v1.0-mini/lidarseg.json").unlink()
    known = NuScenes()
    path = known.scan_path(root, SCAN)
    assert not known.has_labels(path) and known.open(path).labels is None
    assert known.open(path, annotations=False).labels is None


def test_labels_follow_the_names_of_the_versions_own_categories(root):
    change(root, "category", "index", 5, lambda row: row["name"] == "static.manmade")
    for path in bins(root)[1]:
        stored = np.fromfile(path, np.uint8)
        np.where(stored == 28, 5, stored).astype(np.uint8).tofile(path)
    assert (np.bincount(opened(root).labels)[[10, 14]] == 400).all()


def test_splits_are_the_official_ones_unless_listed(root):
    known = NuScenes()
    shutil.rmtree(root / "splits")
    with pytest.raises(InputError, match=r"split val must be in the tables, 1 of 2"):
        known.scan_names(root, "val")  # of v1.0-mini: scene-0103 and scene-0916
    (root / "v1.0-mini").rename(root / "v1.0-trainval")
    with pytest.raises(InputError, match="149 of 150 are not"):
        known.scan_names(root, "val")
    with pytest.raises(InputError, match=r"one of train, val, .* got dev"):
        known.scan_names(root, "dev")
    (root / "splits").mkdir()
    (root / "splits/dev.txt").write_text("scene-0061")
    assert len(known.scan_names(root, "dev")) == 2
    known.scan_path(root, "scene-0061_01").unlink()
    with pytest.raises(InputError, match="every keyframe of split dev must have"):
        known.scan_names(root, "dev")


def test_official_splits_have_their_sizes(root):
    (root / "v1.0-test").mkdir()
    shutil.rmtree(root / "splits")
    sizes = {"train": 700, "val": 150, "test": 150, "mini_train": 8, "mini_val": 2}
    from sas_jax.datasets.nuscenes import _official, _scenes_of

    assert {name: len(_scenes_of(root, name)) for name in sizes} == sizes
    official = [set(_official()[name]) for name in ("train", "val", "test")]
    assert len(set.union(*official)) == 1000


def test_joined_tables_are_kept_and_made_again_when_they_change(
    root, tmp_path, monkeypatch
):
    read, calls = nuscenes_tables.read_version, []

    def counted(folder):
        calls.append(folder)
        return read(folder)

    monkeypatch.setattr(nuscenes_index, "read_version", counted)
    keep = {"keep": tmp_path / "kept", "memo": Memo(tmp_path / "stamps")}
    first = opened(root, **keep)
    nuscenes_index._index.cache_clear()
    np.testing.assert_array_equal(opened(root, **keep).points, first.points)
    assert len(calls) == 1
    np.testing.assert_array_equal(opened(root).points, first.points)
    change(root, "calibrated_sensor", "translation", [0.0, 0.0, 0.0])
    assert not np.array_equal(opened(root, **keep).points, first.points)
    assert len(calls) == 3
    names = {path.stem for path in (tmp_path / "kept").rglob("*.safetensors")}
    assert names == {"index", "scene-0061", "scene-0103"}


def test_a_key_follows_the_rows_and_files_of_the_scan_alone(root):
    path = NuScenes().scan_path(root, SCAN)

    def keys():
        scan = registry.scan_at(path)
        return tuple(scan.key(part) for part in ("geometry", "views", "labels"))

    before = keys()
    file = "samples/CAM_FRONT/scene-0103__1.png"
    image = next(r for r in table(root, "sample_data")[1] if r["filename"] == file)
    poses_path, poses = table(root, "ego_pose")
    pose = next(p for p in poses if p["token"] == image["ego_pose_token"])
    pose["translation"][0] += 1
    poses_path.write_text(json.dumps(poses))
    geometry, views, labels = keys()
    assert (geometry, labels) == (before[0], before[2]) and views != before[1]
    other = NuScenes().scan_path(root, "scene-0061_01")
    other.write_bytes(other.read_bytes()[:-20])
    assert keys() == (geometry, views, labels)
    assert registry.scan_at(path, {"sweep_window_s": 0.0}).key("labels") != labels


def test_several_versions_beside_each_other_are_one_data_set(root):
    first = opened(root)
    (root / "v1.0-mini").rename(root / "v1.0-trainval")
    files = NuScenesFiles(root, version="v1.0-mini").scene("scene-0103", 1)
    files.save()
    assert NuScenes().scan_names(root, "val") == ["scene-0103_00", "scene-0103_01"]
    assert len(first.points) == 4800


def cut(path, length):
    path.write_bytes(path.read_bytes()[:length])


def spoil(path, row, value):
    points = np.fromfile(path, np.float32)
    points[row] = value
    points.tofile(path)


BAD = {
    "no table": (
        lambda root: (root / "v1.0-mini/ego_pose.json").unlink(),
        r"got no ego_pose.json",
    ),
    "no tables": (
        lambda root: shutil.rmtree(root / "v1.0-mini"),
        "got no folder v1.0-mini",
    ),
    "cut table": (
        lambda root: cut(root / "v1.0-mini/sample_data.json", 3000),
        r"a table as the official .*sample_data.json",
    ),
    "empty table": (
        lambda root: cut(root / "v1.0-mini/sensor.json", 0),
        "at its beginning",
    ),
    "token": (
        lambda root: change(root, "sample_data", "ego_pose_token", "ff"),
        r"a row of ego_pose.json .* got none with token 'ff'",
    ),
    "scene token": (
        lambda root: change(root, "sample", "scene_token", "ff"),
        r"a row of scene.json .*sample.json names",
    ),
    "field": (
        lambda root: change(root, "sample_data", "timestamp", None),
        "timestamp = 'None', int wanted",
    ),
    "length": (
        lambda root: change(root, "ego_pose", "rotation", [1, 0, 0]),
        "4 numbers wanted",
    ),
    "quaternion": (
        lambda root: change(root, "ego_pose", "rotation", [1, 0, 0, 0.2]),
        "unit quaternions are required",
    ),
    "not a number": (
        lambda root: change(root, "ego_pose", "translation", [0, float("nan"), 0]),
        "finite translations",
    ),
    "intrinsics": (
        lambda root: change(
            root,
            "calibrated_sensor",
            "camera_intrinsic",
            [[0, 0, 0]] * 3,
            lambda row: row["camera_intrinsic"],
        ),
        "positive focal lengths",
    ),
    "no intrinsics": (
        lambda root: change(root, "calibrated_sensor", "camera_intrinsic", []),
        "camera_intrinsic: 0 numbers",
    ),
    "a path out": (
        lambda root: change(root, "sample_data", "filename", "../x.pcd.bin"),
        "file name '../x.pcd.bin'",
    ),
    "a scene's name": (
        lambda root: change(root, "scene", "name", "a/b"),
        "must be a plain name",
    ),
    "category": (
        lambda root: change(root, "category", "name", "vehicle.cart"),
        "category 17 'vehicle.cart'",
    ),
    "a number for a category": (
        lambda root: (root / "v1.0-mini" / "category.json").write_text("[0]"),
        "name = 'None'|index = 'None'",
    ),
    "cut sweep": (
        lambda root: cut(bins(root)[0], 20 * 700 + 3),
        "records of 5 f32 numbers .20 bytes.*14003 bytes",
    ),
    "empty sweep": (lambda root: cut(bins(root)[0], 0), "got 0 bytes"),
    "no earlier sweep": (
        lambda root: shutil.rmtree(root / "sweeps"),
        "No such file",
    ),
    "NaN": (
        lambda root: spoil(bins(root)[0], 6, np.nan),
        r"coordinates within 10000 m .* at point 1",
    ),
    "far": (lambda root: spoil(bins(root)[0], 0, 1e30), "coordinates within"),
    "cut labels": (
        lambda root: [cut(path, 799) for path in bins(root)[1]],
        "800 integers of 1 byte are .* got 799 bytes",
    ),
    "wrong label": (
        lambda root: [
            np.full(800, 32, np.uint8).tofile(path) for path in bins(root)[1]
        ],
        "labels 0..31 are required, got 32",
    ),
    "no labels": (
        lambda root: shutil.rmtree(root / "lidarseg"),
        "a file of one integer per point",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_damaged_is_named(root, name):
    spoiled, message = BAD[name]
    path = NuScenes().scan_path(root, SCAN)
    spoiled(root)
    with pytest.raises(InputError, match=message):
        NuScenes().open(path)


def test_a_sweep_between_keyframes_is_no_scan_of_its_own(written):
    path = next((written / "sweeps/LIDAR_TOP").iterdir())
    with pytest.raises(InputError, match="a sweep of a keyframe"):
        registry.scan_at(path)
    with pytest.raises(InputError, match="sweep_window_s >= 0"):
        NuScenes(sweep_window_s=-1)


def test_rows_are_read_across_the_borders_of_blocks(tmp_path, monkeypatch):
    path = tmp_path / "t.json"
    rows = [{"n": n, "text": "x" * (n % 7), "v": [n / 3, 1e5]} for n in range(40)]
    for indent in (None, 1):
        path.write_text(json.dumps(rows, indent=indent))
        for size in (1, 2, 7, 64, 100_000):
            monkeypatch.setattr(json_rows, "_READ_CHARS", size)
            assert list(json_rows.rows_of(path)) == rows
    path.write_text("[1, 23")
    with pytest.raises(InputError):
        list(json_rows.rows_of(path))


@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(st.data())
def test_damaged_tables_are_read_or_refused(written, data):
    """Bytes of a table are changed, left out or doubled: an answer or an InputError."""
    name = data.draw(st.sampled_from([*nuscenes_tables.TABLES, "lidarseg"]))
    whole = (written / "v1.0-mini" / f"{name}.json").read_bytes()
    at = data.draw(st.integers(0, len(whole)))
    length = data.draw(st.integers(0, 40))
    new = data.draw(
        st.one_of(
            st.binary(max_size=8),
            st.sampled_from(
                [b"[[[[" * 5000, b'"', b"null", b"1e999", b"-", b"9" * 5000]
            ),
        )
    )
    fuzzed = written.parent / "fuzzed_tables"
    shutil.rmtree(fuzzed, ignore_errors=True)
    fuzzed.mkdir()
    for path in (written / "v1.0-mini").iterdir():
        (fuzzed / path.name).write_bytes(path.read_bytes())
    (fuzzed / f"{name}.json").write_bytes(whole[:at] + new + whole[at + length :])
    try:
        version = nuscenes_tables.read_version(fuzzed)
    except InputError:
        return
    for drive in version.drives.values():
        assert all(frame.sweep < len(drive.sweeps) for frame in drive.keyframes)


def test_the_settings_say_nothing_of_where_tables_are_kept(tmp_path):
    fields = {f.name for f in dataclasses.fields(NuScenes) if f.compare}
    assert fields == {"sweep_window_s"}
    assert NuScenes(keep=tmp_path) == NuScenes()
