"""Instances in files are scored by a script, with and without names."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scene_files import write_scannet
from text_spaces import in_minilm, point_features

from sas_jax.artefacts.features import save_features
from sas_jax.errors import WeightsMissing
from sas_jax.instances import files, masks, scores, submission
from sas_jax.scenes.labels import SCANNET20
from sas_jax.text import registry
from sas_jax.text.prompts import prompts

NAME = "scene0000_00"
OTHER = SCANNET20.classes.names.index("other furniture")


@pytest.fixture
def data(tmp_path):
    """One scan: of its four points, the second is all there is of other furniture."""
    write_scannet(tmp_path / "data")
    (tmp_path / "data" / "splits").mkdir()
    (tmp_path / "data" / "splits" / "val.txt").write_text(f"{NAME}\n")
    return tmp_path


def evaluate(root, data, *arguments):
    done = subprocess.run(
        [
            *(sys.executable, "experiments/evaluate.py", f"--data_root={data}/data"),
            *(f"--workspace={data}/run", "--eval_split=val", "--min_region=1"),
            *arguments,
        ],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done


def shown(done):
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    start = next(i for i, line in enumerate(lines) if line.startswith("instances"))
    return [line.split() for line in lines[start + 1 :]]


def test_files_of_both_kinds(root, data):
    found = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1]], bool)
    instances = masks.of_masks(found, np.array([0.5, 0.75, 0.25]), [OTHER, OTHER, 0])
    submission.write_submission(data / "sub", NAME, instances, SCANNET20)
    kept = data / "run" / "instances" / "ours" / f"{NAME}.npz"
    files.save_instances(kept, instances.chosen(np.array([0, 2])))
    rows = shown(evaluate(root, data, f"--instances=ours,{data}/sub"))
    # A wall is not scored, and what lies in the void is ignored.
    perfect = ["100.0"] * 6
    assert rows == [["ours", "1", *perfect, "2", "1"], ["sub", "2", *perfect, "3", "1"]]
    kept = scores.load(data / "run/eval/val/instances/sub.json")
    assert kept.scenes == (NAME,) and kept.named.mean() == (1, 1, 1)


def test_what_is_missing_is_told(root, data):
    for name, words in (("none", "not there"), (f"{data}/data", f"{NAME}.txt")):
        done = evaluate(root, data, f"--instances={name}")
        assert done.returncode == 1
        assert "error: evaluate: " in done.stderr and words in done.stderr


def test_true_masks_are_named(root, data):
    try:
        tower = registry.load("minilm-l6-v2")
    except WeightsMissing as absent:
        pytest.skip(str(absent))
    feat = tower.encode(prompts(["other furniture", "chair"]))[[1, 0, 1, 1]]
    index, ones = np.arange(4, dtype=np.int32), np.ones(4, np.int32)
    features = in_minilm(point_features(feat.astype(np.float16), index, ones, 4))
    path = data / "run" / "features" / "a" / f"{NAME}.safetensors"
    save_features(path, features, key="k")
    (row,) = shown(evaluate(root, data, "--instances=truth"))
    # The mask with the second point has the first one, too: half a chair.
    assert row[0] == "truth+teacher/a" and row[-2:] == ["2", "0"]
    rows = shown(evaluate(root, data, "--instances=truth", "--naming=topk"))
    assert int(rows[0][-1]) == 4 and rows[0][-2] == "2"  # walls and floors drop out
