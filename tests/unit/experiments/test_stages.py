"""Superpoints and fusion of whole scenes, and the two scripts around them."""

import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest
from scene_files import write_ply, write_scannet
from text_spaces import in_minilm, point_features, space

from sas_jax import memory
from sas_jax.artefacts import features as store
from sas_jax.artefacts import files
from sas_jax.artefacts.superpoints import load_superpoints, save_superpoints
from sas_jax.datasets.scannet import ScanNet
from sas_jax.errors import InputError
from sas_jax.fusion.fuse import FuseConfig, fuse
from sas_jax.fusion.stage import CAPABILITY, fuse_scene, fused_key, load_capability
from sas_jax.scenes.scene import Scene
from sas_jax.superpoints.config import SuperpointConfig
from sas_jax.superpoints.segment import segment_mesh, segment_points
from sas_jax.superpoints.stage import segment_scene, superpoint_key


def write_features(path, value, num_points=4, seen=(0, 1, 3), key="k"):
    feat = np.full((len(seen), 3), value, np.float16)
    index = np.array(seen, np.int32)
    counts = np.ones(len(seen), np.int32)
    features = point_features(feat, index, counts, num_points)
    store.save_features(path, features, key=key)
    return features


def test_scenes_with_and_without_a_mesh():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(50, 3)).astype(np.float32)
    normals = points / np.linalg.norm(points, axis=1, keepdims=True)
    faces = rng.integers(0, 50, (40, 3)).astype(np.int32)
    config = SuperpointConfig(0.05, 5, 4)
    with_mesh = Scene("m", points, faces=faces)
    np.testing.assert_array_equal(
        segment_scene(with_mesh, config),
        segment_mesh(points, faces, k_threshold=0.05, min_vertices=5),
    )
    cloud = Scene("c", points, normals=normals)
    np.testing.assert_array_equal(
        segment_scene(cloud, config),
        segment_points(points, normals, neighbors=4, k_threshold=0.05, min_vertices=5),
    )
    keys = {
        superpoint_key("mesh", config),
        superpoint_key("cloud", config),
        superpoint_key("mesh", SuperpointConfig(0.05, 6, 4)),
    }
    assert len(keys) == 3


def test_capability_tables(tmp_path):
    path = tmp_path / "a.json"
    data = {"miou": {"x": 0.5, "y": 0.25}, "text_space": space(3).id}
    files.write_json(path, data, key="k", schema=CAPABILITY)
    table = load_capability({"a": path}, ["y", "other", "x"], space(3))
    np.testing.assert_array_equal(table, [[0.25, 0, 0.5]])
    with pytest.raises(InputError, match=r"got none for z.*a\.json"):
        load_capability({"a": path}, ["x", "z"], space(3))
    with pytest.raises(InputError, match=r"got other .* and test .*a\.json"):
        load_capability({"a": path}, ["x"], space(3, "other"))
    files.write_json(path, {"miou": {"x": 1}}, key="k", schema=CAPABILITY)
    with pytest.raises(InputError, match=r"text space.*got none.*a\.json"):
        load_capability({"a": path}, ["x"], space(3))


def test_fused_scene_at_both_levels_and_its_key(tmp_path):
    paths = {n: tmp_path / f"{n}.safetensors" for n in "ab"}
    loaded = {
        n: write_features(p, v) for (n, p), v in zip(paths.items(), (1, 3), strict=True)
    }
    config = FuseConfig("add")
    points = fuse_scene(paths, None, None, None, config)
    expected = fuse(loaded, None, None, config)
    np.testing.assert_array_equal(points.feat, expected.feat)
    superpoints = tmp_path / "s.safetensors"
    save_superpoints(superpoints, np.array([0, 0, 1, 2], np.int32), key="s")
    means = fuse_scene(paths, superpoints, None, None, config)
    np.testing.assert_array_equal(means.counts, [2, 0, 1])
    np.testing.assert_array_equal(means.feat[:, 0], [2, 0, 2])

    def key(superpoints=None, config=config, paths=paths):
        return fused_key(paths, superpoints, None, None, config)

    keys = {key(), key(superpoints), key(config=FuseConfig("add", tau=1.0))}
    keys.add(key(paths={"b": paths["b"], "a": paths["a"]}))
    assert len(keys) == 4 and key() in keys
    write_features(paths["a"], 2)
    assert key() not in keys
    with pytest.raises(InputError, match="manifest"):
        key(tmp_path / "absent.safetensors")


def test_features_that_do_not_fit_the_memory_are_not_read(tmp_path, monkeypatch):
    paths = {n: tmp_path / f"{n}.safetensors" for n in "ab"}
    for path in paths.values():
        write_features(path, 1)
    monkeypatch.setattr(memory, "available_bytes", lambda: 100)
    monkeypatch.delattr("sas_jax.fusion.stage.load_features")
    with pytest.raises(InputError, match=r"features of 2 teachers.*Thin the points"):
        fuse_scene(paths, None, None, None, FuseConfig("add"))


def run_script(root, name, *arguments):
    return subprocess.run(
        [sys.executable, f"experiments/{name}.py", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def data(tmp_path):
    write_scannet(tmp_path / "data")
    (tmp_path / "data" / "splits").mkdir()
    (tmp_path / "data" / "splits" / "val.txt").write_text("scene0000_00\n")
    return tmp_path


def flags_of(data):
    return f"--data_root={data}/data", f"--workspace={data}/run", "--splits=val"


def test_make_superpoints_makes_once(root, data):
    path = data / "run" / "superpoints" / "scene0000_00.safetensors"
    for made in ("1", "0"):
        done = run_script(root, "make_superpoints", *flags_of(data))
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[1].split()[:4] == ["1", made, "1", "4"]
    scene = ScanNet().open(data / "data" / "scans" / "scene0000_00")
    np.testing.assert_array_equal(load_superpoints(path), segment_scene(scene))
    path.write_bytes(path.read_bytes()[:-1])  # damaged: made again, not read
    done = run_script(root, "make_superpoints", *flags_of(data))
    assert done.stdout.splitlines()[1].split()[1] == "1", done.stderr


def test_a_scene_that_is_up_to_date_is_neither_read_nor_hashed(root, data):
    scan = data / "data" / "scans" / "scene0000_00"
    mesh = scan / "scene0000_00_vh_clean_2.ply"
    long_ago = time.time_ns() - 100 * 10**9
    os.utime(mesh, ns=(long_ago, long_ago))
    done = run_script(root, "make_superpoints", *flags_of(data))
    assert done.returncode == 0, done.stderr
    mesh.write_bytes(b"x" * mesh.stat().st_size)  # as if nothing had happened
    os.utime(mesh, ns=(long_ago, long_ago))
    done = run_script(root, "make_superpoints", *flags_of(data))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split()[:4] == ["1", "0", "1", "4"]
    done = run_script(root, "make_superpoints", *flags_of(data), "--verify")
    assert done.returncode == 1 and "error: ply:" in done.stderr


def test_fuse_features_makes_once_and_tells_what_is_missing(root, data):
    arguments = (*flags_of(data), "--teachers=a,b", "--strategy=add")
    done = run_script(root, "fuse_features", *arguments)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("experiments/extract_features.py")
    for name in "ab":
        folder = data / "run" / "features" / name
        write_features(folder / "scene0000_00.safetensors", 1.5)
    for made in ("1", "0"):
        done = run_script(root, "fuse_features", *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1].split()[:4] == ["add", "1", made, "0"]
    path = data / "run" / "fused" / "add" / "scene0000_00.safetensors"
    assert (store.load_features(path).feat == 1.5).all()
    done = run_script(root, "fuse_features", *arguments, "--level=superpoint")
    assert done.returncode == 1 and "superpoints" in done.stderr.splitlines()[-1]


def test_a_scene_that_one_teacher_or_none_sees_is_fused(root, data):
    arguments = (*flags_of(data), "--teachers=a,b", "--strategy=add")
    features = data / "run" / "features"
    path = data / "run" / "fused" / "add" / "scene0000_00.safetensors"
    write_features(features / "b" / "scene0000_00.safetensors", 1.5, seen=())
    for seen in ((0, 3), ()):  # the second replaces what the first left
        write_features(features / "a" / "scene0000_00.safetensors", 2.5, seen=seen)
        done = run_script(root, "fuse_features", *arguments)
        assert done.returncode == 0, done.stderr
        np.testing.assert_array_equal(store.load_features(path).point_index, seen)


def evaluate(root, data, *arguments):
    return run_script(root, "evaluate", *flags_of(data), *arguments)


def test_scores_are_of_one_split_and_of_methods_that_were_made(root, data):
    features = data / "run" / "features"
    feat = np.zeros((4, 384), np.float16)
    whole = point_features(feat, np.arange(4, dtype=np.int32), np.ones(4, np.int32), 4)
    path = features / "a" / "scene0000_00.safetensors"
    store.save_features(path, in_minilm(whole), key="k")
    (data / "run" / "train" / "begun" / "checkpoints").mkdir(parents=True)
    done = evaluate(root, data, "--eval_split=val")
    assert done.returncode == 0, done.stderr
    assert "without a checkpoint yet: begun" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("teacher/a")
    scores = data / "run" / "eval"
    assert [p.relative_to(scores) for p in scores.rglob("*.json")] == [
        pathlib.Path("val/teacher-a.json")
    ]
    done = evaluate(root, data, "--eval_split=val", "--methods=teacher/b")
    assert done.returncode == 1
    assert "features of every scene are required" in done.stderr.splitlines()[-1]
    done = evaluate(root, data, "--eval_split=val", "--methods=student/begun")
    assert done.returncode == 1 and "checkpoint" in done.stderr.splitlines()[-1]


def save_again(folder):
    """Write a scan's mesh and labels in another order, as an editor may."""
    scene, order = ScanNet().open(folder), np.array([2, 0, 3, 1])
    stem = folder / f"{folder.name}_vh_clean_2"
    faces = np.argsort(order)[scene.faces]
    write_ply(f"{stem}.ply", scene.points[order], faces, colors=scene.colors[order])
    label = np.array([1, 39, 13, 0])[order]
    write_ply(f"{stem}.labels.ply", scene.points[order], faces, label=label)


def test_features_of_a_mesh_in_another_order_are_used_nowhere(root, data):
    folder = data / "data" / "scans" / "scene0000_00"
    arguments = (*flags_of(data), "--teachers=a", "--strategy=add")
    geometry = store.geometry_of(ScanNet().open(folder).points)
    features = point_features(
        np.eye(4, 384, dtype=np.float16),
        np.arange(4, dtype=np.int32),
        np.ones(4, np.int32),
        4,
        geometry=geometry,
    )
    features = in_minilm(features)
    path = data / "run" / "features" / "a" / "scene0000_00.safetensors"
    store.save_features(path, features, key="k")
    done = run_script(root, "make_superpoints", *arguments)
    assert done.returncode == 0, done.stderr
    done = run_script(root, "fuse_features", *arguments)
    assert done.returncode == 0, done.stderr
    fused = data / "run" / "fused" / "add" / "scene0000_00.safetensors"
    assert store.load_features(fused).geometry == geometry
    save_again(folder)
    asked = (*arguments, "--source=fused", f"--scene={folder}", "--text=a chair")
    for name, extra, stage in (
        ("evaluate", (*arguments, "--eval_split=val"), "make_superpoints"),
        ("query", asked, "extract_features"),
        ("fuse_features", (*arguments, "--tau=1"), "extract_features"),
    ):
        done = run_script(root, name, *extra)
        assert done.returncode == 1, (name, done.stdout)
        line = done.stderr.splitlines()[-1]
        assert line.startswith("error: ") and "another geometry" in line
        assert f"experiments/{stage}.py" in line


def test_scenes_without_labels_are_not_scored(root, data):
    labels = "scene0000_00_vh_clean_2.labels.ply"
    (data / "data" / "scans" / "scene0000_00" / labels).unlink()
    done = evaluate(root, data, "--eval_split=val")
    assert done.returncode == 1
    assert "scenes with labels are required" in done.stderr.splitlines()[-1]


def test_flag_typos_and_damaged_scenes_are_one_line(root, data):
    done = run_script(root, "make_superpoints", "--rooot=x")
    assert done.returncode != 0 and "rooot" in done.stderr
    mesh = data / "data" / "scans" / "scene0000_00" / "scene0000_00_vh_clean_2.ply"
    mesh.write_bytes(b"")
    done = run_script(root, "make_superpoints", *flags_of(data))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ply:")
