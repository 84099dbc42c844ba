"""SemanticKITTI: sweeps, labels, the left colour camera beside camera 0."""

import shutil

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from outdoor_files import KITTI_OFFSET_M, SIZE_WH, paint, world, write_kitti

from sas_jax.datasets import registry
from sas_jax.datasets.semantic_kitti import SemanticKitti
from sas_jax.errors import InputError
from sas_jax.lifting.project import project


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A data set that no test changes."""
    return write_kitti(tmp_path_factory.mktemp("kitti"), moving=True)


@pytest.fixture
def root(written, tmp_path):
    """A data set of the test's own."""
    return shutil.copytree(written, tmp_path / "kitti")


def opened(root, name="08_000002", **settings):
    known = SemanticKitti(**settings)
    return known.open(known.scan_path(root, name))


def test_it_is_recognised_and_lists_sweeps_by_sequence(written):
    known = registry.of_root(written)
    assert known.name == "semantic_kitti"
    assert known.scan_names(written, "val") == ["08_000000", "08_000001", "08_000002"]
    scan = registry.scan_at(known.scan_path(written, "08_000001"))
    assert scan.name == "08_000001" and scan.has_labels
    with pytest.raises(InputError, match=r"every sequence of split train.*00/velodyne"):
        known.scan_names(written, "train")
    with pytest.raises(InputError, match="one of train, val, test, got dev"):
        known.scan_names(written, "dev")


def test_points_and_labels_are_those_of_the_sweep(written):
    scene = opened(written)
    expected, _ = world(seed=2)
    np.testing.assert_allclose(scene.points, expected - [2, 0, 1.8], atol=1e-5)
    # Moving cars are cars; the upper half of a label, the object, is left out.
    assert (scene.labels[:10] == 0).all()
    assert (scene.labels[10:400] == 8).all() and (scene.labels[400:] == 12).all()
    assert scene.label_set.classes.names[12] == "building"


@pytest.mark.parametrize(("window_s", "sweeps"), [(0, 1), (0.1, 2), (0.5, 3)])
def test_earlier_sweeps_are_moved_by_the_poses(written, window_s, sweeps):
    scene = opened(written, sweep_window_s=window_s)
    assert len(scene.points) == 800 * sweeps
    assert (scene.labels[800:] == 255).all()
    if sweeps == 3:
        expected, _ = world(seed=0)
        moved = scene.points[1600:]
        np.testing.assert_allclose(moved, expected - [2, 0, 1.8], atol=1e-5)


def test_the_camera_stands_beside_camera_0(written):
    scene = opened(written)
    (frame,) = scene.frames()
    pose = frame.world_from_camera
    np.testing.assert_allclose(pose[:3, 3], [0.3, KITTI_OFFSET_M, -0.1], atol=1e-9)
    np.testing.assert_allclose(pose[:3, 2], [1, 0, 0], atol=1e-9)
    assert frame.depth_m is None and frame.size_hw == SIZE_WH[::-1]
    # The formula of the benchmark: x ~ P2 Tr X.
    _, seen = project(scene.points, frame, border_px=2)
    lines = (written / "sequences/08/calib.txt").read_text().splitlines()
    rows = dict(line.split(":") for line in lines)
    p2, tr = (np.array(rows[k].split(), float).reshape(3, 4) for k in ("P2", "Tr"))
    homogeneous = np.pad(scene.points, ((0, 0), (0, 1)), constant_values=1)
    u, v, w = p2 @ np.vstack([tr, [0, 0, 0, 1]]) @ homogeneous.T
    inside = (w > 0) & (u / w > 1.5) & (u / w < 61.5) & (v / w > 1.5) & (v / w < 33.5)
    np.testing.assert_array_equal(seen, inside)


def test_a_sequence_without_images_or_labels_is_read(root):
    shutil.rmtree(root / "sequences/08/image_2")
    shutil.rmtree(root / "sequences/08/labels")
    scene = opened(root)
    assert scene.labels is None and not list(scene.frames())


def edit(name, old, new):
    def apply(root):
        path = root / "sequences/08" / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return apply


def cut(name, length):
    def apply(root):
        path = root / "sequences/08" / name
        path.write_bytes(path.read_bytes()[:length])

    return apply


def relabel(value):
    def apply(root):
        path = root / "sequences/08/labels/000002.label"
        np.full(800, value, np.uint32).tofile(path)

    return apply


def row_end(root):
    return (root / "sequences/08/poses.txt").read_text().index("\n")


def lose_track(root):
    path = root / "sequences/08/poses.txt"
    poses = np.loadtxt(path)
    poses[1, 3] = np.nan
    np.savetxt(path, poses)


BAD = {
    "sweep": (cut("velodyne/000002.bin", 801), "records of 4 f32 numbers"),
    "earlier sweep": (cut("velodyne/000001.bin", 0), "got 0 bytes .*000001"),
    "labels": (cut("labels/000002.label", 3196), "800 integers of 4 bytes"),
    "unknown label": (relabel(1000), "list are required, got id 1000"),
    "label between": (relabel(2), "got id 2 "),
    "no Tr": (edit("calib.txt", "Tr:", "Tx:"), "lines `P2:` and `Tr:`"),
    "short P2": (edit("calib.txt", "P2: ", "P2: 1 "), "lines `P2:`"),
    "word": (edit("calib.txt", "Tr: ", "Tr: x"), "lines `P2:`"),
    "Tr": (edit("calib.txt", "Tr: 0.", "Tr: 7."), "Tr must be a rigid motion"),
    "P2": (edit("calib.txt", "P2: 3", "P2: -3"), "positive focal lengths"),
    "poses": (cut("poses.txt", 650), "poses: a matrix of numbers"),
    "fewer poses": (lambda root: cut("poses.txt", row_end(root))(root), "got .1, 12."),
    "no poses": (cut("poses.txt", 0), "a line of twelve numbers for each of 3"),
    "lost track": (lose_track, "not finite in line 2"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_damaged_is_named(root, name):
    BAD[name][0](root)
    with pytest.raises(InputError, match=BAD[name][1]):
        opened(root, sweep_window_s=0.5)


def test_an_image_that_cannot_be_read_is_skipped(root):
    (root / "sequences/08/image_2/000002.png").write_bytes(b"")
    scene = opened(root)
    assert not list(scene.frames()) and scene.skipped == {"unreadable image": 1}
    paint(root / "sequences/08/image_2/000002.png")


@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(
    name=st.sampled_from(["calib.txt", "poses.txt", "velodyne/000002.bin"]),
    at=st.integers(0, 3000),
    length=st.integers(0, 60),
    new=st.one_of(st.binary(max_size=12), st.sampled_from([b"1e999", b"nan", b"\n"])),
)
def test_damaged_files_are_read_or_refused(written, name, at, length, new):
    folder = written.parent / "fuzzed_kitti"
    if not folder.exists():
        shutil.copytree(written, folder)
    path, whole = folder / "sequences/08" / name, written / "sequences/08" / name
    data = whole.read_bytes()
    path.write_bytes(data[:at] + new + data[at + length :])
    try:
        scene = opened(folder, sweep_window_s=0.5)
        assert np.isfinite(scene.points).all()
        list(scene.frames())
    except InputError:
        pass
    finally:
        path.write_bytes(data)
