"""Teachers of transformers as users run them: flags, folders, extraction and fusion."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scene_files import write_ply, write_scannet

from sas_jax.artefacts.features import load_features
from sas_jax.text import registry

pytest.importorskip("torch")

SCENE = "scene0000_00"
TEACHERS = ("siglip2", "clipseg")

# In one process: each of them imports half of the world.
SCRIPT = """
import sys
sys.path[:0] = ["experiments"]
from absl import flags
import extract_features, fuse_features

flags.FLAGS(["test", *sys.argv[1:]])
extract_features.main()
fuse_features.main()
"""


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory):
    """Two tiny models in the folder of weights, a wall, and its fused features."""
    import tiny_towers

    folder = tmp_path_factory.mktemp("photo")
    tiny_towers.siglip2(folder / "weights" / "siglip2")
    tiny_towers.clipseg(folder / "given")
    scan = write_scannet(folder / "data", SCENE)
    grid = np.stack(np.meshgrid(np.linspace(-1, 3, 40), np.linspace(-1, 1, 20)), -1)
    points = np.concatenate([grid.reshape(-1, 2), np.full((800, 1), 2)], 1)
    write_ply(scan / f"{SCENE}_vh_clean_2.ply", points.astype(np.float32))
    flags = [
        f"--data_root={folder}/data",
        f"--workspace={folder}/run",
        f"--scenes={SCENE}",
        f"--teachers={','.join(TEACHERS)}",
        f"--weights=clipseg={folder}/given",
        "--siglip2_short_side=64",
        "--clipseg_side=64",
        "--strategy=add",
        "--image_size=64,48",
        "--border_px=2",
        "--threads=1",
    ]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *flags],
        cwd=root,
        env={
            **os.environ,
            "PYTHONPATH": str(root),
            "OMP_NUM_THREADS": "1",
            "SAS_JAX_WEIGHTS": str(folder / "weights"),
            "SAS_JAX_CACHE": str(folder / "cache"),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_each_has_features_in_the_space_of_the_first_dense_one(finished):
    found = [
        load_features(finished / "run" / "features" / name / f"{SCENE}.safetensors")
        for name in TEACHERS
    ]
    for features in found:
        assert len(features.feat) > 100 and np.isfinite(features.feat).all()
        assert features.space == found[0].space and features.space.dim == 32
    assert found[0].space.name == "siglip2-text"
    assert found[0].space.weights_sha256.startswith("sha256:")


def test_the_other_half_asks_what_is_fused(finished, monkeypatch):
    monkeypatch.setenv("SAS_JAX_WEIGHTS", str(finished / "weights"))
    monkeypatch.setenv("SAS_JAX_CACHE", str(finished / "cache"))
    registry._load.cache_clear()
    path = finished / "run" / "fused" / "add" / f"{SCENE}.safetensors"
    fused = load_features(path)
    tower = registry.of_space(fused.space, "the features")
    registry._load.cache_clear()
    scores = fused.feat.astype(np.float32) @ tower.encode(["a bed", "a red wall"]).T
    assert np.ptp(scores, axis=0).min() > 0.01
