"""Gaussians are labelled, asked and cut by the scripts; no property is lost."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from scene_files import write_scannet
from text_spaces import in_minilm, point_features

from sas_jax.errors import WeightsMissing
from sas_jax.gaussians.files.formats import read_splats, write_splats
from sas_jax.gaussians.files.sidecar import load_sidecar, save_beside
from sas_jax.gaussians.splats import checked_splats
from sas_jax.scenes.ply_elements import read_elements
from sas_jax.scenes.ply_write import write_ply
from sas_jax.text import registry


def run(root, script, folder, *arguments):
    done = subprocess.run(
        [sys.executable, str(root / "experiments" / script), *arguments,
         f"--workspace={folder}/run", f"--data_root={folder}/data"],
        env={**os.environ, "PYTHONPATH": f"{root}:{root / 'experiments'}"},
        cwd=folder, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    return done


def gaussians(means, seed=0):
    rng = np.random.default_rng(seed)
    num = len(means)
    return checked_splats(
        means.astype(np.float32),
        np.full((num, 3), 0.02),
        rng.normal(size=(num, 4)),
        rng.uniform(0.5, 1, num),
        rng.normal(0, 0.2, (num, 4, 3)),
        "here",
    )


@pytest.fixture(scope="module")
def tower():
    try:
        return registry.load("minilm-l6-v2")
    except WeightsMissing as absent:
        pytest.skip(str(absent))


@pytest.fixture
def splats(tmp_path, tower):
    """A file, y down as 3DGS leaves it: a floor, a sofa on it, one thing of an editor.

    Its Gaussians are in any order.
    """
    rng = np.random.default_rng(0)
    floor = rng.uniform([0, 1.4, 0], [4, 1.42, 3], (600, 3))
    sofa = rng.uniform([1, 0.8, 1], [1.8, 1.3, 1.6], (150, 3))
    order = rng.permutation(750)
    means = np.concatenate([floor, sofa])[order]
    path = tmp_path / "made.ply"
    write_splats(path, gaussians(means))
    columns = read_elements(path)["vertex"]
    columns["rot_1"] = columns["rot_1"] * np.float32(3)
    columns["group"] = rng.integers(0, 9, 750).astype(np.uint8)
    path = tmp_path / "splat.ply"
    write_ply(path, means, properties=columns)
    is_sofa = order >= 600
    texts = tower.encode(["a floor", "a sofa"])[is_sofa.astype(int)]
    ones, index = np.ones(750, np.int32), np.arange(750, dtype=np.int32)
    features = in_minilm(point_features(texts.astype(np.float16), index, ones, 750))
    save_beside(path, features, read_splats(path))
    return path, np.flatnonzero(is_sofa)


def test_an_answer_is_cut_out_with_all_that_the_file_says(root, splats):
    path, sofa = splats
    done = run(root, "query.py", path.parent, f"--scene={path}", "--text=sofa")
    assert done.returncode == 0, done.stderr
    assert "lifted" in done.stdout
    (note,) = (path.parent / "run" / "queries").rglob("*.json")
    (region,) = json.loads(note.read_text())["regions"]
    assert region["points"] == len(sofa)
    whole = read_elements(path)["vertex"]
    cut = read_elements(note.with_name("object1.ply"))["vertex"]
    assert cut.keys() == whole.keys()
    for name, column in whole.items():
        np.testing.assert_array_equal(cut[name], column[sofa], name)
    heat = read_splats(note.with_name("heat.ply"))
    assert heat.degree == 0
    np.testing.assert_array_equal(heat.means, read_splats(path).means)
    red, blue = heat.sh[sofa, 0, 0], np.delete(heat.sh[:, 0, 0], sofa)
    assert red.min() > blue.max()


def test_other_formats_are_asked_and_cut_as_plain_files(root, splats):
    path, _ = splats
    packed = path.with_name("packed.spz")
    write_splats(packed, read_splats(path))
    done = run(
        *(root, "query.py", path.parent, f"--scene={packed}", "--text=a floor"),
        *("--source=student", "--answer_by=relevancy"),
    )
    assert done.returncode == 0, done.stderr
    (plain,) = (path.parent / "run" / "splats").glob("packed-*.ply")
    assert len(read_splats(plain)) == 750
    (cut,) = (path.parent / "run" / "queries").rglob("*cut*.ply")
    assert 0 < len(read_splats(cut)) <= 750
    packed.write_bytes(packed.read_bytes()[:-40])
    done = run(root, "query.py", path.parent, f"--scene={packed}", "--text=a floor")
    assert done.returncode == 1
    assert str(packed) in done.stderr and "Traceback" not in done.stderr


def test_features_of_other_gaussians_are_refused(root, splats):
    path, _ = splats
    other = path.with_name("other.ply")
    write_splats(other, gaussians(np.random.default_rng(1).normal(size=(750, 3))))
    done = run(
        *(root, "query.py", path.parent, f"--scene={other}", "--text=sofa"),
        f"--features={path}.features.safetensors",
    )
    assert done.returncode == 1
    assert "another geometry" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("way", ["blend", "center"])
def test_what_a_teacher_sees_labels_gaussians(root, tmp_path, way):
    pytest.importorskip("torch")
    write_scannet(tmp_path / "data")
    rng = np.random.default_rng(0)
    means = rng.uniform([-0.5, -0.5, 2], [0.5, 0.5, 2.03], (200, 3))
    means[::50, 2] = -5  # behind every camera
    write_splats(tmp_path / "a.ply", gaussians(means))
    done = run(
        *(root, "label_splats.py", tmp_path, f"--splats={tmp_path}/a.ply"),
        *("--scene=scene0000_00", "--teachers=rooms-dense", "--strategy=single"),
        *(f"--out={tmp_path}/b.ply", f"--lift={way}", "--image_size=64,48", "--paint"),
    )
    assert done.returncode == 0, done.stderr
    labelled, space = load_sidecar(tmp_path / "b.ply", read_splats(tmp_path / "b.ply"))
    assert space.dim == labelled.features.shape[1]
    unseen = ~labelled.features.any(axis=1)
    assert unseen[::50].all() and unseen.mean() < 0.5
    np.testing.assert_array_equal(labelled.labels == -1, unseen)
    assert labelled.labels.max() < 20
    colors = np.unique(labelled.sh[:, 0].round(4), axis=0)
    assert len(colors) == len(np.unique(labelled.labels))
