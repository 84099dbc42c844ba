import io
import json
import logging
import shutil
import zlib

import numpy as np
import pytest
from one_room import Picture
from PIL import Image
from scene_files import INTRINSICS, write_frame, write_ply, write_scannet
from sens_files import sens_bytes

from sas_jax.artefacts.stamps import NO_MEMO
from sas_jax.datasets import registry, scan_files, scannet_labels
from sas_jax.datasets.scannet import ScanNet
from sas_jax.errors import ContractError, InputError
from sas_jax.scenes.frames import natural_key
from sas_jax.scenes.labels import MATTERPORT21, label_set
from sas_jax.scenes.scene import Frame, Scene

STEM = "scene0000_00_vh_clean_2"


def test_scene_of_the_layout(tmp_path):
    scene = ScanNet().open(write_scannet(tmp_path), image_size_wh=None)
    assert scene.name == "scene0000_00"
    assert scene.points.dtype == np.float32 and scene.points.shape == (4, 3)
    np.testing.assert_array_equal(scene.faces, [[0, 1, 2], [0, 2, 3]])
    np.testing.assert_array_equal(scene.colors, np.arange(12).reshape(4, 3))
    np.testing.assert_array_equal(scene.labels, [0, 19, 255, 255])
    np.testing.assert_array_equal(scene.instances, [0, 0, 1, -1])
    frames = list(scene.frames())
    assert [f.name for f in frames] == ["0", "5", "10"]
    assert frames[2].world_from_camera[0, 3] == 2
    assert frames[0].depth_m.dtype == np.float32
    np.testing.assert_array_equal(frames[0].depth_m, 2)
    np.testing.assert_array_equal(frames[0].intrinsics, INTRINSICS)
    assert scene.skipped == {}


def test_frames_are_read_when_asked_for(tmp_path):
    folder = write_scannet(tmp_path)
    scene = ScanNet().open(folder)
    shutil.rmtree(folder / "color")
    with pytest.raises(StopIteration):
        next(scene.frames())
    assert scene.skipped == {"unreadable colour": 3}


def test_names_sort_by_number(tmp_path):
    folder = write_scannet(tmp_path, num_frames=7)  # 0 5 10 15 20 25 30
    scene = ScanNet().open(folder)
    assert scene.frame_source.names[::2] == ("0", "10", "20", "30")
    assert [f.name for f in scene.frames(stride=3)] == ["0", "15", "30"]
    with pytest.raises(InputError, match="stride"):
        next(scene.frames(stride=0))


def test_colour_and_depth_of_different_size_meet_at_the_asked_size(tmp_path):
    folder = write_scannet(tmp_path, size_wh=(130, 97), depth_wh=(64, 48))
    frame = next(ScanNet().open(folder, image_size_wh=(32, 24)).frames())
    assert frame.rgb.shape == (24, 32, 3) and frame.depth_m.shape == (24, 32)
    np.testing.assert_allclose(frame.intrinsics[0], [20, 0, 31.5 * 31 / 63])
    frame = next(ScanNet().open(folder, image_size_wh=None).frames())
    assert frame.rgb.shape[:2] == frame.depth_m.shape == (48, 64)
    # The red ramp runs over the width in both resolutions.
    ramp = frame.rgb[24, :, 0].astype(float)
    np.testing.assert_allclose(ramp, np.linspace(0, 255, 64), atol=8)


def test_official_takes_one_matrix_for_all_scenes(tmp_path):
    own = np.array([[500.0, 0, 319.5], [0, 500.0, 239.5], [0, 0, 1]])
    folder = write_scannet(tmp_path, size_wh=(640, 480), num_frames=1, intrinsics=own)
    frame = next(ScanNet("official").open(folder, image_size_wh=(320, 240)).frames())
    assert frame.intrinsics[0, 0] == pytest.approx(288.9353025)
    frame = next(ScanNet().open(folder, image_size_wh=(320, 240)).frames())
    assert frame.intrinsics[0, 0] == 250


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("pose", "reason"),
    [
        (np.full((4, 4), -np.inf), "invalid pose"),
        (np.zeros((4, 4)), "invalid pose"),
        (np.diag([2.0, 2, 2, 1]), "invalid pose"),
        (np.diag([-1.0, 1, 1, 1]), "invalid pose"),
        (np.eye(3), "invalid pose"),
        (np.diag([1.0, 1, 1, 2]), "invalid pose"),
        (np.full((4, 4), 1e300), "invalid pose"),
    ],
)
def test_unusable_poses_are_skipped_counted_and_logged_once(
    tmp_path, caplog, pose, reason
):
    folder = write_scannet(tmp_path)
    np.savetxt(folder / "pose" / "5.txt", pose)
    scene = ScanNet().open(folder)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert [f.name for f in scene.frames()] == ["0", "10"]
    assert scene.skipped == {reason: 1}
    assert len(caplog.records) == 1
    assert "5.txt" in caplog.text


@pytest.mark.parametrize("keep", [0, 3, 900, -40])
@pytest.mark.parametrize(
    ("file", "reason"),
    [("color/5.jpg", "unreadable colour"), ("depth/5.png", "unreadable depth")],
)
def test_truncated_images_are_skipped(tmp_path, file, reason, keep):
    folder = write_scannet(tmp_path)
    # Noise does not compress: cutting 40 bytes cuts pixels.
    noise = np.random.default_rng(0).integers(500, 4000, (48, 64)).astype(np.uint16)
    Image.fromarray(noise).save(folder / "depth" / "5.png")
    data = (folder / file).read_bytes()
    (folder / file).write_bytes(data[:keep])
    scene = ScanNet().open(folder)
    assert [f.name for f in scene.frames()] == ["0", "10"]
    assert scene.skipped == {reason: 1}


def test_missing_depth_pose_and_text_poses_are_skipped(tmp_path):
    folder = write_scannet(tmp_path)
    (folder / "depth" / "0.png").unlink()
    (folder / "pose" / "5.txt").unlink()
    (folder / "pose" / "10.txt").write_text("1 0 0\nabc")
    scene = ScanNet().open(folder)
    assert list(scene.frames()) == []
    assert scene.skipped == {"missing depth": 1, "missing pose": 1, "invalid pose": 1}


def test_eight_bit_depth_is_refused(tmp_path):
    folder = write_scannet(tmp_path, num_frames=1)
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(folder / "depth" / "0.png")
    scene = ScanNet().open(folder)
    assert list(scene.frames()) == []
    assert scene.skipped == {"unreadable depth": 1}


def test_depth_of_another_size_than_the_intrinsics_say(tmp_path):
    folder = write_scannet(tmp_path, num_frames=0)
    write_frame(folder, 0, np.eye(4), size_wh=(128, 96))
    with pytest.raises(InputError, match=r"about 64 x 48; got 128 x 96"):
        next(ScanNet().open(folder).frames())
    (folder / "scene0000_00.txt").write_text("depthWidth = 64\ndepthHeight = 50\n")
    write_frame(folder, 0, np.eye(4))
    with pytest.raises(InputError, match=r"64 x 50; got 64 x 48"):
        next(ScanNet().open(folder).frames())


@pytest.mark.parametrize("stated", [False, True])
@pytest.mark.parametrize("odd", ["0", "5", "10"])
@pytest.mark.parametrize("size_wh", [(128, 96), (60, 48)])
def test_one_image_of_another_size_is_skipped(tmp_path, odd, stated, size_wh):
    folder = write_scannet(tmp_path)
    write_frame(folder, odd, np.eye(4), size_wh=size_wh)
    if stated:
        text = "depthWidth = 64\ndepthHeight = 48\n"
        (folder / "scene0000_00.txt").write_text(text)
    scene = ScanNet().open(folder, image_size_wh=None)
    frames = list(scene.frames())
    assert [f.name for f in frames] == [n for n in ("0", "5", "10") if n != odd]
    assert all(f.size_hw == (48, 64) for f in frames)
    assert scene.skipped == {"image of another size": 1}


def test_one_of_two_images_fits_the_intrinsics(tmp_path):
    folder = write_scannet(tmp_path, num_frames=2)
    write_frame(folder, 0, np.eye(4), size_wh=(128, 96))
    (folder / "color" / "7.jpg").write_bytes(b"")
    scene = ScanNet().open(folder)
    assert [f.name for f in scene.frames()] == ["5"]
    assert scene.skipped == {"image of another size": 1, "missing pose": 1}


def test_colour_of_another_size_without_depth(tmp_path):
    folder = write_scannet(tmp_path)
    shutil.rmtree(folder / "depth")
    Image.new("RGB", (32, 24)).save(folder / "color" / "5.jpg")
    scene = ScanNet().open(folder)
    assert [f.name for f in scene.frames()] == ["0", "10"]
    assert scene.skipped == {"image of another size": 1}


def test_a_whole_capture_of_another_size_is_an_error(tmp_path):
    folder = write_scannet(tmp_path, size_wh=(128, 96))
    with pytest.raises(InputError, match=r"about 64 x 48; got 128 x 96"):
        next(ScanNet().open(folder).frames())
    write_frame(folder, 0, np.eye(4), size_wh=(100, 90))
    with pytest.raises(InputError, match=r"about 64 x 48; got 128 x 96"):
        next(ScanNet().open(folder).frames())


def test_capture_without_depth(tmp_path):
    folder = write_scannet(tmp_path)
    shutil.rmtree(folder / "depth")
    frame = next(ScanNet().open(folder, image_size_wh=(320, 240)).frames())
    assert frame.depth_m is None
    assert frame.rgb.shape == (240, 320, 3)


def test_test_split_has_neither_labels_nor_instances(tmp_path):
    folder = write_scannet(tmp_path)
    (folder / f"{STEM}.labels.ply").unlink()
    (folder / "scene0000_00.aggregation.json").unlink()
    scene = ScanNet().open(folder)
    assert scene.labels is None and scene.instances is None


def test_one_point_and_no_frames(tmp_path):
    folder = tmp_path / "scans" / "scene0000_00"
    folder.mkdir(parents=True)
    write_ply(folder / f"{STEM}.ply", [[1, 2, 3]])
    scene = ScanNet().open(folder)
    assert scene.points.shape == (1, 3) and scene.faces is None
    assert list(scene.frames()) == [] and scene.frame_source.names == ()


@pytest.mark.parametrize("keep", [0, 4, 60, 250, -3])
def test_truncated_ply_names_the_file(tmp_path, keep):
    folder = write_scannet(tmp_path)
    path = folder / f"{STEM}.ply"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=rf"{STEM}\.ply"):
        ScanNet().open(folder)


def test_label_and_point_counts_must_agree(tmp_path):
    folder = write_scannet(tmp_path)
    path = folder / f"{STEM}.labels.ply"
    write_ply(path, np.zeros((3, 3)), label=np.ones(3))
    with pytest.raises(InputError, match=r"\(4\).*got 3 labels.*labels\.ply"):
        ScanNet().open(folder)
    write_ply(path, np.zeros((4, 3)))
    with pytest.raises(InputError, match="no label property"):
        ScanNet().open(folder)


def test_raw_ids_need_the_label_map(tmp_path):
    folder = write_scannet(tmp_path)
    path = folder / f"{STEM}.labels.ply"
    write_ply(path, np.zeros((4, 3)), label=np.array([2, 230, 41, 0]))
    with pytest.raises(InputError, match=r"raw ids up to 230.*combined\.tsv"):
        ScanNet().open(folder)
    table = "id\traw_category\tnyu40id\n2\tchair\t5\n230\twall\t1\n41\tceiling\t22\n"
    (tmp_path / scannet_labels.LABEL_MAP).write_text(table)
    np.testing.assert_array_equal(ScanNet().open(folder).labels, [4, 0, 255, 255])
    scene = ScanNet().open(folder, label_set=MATTERPORT21)
    np.testing.assert_array_equal(scene.labels, [4, 0, 20, 255])
    (tmp_path / scannet_labels.LABEL_MAP).write_text("nonsense")
    with pytest.raises(InputError, match=r"nyu40id.*combined\.tsv"):
        ScanNet().open(folder)


def relabel(folder, label, names):
    """Give four vertices labels, and objects of one vertex each these names."""
    path = folder / f"{STEM}.labels.ply"
    write_ply(path, np.zeros((4, 3)), label=np.array(label))
    segments = json.dumps({"segIndices": [0, 1, 2, 3]})
    (folder / f"{STEM}.0.010000.segs.json").write_text(segments)
    groups = [
        {"objectId": i, "segments": [i], "label": name} for i, name in enumerate(names)
    ]
    text = json.dumps({"segGroups": groups})
    (folder / "scene0000_00.aggregation.json").write_text(text)


TABLE = "id\tnyu40id\n1\t1\n2\t5\n3\t2\n50\t39\n230\t7\n"


@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize(
    ("label", "names"),
    [
        # One id of four, and nothing known of the objects.
        ([1, 5, 2, 149], ()),
        ([1, 5, 2, 149], ("Wand", "Stuhl")),
        # A chair is 5 in NYU40 and 2 among raw ids, the floor 2 and 3.
        ([50, 5, 2, 149], ("recycling bin", "chair", "floor")),
    ],
)
def test_stray_ids_are_unlabelled_and_the_others_stay(
    tmp_path, caplog, label, names, table
):
    folder = write_scannet(tmp_path)
    relabel(folder, label, names)
    if table:
        (tmp_path / scannet_labels.LABEL_MAP).write_text(TABLE)
    with caplog.at_level(logging.WARNING):
        labels = ScanNet().open(folder).labels
    expected = [255 if label[0] == 50 else 0, 4, 1, 255]
    np.testing.assert_array_equal(labels, expected)
    (said,) = (record.getMessage() for record in caplog.records)
    strays = "50, 149" if label[0] == 50 else "149"
    assert f"of 4 points with {strays};" in said and "labels.ply" in said


@pytest.mark.parametrize(
    ("label", "names", "expected"),
    [
        # Half of the different ids.
        ([1, 2, 50, 230], (), [0, 4, 19, 6]),
        # Few enough, but chair and floor have their raw numbers.
        ([1, 2, 3, 230], ("wall", "chair", "floor"), [0, 4, 1, 6]),
    ],
)
def test_raw_ids_are_told_by_what_the_objects_are_called(
    tmp_path, label, names, expected
):
    folder = write_scannet(tmp_path)
    relabel(folder, label, names)
    with pytest.raises(InputError, match=r"raw ids up to 230.*combined\.tsv"):
        ScanNet().open(folder)
    (tmp_path / scannet_labels.LABEL_MAP).write_text(TABLE)
    np.testing.assert_array_equal(ScanNet().open(folder).labels, expected)


def test_classes_of_scannet200_follow_from_the_names_of_objects(tmp_path):
    folder = write_scannet(tmp_path)
    relabel(folder, [1, 5, 7, 0], ["wall", "office chair", "not in the map"])
    scannet200 = label_set("scannet200")
    with pytest.raises(InputError, match=r"label map.*scannet200.*combined\.tsv"):
        ScanNet().open(folder, label_set=scannet200)
    table = "id\traw_category\tnyu40id\n1\twall\t1\n8\toffice chair\t5\n20\tmat\t20\n"
    (tmp_path / scannet_labels.LABEL_MAP).write_text(table)
    labels = ScanNet().open(folder, label_set=scannet200).labels
    names = scannet200.classes.names
    assert [names[i] for i in labels[:2]] == ["wall", names[labels[1]]]
    assert scannet200.raw_ids["scannet"][labels[1]] == 8
    np.testing.assert_array_equal(labels[2:], 255)
    (folder / "scene0000_00.aggregation.json").unlink()
    with pytest.raises(InputError, match=r"got no objects.*aggregation\.json"):
        ScanNet().open(folder, label_set=scannet200)


def test_damaged_segments_name_the_file(tmp_path):
    folder = write_scannet(tmp_path)
    path = folder / f"{STEM}.0.010000.segs.json"
    path.write_text(path.read_text()[:10])
    with pytest.raises(InputError, match=r"segs\.json"):
        ScanNet().open(folder)
    path.write_text(json.dumps({"segIndices": [1, 2]}))
    with pytest.raises(InputError, match=r"\(4\).*\[2\].*segs\.json"):
        ScanNet().open(folder)


def test_damaged_aggregation_and_intrinsics_name_the_file(tmp_path):
    folder = write_scannet(tmp_path)
    path = folder / "intrinsic" / "intrinsic_depth.txt"
    path.write_text("1 2 3")
    with pytest.raises(InputError, match=r"intrinsic_depth\.txt"):
        ScanNet().open(folder)
    path = folder / "scene0000_00.aggregation.json"
    path.write_text(json.dumps({"segGroups": [{"objectId": 3}]}))
    with pytest.raises(InputError, match="aggregation"):
        ScanNet().open(folder)


@pytest.mark.parametrize(
    "segments", [[7, [7], 100, 3], [7, 7, 100, 2**70], "text", [7, 7, 1.5, 3], None]
)
def test_segments_that_are_no_integers_name_the_file(tmp_path, segments):
    folder = write_scannet(tmp_path)
    path = folder / f"{STEM}.0.010000.segs.json"
    path.write_text(json.dumps({"segIndices": segments}))
    with pytest.raises(InputError, match=r"\(4\) is required.*segs\.json"):
        ScanNet().open(folder)


@pytest.mark.parametrize(
    "group",
    [
        {"objectId": 2**31, "segments": [7]},
        {"objectId": float("inf"), "segments": [7]},
        {"objectId": 1, "segments": [7, [7]]},
        {"objectId": "one", "segments": [7]},
        7,
    ],
)
def test_groups_that_make_no_sense_name_the_file(tmp_path, group):
    folder = write_scannet(tmp_path)
    path = folder / "scene0000_00.aggregation.json"
    path.write_text(json.dumps({"segGroups": [group]}))
    with pytest.raises(InputError, match=r"2\^31.*0000_00\.aggregation\.json\)"):
        ScanNet().open(folder)
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"0000_00\.aggregation\.json\)"):
        ScanNet().open(folder)


def test_absurd_labels_name_the_file(tmp_path):
    folder = write_scannet(tmp_path)
    path = folder / f"{STEM}.labels.ply"
    table = tmp_path / scannet_labels.LABEL_MAP
    table.write_text("id\tnyu40id\n2\t5\n")
    header = (
        "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\n"
        "property float z\nproperty {} label\nend_header\n"
    )
    text = header.format("uint") + "".join(
        f"0 0 0 {label}\n" for label in (2, 4294967295, 0, 2)
    )
    path.write_text(text)
    # Ids that the map does not know are unlabelled.
    np.testing.assert_array_equal(ScanNet().open(folder).labels, [4, 255, 255, 4])
    table.write_text("id\tnyu40id\n2\t99\n")
    with pytest.raises(InputError, match=r"0\.\.40.*combined\.tsv"):
        ScanNet().open(folder)
    path.write_text(header.format("float") + "0 0 0 nan\n" * 4)
    with pytest.raises(InputError, match=r"labels must be >= 0.*labels\.ply"):
        ScanNet().open(folder)
    path.write_text(header.format("int") + "0 0 0 -1\n0 0 0 50\n" * 2)
    with pytest.raises(InputError, match=r"labels must be >= 0.*labels\.ply"):
        ScanNet().open(folder)


def test_without_annotations_their_files_are_not_touched(tmp_path):
    folder = write_scannet(tmp_path)
    for file in (f"{STEM}.labels.ply", f"{STEM}.0.010000.segs.json"):
        (folder / file).write_bytes(b"damaged")
    scene = ScanNet().open(folder, annotations=False)
    assert scene.labels is None and scene.instances is None
    assert len(scene.points) == 4 and len(list(scene.frames())) == 3
    assert registry.open_folder(folder, annotations=False).labels is None
    with pytest.raises(InputError, match=r"labels\.ply"):
        registry.open_folder(folder)


def test_list_scenes(tmp_path):
    write_scannet(tmp_path)
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "val.txt").write_text("scene0000_00\n")
    assert ScanNet().scan_names(tmp_path, "val") == ["scene0000_00"]
    (tmp_path / "splits" / "train.txt").write_text("scene0000_00\nscene0001_00\n")
    with pytest.raises(InputError, match=r"1 of 2 have none, e\.g\. scene0001_00"):
        ScanNet().scan_names(tmp_path, "train")
    for split in ("test", "binary"):
        (tmp_path / "splits" / "binary.txt").write_bytes(b"\xff\xfe")
        with pytest.raises(InputError, match=rf"{split}\.txt"):
            ScanNet().scan_names(tmp_path, split)


def test_scene_and_frame_check_themselves():
    points = np.zeros((2, 3), np.float32)
    with pytest.raises(InputError, match=r"labels must have one row per point \(2\)"):
        Scene("s", points, labels=np.zeros(3, np.int32))
    with pytest.raises(InputError, match="face indices"):
        Scene("s", points, faces=np.array([[0, 1, -1]], np.int32))
    with pytest.raises(InputError, match="finite"):
        Scene("s", np.full_like(points, np.inf))
    with pytest.raises(ContractError, match="depth"):
        rgb, depth = np.zeros((4, 5, 3), np.uint8), np.zeros((2, 5), np.float32)
        Frame("f", rgb, depth, np.eye(3), np.eye(4))


def test_names_with_letters_sort_by_their_numbers():
    names = ["frame_10", "frame_9", "b", "frame_09", "7"]
    expected = ["7", "b", "frame_09", "frame_9", "frame_10"]
    assert sorted(names, key=natural_key) == expected
    assert sorted(["²", "2"], key=natural_key)  # a digit that is no number


def test_without_lists_the_splits_are_the_official_ones(tmp_path, caplog):
    for name in ("scene0568_00", "scene0000_00", "scene0707_00", "mine"):
        write_scannet(tmp_path, name)
    dataset = ScanNet()
    assert dataset.scan_names(tmp_path, "val") == ["scene0568_00"]
    assert "1 of the official list's 312 scans" in caplog.text
    assert dataset.scan_names(tmp_path, "train") == ["scene0000_00"]
    with pytest.raises(InputError, match="split other"):
        dataset.scan_names(tmp_path, "other")
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "val.txt").write_text("mine")
    assert dataset.scan_names(tmp_path, "val") == ["mine"]


def test_official_splits_share_no_scan():
    for who, counts in {
        "scannet": (1201, 312, 100),
        "matterport": (61, 11, 18),
    }.items():
        lists = scan_files._official(who)
        assert tuple(len(lists[s]) for s in ("train", "val", "test")) == counts
        assert len(set().union(*lists.values())) == sum(counts)


def test_axis_alignment_turns_points_and_cameras_alike(tmp_path):
    folder = write_scannet(tmp_path, "scene0000_00")
    with pytest.raises(InputError, match="axisAlignment"):
        ScanNet(axis_aligned=True).open(folder)
    turn = np.eye(4)
    turn[:2, :2], turn[:3, 3] = [[0, -1], [1, 0]], (5, 6, 7)
    stated = " ".join(map(str, turn.ravel()))
    (folder / "scene0000_00.txt").write_text(f"axisAlignment = {stated}\n")
    plain, turned = ScanNet().open(folder), ScanNet(axis_aligned=True).open(folder)
    np.testing.assert_allclose(turned.in_input(turned.points), plain.points, atol=1e-5)
    expected = plain.points @ turn[:3, :3].T + turn[:3, 3]
    np.testing.assert_allclose(turned.points, expected, atol=1e-5)
    np.testing.assert_array_equal(
        turned.points, ScanNet(axis_aligned=True).points(folder)
    )
    for one, two in zip(plain.frames(), turned.frames(), strict=True):
        pose = turn @ one.world_from_camera
        np.testing.assert_allclose(two.world_from_camera, pose, atol=1e-9)


@pytest.mark.parametrize("compat", ["paper", "official"])
def test_frames_of_a_sens_file_are_those_of_its_export(tmp_path, compat):
    """The file has a colour camera of its own; the depth camera counts."""
    color = np.diag([2.0, 2, 1]) @ INTRINSICS
    depth = Image.fromarray(np.full((480, 640), 1500, np.uint16))
    rgb = np.random.default_rng(0).integers(0, 255, (968, 1296, 3), np.uint8)
    matrix = np.array([[570.0, 0, 320], [0, 571, 241], [0, 0, 1]])
    exported = write_scannet(tmp_path / "a", num_frames=0, intrinsics=matrix)
    plain = write_scannet(tmp_path / "b", num_frames=0)
    for part in ("color", "depth", "pose"):
        (exported / part).mkdir()
    data = io.BytesIO()
    Image.fromarray(rgb).save(data, "JPEG")
    (exported / "color" / "0.jpg").write_bytes(data.getvalue())
    depth.save(exported / "depth" / "0.png")
    np.savetxt(exported / "pose" / "0.txt", np.eye(4))
    frames = [Picture(rgb, np.full((480, 640), 1.5), np.eye(4))]
    pixels = [
        (data.getvalue(), zlib.compress(np.full(640 * 480, 1500, "<u2").tobytes()))
    ]
    shutil.rmtree(plain / "intrinsic")
    (plain / "scene0000_00.sens").write_bytes(
        sens_bytes(
            frames, intrinsics=(color, matrix), images=pixels,
            sizes=((1296, 968), (640, 480)),
        )
    )  # fmt: skip
    one, two = (
        next(ScanNet(compat=compat).open(f, image_size_wh=(320, 240)).frames())
        for f in (exported, plain)
    )
    for name in ("rgb", "depth_m", "world_from_camera"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    np.testing.assert_allclose(one.intrinsics, two.intrinsics, rtol=1e-6)
    scan = registry.scan_at(plain)
    assert plain / "scene0000_00.sens" in scan.dataset.files(plain, "views", 1, NO_MEMO)
