"""The script proposes instances once, and writes what people hand in and look at."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scene_files import write_scannet
from text_spaces import in_minilm, point_features

from sas_jax.artefacts.features import save_features
from sas_jax.errors import WeightsMissing
from sas_jax.instances.files import load_instances
from sas_jax.scenes.mesh_files import read_mesh
from sas_jax.text import registry
from sas_jax.text.prompts import prompts

NAME = "scene0000_00"


@pytest.fixture
def data(tmp_path):
    write_scannet(tmp_path / "data")
    (tmp_path / "data" / "splits").mkdir()
    (tmp_path / "data" / "splits" / "val.txt").write_text(f"{NAME}\n")
    return tmp_path


def segment(root, data, *arguments):
    command = [
        *(sys.executable, "experiments/segment_instances.py", "--splits=val"),
        *(f"--data_root={data}/data", f"--workspace={data}/run"),
        *("--proposal_min_points=1", "--proposal_max_share=1", *arguments),
    ]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True,
                          text=True, timeout=120)  # fmt: skip


def test_without_features_it_says_which_stage_comes_first(root, data):
    done = segment(root, data)
    assert done.returncode == 1
    assert "fuse_features" in done.stderr and "Traceback" not in done.stderr


def test_proposals_submission_and_meshes(root, data):
    try:
        tower = registry.load("minilm-l6-v2")
    except WeightsMissing as absent:
        pytest.skip(str(absent))
    feat = tower.encode(prompts(["bed", "chair"]))[[1, 0, 1, 1]].astype(np.float16)
    index, ones = np.arange(4, dtype=np.int32), np.ones(4, np.int32)
    features = in_minilm(point_features(feat, index, ones, 4))
    save_features(data / f"run/fused/capability/{NAME}.safetensors", features, key="k")
    targets = f"--submission={data}/sub", f"--meshes={data}/meshes"
    done = segment(root, data, *targets)
    assert done.returncode == 0, done.stderr
    path = data / "run/instances/proposals" / f"{NAME}.npz"
    found = load_instances(path)
    assert found.num_points == 4 and len(found) >= 1
    assert (data / "sub" / f"{NAME}.txt").read_text().count("\n") <= len(found)
    mesh = read_mesh(data / "meshes" / f"{NAME}.ply")
    assert len(mesh.points) == 4 and mesh.colors is not None
    before = path.stat().st_mtime_ns
    assert segment(root, data).returncode == 0
    assert path.stat().st_mtime_ns == before
    assert segment(root, data, "--proposals=1").returncode == 0
    assert path.stat().st_mtime_ns != before


def fused(data):
    """Write a fused feature for each vertex."""
    rows = np.eye(4, 384, dtype=np.float16)
    index, ones = np.arange(4, dtype=np.int32), np.ones(4, np.int32)
    features = in_minilm(point_features(rows, index, ones, 4))
    save_features(data / f"run/fused/capability/{NAME}.safetensors", features, key="k")


def test_masks_vote_and_are_part_of_the_key(root, data):
    fused(data)
    path = data / "run/instances/proposals" / f"{NAME}.npz"
    votes = "--mask_votes=rooms-mask", "--weights=rooms-mask=random:0"
    times = []
    for asked in (), votes, votes:
        done = segment(root, data, *asked)
        assert done.returncode == 0, done.stderr
        times.append(path.stat().st_mtime_ns)
    assert times[0] != times[1] == times[2]
    dense = "--mask_votes=rooms-dense", "--weights=rooms-dense=random:0"
    done = segment(root, data, *dense)
    assert done.returncode == 1 and "Correct --mask_votes" in done.stderr


def test_a_checkpoint_that_is_not_there_is_named(root, data):
    done = segment(root, data, f"--mask3d={data}/none.ckpt")
    assert done.returncode == 1
    assert "none.ckpt" in done.stderr and "--mask3d=random:0" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("named", [False, True])
def test_mask3d_proposes_without_weights(root, data, named):
    kept = ["--mask3d_classes"] if named else []
    done = segment(root, data, "--mask3d=random:0", "--name=theirs", *kept)
    assert done.returncode == 0, done.stderr
    found = load_instances(data / "run/instances/theirs" / f"{NAME}.npz")
    assert found.num_points == 4
    assert (found.classes >= 0).all() == named or not len(found)
