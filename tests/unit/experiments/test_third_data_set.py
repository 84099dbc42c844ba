"""A data set of one file and one line goes through all stages, as do posed frames."""

import importlib
import pickle
import sys

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from scene_files import INTRINSICS, write_frame, write_scannet
from tiny_scenes import tiny_config

from sas_jax.artefacts.features import load_features
from sas_jax.artefacts.superpoints import load_superpoints
from sas_jax.datasets import registry
from sas_jax.distill.data import SceneFiles
from sas_jax.errors import InputError, WeightsMissing
from sas_jax.evaluation import protocol
from sas_jax.models.minkunet import StudentConfig
from sas_jax.text import minilm_files

pytest.importorskip("torch", reason="the teachers' half needs the extra [teachers]")
try:
    minilm_files.model_folder()
except WeightsMissing as absent:
    pytest.skip(str(absent), allow_module_level=True)


@pytest.fixture
def stage(root, tmp_path, monkeypatch):
    """Return what runs scripts, or their functions, on the data of the test."""
    monkeypatch.syspath_prepend(str(root / "experiments"))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # settings has its own
    modules = ("extract_features", "make_superpoints", "fuse_features", "evaluate")
    names = ("settings", *modules)
    scripts = {name: importlib.import_module(name) for name in names}
    values = {
        "data_root": str(tmp_path / "data"),
        "workspace": str(tmp_path / "run"),
        "teachers": ["rooms-dense"],
        "strategy": "add",
        "splits": ["train", "test"],
        "image_size": ["64", "48"],
        "border_px": 0,
        "min_vertices": 20,
        "threads": 1,
    }
    with flagsaver.flagsaver(**values):
        flags.FLAGS.mark_as_parsed()
        yield scripts.__getitem__


def write_npz(path, step=0.05):
    """A wall of two colours, 2 m before a camera that looks along z."""
    x, y = np.meshgrid(np.arange(-1.4, 1.4, step), np.arange(-1, 1, step))
    points = np.stack([x, y, np.full_like(x, 2)], -1).reshape(-1, 3)
    blue = (points[:, 0] > 0).astype(np.int32)
    normals = np.where(blue[:, None], [0, 0, -1], [0.6, 0, -0.8]).astype(np.float32)
    rgb = np.zeros((48, 64, 3), np.uint8)
    rgb[:, :32, 0] = rgb[:, 32:, 2] = 200
    np.savez(
        path,
        points=points.astype(np.float32),
        normals=normals,
        colors=np.where(blue[:, None], [0, 0, 200], [200, 0, 0]).astype(np.uint8),
        labels=blue,
        rgb=rgb,
        depth_m=np.full((48, 64), 2, np.float32),
        intrinsics=INTRINSICS,
        world_from_camera=np.eye(4),
    )


@pytest.fixture
def third(tmp_path, monkeypatch):
    """Register a data set of this test's, and write two scans of it."""
    monkeypatch.setitem(registry.DATASETS, "npz", "npz_scans:NpzScans")
    (tmp_path / "data").mkdir()
    for name in ("train_0", "test_0"):
        write_npz(tmp_path / "data" / f"{name}.npz")
    return tmp_path / "data"


def run_all(stage):
    for name in ("extract_features", "make_superpoints", "fuse_features"):
        stage(name).main()


def test_a_third_data_set_goes_through_all_stages(third, stage, tmp_path):
    run_all(stage)
    stage("evaluate").main()
    run = tmp_path / "run"
    found = protocol.load(run / "eval/test/fused-add.json")
    assert list(found.counts) == ["test_0"] and found.label_set == "walls2"
    assert (found.counts["test_0"].sum(axis=1) > 1000).all()
    scan = stage("settings").scans(["train"])[0]
    parts = ("fused/add", "superpoints")
    files = [run / part / f"{scan.name}.safetensors" for part in parts]
    scene = SceneFiles(scan, *files).load(
        tiny_config(student=StudentConfig(out_dim=384))
    )
    np.testing.assert_array_equal(scene.points, scan.points())
    assert scene.num_superpoints == 2 and scene.targets.seen.any()
    before = [path.stat().st_ino for path in files]
    run_all(stage)
    assert [path.stat().st_ino for path in files] == before  # not made again
    write_npz(third / "train_0.npz", step=0.1)
    run_all(stage)
    assert all(path.stat().st_ino not in before for path in files)


def test_a_third_data_set_is_opened_and_named_like_the_others(third, stage):
    scene = registry.open_folder(third / "test_0.npz", annotations=False)
    assert scene.name == "test_0" and scene.labels is None
    settings = stage("settings")
    assert settings.label_set().classes.names == ("red wall", "blue wall")
    assert settings.named_scan("test_0").path == third / "test_0.npz"
    wrong = pytest.raises(InputError, match="one of walls2, got scannet20")
    with flagsaver.flagsaver(label_set="scannet20"), wrong:
        settings.label_set()
    wrong = pytest.raises(InputError, match=r"scannet .*npz .<split>_.*got npy")
    with flagsaver.flagsaver(dataset="npy"), wrong:
        settings.dataset()


def test_posed_frames_go_through_the_stages_with_one_cloud(stage, tmp_path):
    folder = tmp_path / "data" / "desk"
    for i in range(3):
        pose = np.array([[1, 0, 0, i], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
        write_frame(folder, i, pose, depth_mm=10_000, depth_wh=(64, 48))
    np.savetxt(folder / "intrinsic.txt", INTRINSICS)
    settings = {"scenes": ["desk"], "depth_scale": 5000.0, "frame_stride": 2}
    with flagsaver.flagsaver(**settings, image_size=["32", "24"]):
        run_all(stage)
        scan = stage("settings").named_scan(str(folder))
        with pytest.raises(InputError, match="scenes with labels are required"):
            stage("settings").labelled_scans()
        assert stage("settings").label_set().classes.name == "scannet20"
    assert pickle.loads(pickle.dumps(scan)) == scan  # goes to processes that load
    run, points = tmp_path / "run", scan.points()
    assert [p.name for p in (run / "clouds").glob("*.safetensors")] == [
        "desk.safetensors"
    ]
    for part in ("features/rooms-dense", "fused/add"):
        features = load_features(run / part / "desk.safetensors", points)
        assert len(features.feat) > 1000
    load_superpoints(run / "superpoints" / "desk.safetensors", points)


def test_a_label_set_is_chosen_by_its_name(stage, tmp_path):
    write_scannet(tmp_path / "data")
    settings = stage("settings")
    assert settings.dataset().name == "scannet"
    assert settings.label_set().classes.name == "scannet20"
    with flagsaver.flagsaver(label_set="matterport21", compat="official"):
        assert settings.label_set().classes.names[-1] == "ceiling"
        assert settings.dataset().compat == "official"


def test_a_folder_of_no_layout_is_told_what_there_is(stage, tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match=r"got no files .*docs/scans\.md"):
        stage("settings").scans(["train"])
    with pytest.raises(InputError, match=r"settings must be of .*got depthscale"):
        registry.open_folder(tmp_path, depthscale=5000)


def test_a_folder_of_two_layouts_is_refused_until_one_is_named(stage, tmp_path):
    data, settings = tmp_path / "data", stage("settings")
    write_scannet(data)
    write_capture(data / "desk")
    with pytest.raises(InputError, match="got one of scannet and posed_rgbd"):
        settings.scans(["train"])
    with flagsaver.flagsaver(dataset="posed_rgbd"):
        assert [scan.name for scan in settings.scans(["train"])] == ["desk"]


def test_a_scan_and_a_folder_of_scans_are_told_apart(stage, tmp_path):
    data, settings = tmp_path / "data", stage("settings")
    write_capture(data / "desk")
    one = flagsaver.flagsaver(data_root=str(data / "desk"))
    with one, pytest.raises(InputError, match="give the folder that it lies in"):
        settings.scans(["train"])
    with pytest.raises(InputError, match="It holds scans: give one"):
        registry.open_folder(data)


@pytest.mark.parametrize("name", ["absent", "file"])
def test_a_named_data_set_needs_a_folder(stage, tmp_path, name):
    (tmp_path / "file").write_text("")
    values = {"dataset": "posed_rgbd", "data_root": str(tmp_path / name)}
    wrong = pytest.raises(InputError, match="a folder of scans is required")
    with flagsaver.flagsaver(**values), wrong:
        stage("settings").scans(["train"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scenes": ["desk", "dsk"]}, r"--scenes must name .*got dsk "),
        ({"dataset": "scannet"}, "at least one scene .*split train or test"),
        ({"teachers": []}, "--teachers must name"),
    ],
)
def test_no_scene_and_no_teacher_is_an_error(stage, tmp_path, values, message):
    write_capture(tmp_path / "data" / "desk")
    (tmp_path / "lists" / "splits").mkdir(parents=True)
    for split in ("train", "test"):
        (tmp_path / "lists" / "splits" / f"{split}.txt").write_text("")
    if "dataset" in values:
        values = {**values, "data_root": str(tmp_path / "lists")}
    with flagsaver.flagsaver(**values), pytest.raises(InputError, match=message):
        stage("settings").scans(["train", "test"])
        stage("settings").check_teachers()


def write_capture(folder):
    write_frame(folder, 0, np.eye(4))
    np.savetxt(folder / "intrinsic.txt", INTRINSICS)


def test_a_module_that_python_does_not_find_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(registry.DATASETS, "mine", "my_scans:Mine")
    with pytest.raises(InputError, match=r"got my_scans of the entry.*PYTHONPATH"):
        registry.of_root(tmp_path)


@pytest.mark.parametrize("place", ["scans/scene0000_00", "scan"])
def test_rooms_are_not_written_between_scans_of_others(
    root, tmp_path, monkeypatch, place
):
    monkeypatch.syspath_prepend(str(root / "experiments"))
    rooms = importlib.import_module("make_rooms")
    (tmp_path / place).mkdir(parents=True)
    if place == "scan":
        write_capture(tmp_path / place)
    with flagsaver.flagsaver(data_root=str(tmp_path)):
        flags.FLAGS.mark_as_parsed()
        with pytest.raises(InputError, match="a folder of rooms, or a new one"):
            rooms.main()
