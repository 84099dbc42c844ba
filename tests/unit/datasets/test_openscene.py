"""OpenScene's files are scans like any other; damaged ones are refused by name."""

import contextlib
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sas_jax.datasets import registry
from sas_jax.errors import InputError
from sas_jax.scenes.labels import IGNORE

torch = pytest.importorskip("torch", reason="torch writes the files of these tests")

K = np.array([[288.935, 0, 159.5], [0, 288.935, 119.5], [0, 0, 1]])


def content(num_points=50, classes=20, *, colors=True, seed=0):
    rng = np.random.default_rng(seed)
    coords = rng.uniform(-1, 1, (num_points, 3)).astype(np.float32)
    rgb = rng.uniform(-1, 1, (num_points, 3)).astype(np.float32) if colors else 0
    labels = rng.integers(0, classes, num_points).astype(np.float64)
    labels[:3], labels[3:5] = 255, -100
    return coords, rgb, labels


def save(path, item):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(item, path)
    return path


def write_image(path, size_wh, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size_wh[::-1]
    if path.suffix == ".png":
        Image.fromarray(np.full(shape, value, np.uint16)).save(path)
    else:
        Image.fromarray(np.full((*shape, 3), value, np.uint8)).save(path)


def write_text(path, matrix):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, matrix)


def write_npy(path, matrix):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, matrix)


def at(*position):
    pose = np.eye(4)
    pose[:3, 3] = position
    return pose


@pytest.fixture
def scannet(tmp_path):
    for split, name in (("train", "scene0000_00"), ("val", "scene0001_00")):
        save(tmp_path / f"scannet_3d/{split}/{name}_vh_clean_2.pth", content())
    folder = tmp_path / "scannet_2d/scene0000_00"
    for frame, pose in ((0, at(1, 2, 3)), (20, np.full((4, 4), -np.inf))):
        write_image(folder / f"color/{frame}.jpg", (320, 240), 100)
        write_image(folder / f"depth/{frame}.png", (320, 240), 2500)
        write_text(folder / f"pose/{frame}.txt", pose)
    np.savetxt(tmp_path / "scannet_2d/intrinsics.txt", K)
    return tmp_path / "scannet_3d"


def test_scannet(scannet):
    dataset = registry.of_root(scannet)
    assert dataset.name == "openscene_scannet"
    assert dataset.scan_names(scannet, "val") == ["scene0001_00"]
    scan = registry.scan_at(dataset.scan_path(scannet, "scene0000_00"))
    assert scan.name == "scene0000_00" and scan.has_labels
    scene = scan.open()
    coords, colors, labels = content()
    np.testing.assert_array_equal(scene.points, coords)
    np.testing.assert_array_equal(scan.points(), coords)
    np.testing.assert_allclose(scene.colors / 127.5 - 1, colors, atol=0.51 / 127.5)
    labels[3:5] = 255
    np.testing.assert_array_equal(scene.labels, labels.astype(int))
    assert scene.faces is None and scene.label_set.classes.name == "scannet20"
    (frame,) = scene.frames()
    assert scene.skipped == {"invalid pose": 1}
    np.testing.assert_allclose(frame.intrinsics, K)
    np.testing.assert_array_equal(frame.world_from_camera, at(1, 2, 3))
    assert frame.size_hw == (240, 320) and (frame.known_depth_m == 2.5).all()
    (smaller, *_) = scan.open(image_size_wh=(160, 120)).frames()
    assert smaller.size_hw == (120, 160)


def test_scannet_without_images_or_matrix(scannet):
    path = scannet / "val/scene0001_00_vh_clean_2.pth"
    assert not list(registry.scan_at(path).open().frames())
    (scannet.parent / "scannet_2d/intrinsics.txt").unlink()
    scan = registry.scan_at(scannet / "train/scene0000_00_vh_clean_2.pth")
    (frame,) = scan.open().frames()
    np.testing.assert_allclose(frame.intrinsics, K, atol=1e-3)


def test_keys_follow_what_is_read(scannet):
    scan = registry.scan_at(scannet / "train/scene0000_00_vh_clean_2.pth")
    views, geometry = scan.key("views"), scan.key("geometry")
    write_text(scannet.parent / "scannet_2d/scene0000_00/pose/20.txt", at(0, 0, 0))
    assert scan.key("views") != views and scan.key("geometry") == geometry
    save(scan.path, content(seed=1))
    assert scan.key("geometry") != geometry


def test_matterport(tmp_path):
    root, house = tmp_path / "matterport_3d_40", tmp_path / "matterport_2d/2azQ1b91cZZ"
    path = save(root / "val/2azQ1b91cZZ_region3.pth", content(classes=40))
    for number, position in enumerate([(0, 0, 0), (5, 0, 0), (0.5, 0, 0)]):
        name = f"00ebbf3782_i1_{number}"
        write_image(house / f"color/{name}.jpg", (640, 512), 7)
        write_image(house / f"depth/00ebbf3782_d1_{number}.png", (640, 512), 8000)
        write_text(house / f"pose/{name}.txt", at(*position))
        matrix = np.array([[500.0 + number, 0, 320], [0, 500, 256], [0, 0, 1]])
        write_text(house / f"intrinsic/{name}.txt", matrix)
    dataset = registry.of_root(root)
    assert dataset.name == "openscene_matterport"
    assert dataset.scan_names(root, "val") == ["2azQ1b91cZZ_region3"]
    scan = registry.scan_at(path)
    with pytest.raises(InputError, match=r"0\.\.20 of matterport21.*label_set"):
        scan.open()
    scene = scan.open(label_set=dataset.label_set("matterport40"))
    first, second = scene.frames()  # the other one stands outside
    assert (first.name, second.name) == ("00ebbf3782_i1_0", "00ebbf3782_i1_2")
    assert second.intrinsics[0, 0] == 502 and (second.known_depth_m == 2).all()


def test_nuscenes(tmp_path):
    root, folder = tmp_path / "nuscenes_3d", tmp_path / "nuscenes_2d/val/sample1"
    path = save(root / "val/sample1.pth", content(classes=16, colors=False))
    for name in ("back", "front"):
        write_image(folder / f"color/{name}.jpg", (800, 450), 7)
        write_npy(folder / f"pose/{name}.npy", at(0, 1, 0))
        matrix = np.array([[630.0, 0, 400], [0, 630, 225], [0, 0, 1]])
        write_npy(folder / f"K/{name}.npy", matrix)
    (folder / "pose/back.npy").write_bytes(b"")
    assert registry.of_root(root).name == "openscene_nuscenes"
    scene = registry.scan_at(path).open()
    assert scene.colors is None and scene.label_set.classes.name == "nuscenes16"
    (frame,) = scene.frames()
    assert frame.name == "front" and frame.depth_m is None
    assert scene.skipped == {"invalid pose": 1}
    (folder / "K/front.npy").write_bytes((folder / "K/back.npy").read_bytes()[:140])
    with pytest.raises(InputError, match=r"whole \.npy file.*front\.npy"):
        registry.scan_at(path).open()


def test_points_far_from_zero_keep_their_place(tmp_path):
    coords, rgb, labels = content()
    coords = coords + np.array([500_000, 4_000_000, 0.0])
    path = save(tmp_path / "x/train/a_vh_clean_2.pth", (coords, rgb, labels))
    scene = registry.scan_at(path).open()
    np.testing.assert_allclose(scene.points + scene.origin, coords, atol=1e-4)
    np.testing.assert_array_equal(registry.scan_at(path).points(), scene.points)


def test_unlabelled_scans_cannot_be_scored(tmp_path):
    coords, rgb, labels = content()
    path = tmp_path / "x/test/a_vh_clean_2.pth"
    scan = registry.scan_at(save(path, (coords, rgb, np.full(len(labels), IGNORE))))
    assert not scan.has_labels and scan.open().labels is None


COORDS, RGB, LABELS = content()


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ((COORDS, RGB), "coordinates, colours and labels are required, got tuple"),
        (COORDS, "got .50, 3"),
        ((COORDS[:, :2], RGB, LABELS), r"coordinates .P, 3.*\[50, 2\]"),
        ((COORDS[:0], RGB[:0], LABELS[:0]), r"coordinates .P, 3"),
        ((COORDS * np.nan, RGB, LABELS), "finite coordinates"),
        ((COORDS.astype(int), RGB, LABELS), "int64"),
        ((COORDS, RGB[:9], LABELS), r"colours \[50, 3\]"),
        ((COORDS, RGB + 2, LABELS), r"in -1\.\.1"),
        ((COORDS, RGB * np.nan, LABELS), r"in -1\.\.1"),
        ((COORDS, 3, LABELS), "got int"),
        ((COORDS, RGB, LABELS[:9]), "a label for each of 50"),
        ((COORDS, RGB, LABELS * 0 + 20), r"0\.\.19 of scannet20, or 255.*got 20"),
        ((COORDS, RGB, LABELS * 0 - 1), "got -1"),
        ((COORDS, RGB, LABELS * 0 + 0.5), r"got 0\.5"),
        ((COORDS, RGB, LABELS * np.nan), "got nan"),
        ((COORDS, RGB, None), "NoneType"),
    ],
)
def test_other_contents_are_refused(tmp_path, item, said):
    path = save(tmp_path / "x/train/a_vh_clean_2.pth", item)
    with pytest.raises(InputError, match=rf"(?s){said}.*a_vh_clean_2\.pth"):
        registry.scan_at(path).open()


def test_missing_splits_and_other_folders_are_refused(scannet):
    dataset = registry.of_root(scannet)
    with pytest.raises(InputError, match="a folder of split test"):
        dataset.scan_names(scannet, "test")
    with pytest.raises(InputError, match=r"It is a scan|known layout"):
        registry.of_root(scannet / "train")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9999), st.integers(0, 255)), min_size=1))
def test_changed_bytes_are_read_or_refused(tmp_path_factory, changes):
    path: pathlib.Path = tmp_path_factory.getbasetemp() / "f/val/a_vh_clean_2.pth"
    data = bytearray(save(path, content(9)).read_bytes())
    for place, value in changes:
        data[place % len(data)] = value
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        scene = registry.scan_at(path).open()
        assert np.isfinite(scene.points).all()
