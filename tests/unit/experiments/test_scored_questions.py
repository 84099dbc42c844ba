"""evaluate.py asks questions of features and says how good the answers are."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scene_files import write_scannet
from text_spaces import in_minilm, point_features

from sas_jax.artefacts.features import load_features, save_features
from sas_jax.errors import WeightsMissing
from sas_jax.text import registry
from sas_jax.text.prompts import prompts

NAME = "scene0000_00"


@pytest.fixture
def data(tmp_path):
    write_scannet(tmp_path / "data")
    (tmp_path / "data" / "splits").mkdir()
    (tmp_path / "data" / "splits" / "val.txt").write_text(f"{NAME}\n")
    try:
        tower = registry.load("minilm-l6-v2")
    except WeightsMissing as absent:
        pytest.skip(str(absent))
    feat = tower.encode(prompts(["bed", "chair"]))[[1, 0, 1, 1]].astype(np.float16)
    index, ones = np.arange(4, dtype=np.int32), np.ones(4, np.int32)
    features = in_minilm(point_features(feat, index, ones, 4))
    path = tmp_path / f"run/fused/capability/{NAME}.safetensors"
    save_features(path, features, key="k")
    return tmp_path


def ask(root, data, questions, *arguments):
    own = data / "own.csv"
    own.write_text(f"text,kind,classes\n{questions}")
    command = [
        *(sys.executable, "experiments/evaluate.py", f"--questions={own}"),
        *(f"--data_root={data}/data", f"--workspace={data}/run"),
        *("--eval_split=val", *arguments),
    ]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True,
                          text=True, timeout=120)  # fmt: skip


@pytest.mark.parametrize("by", ["auto", "relevancy"])
def test_what_is_not_there_is_counted(root, data, by):
    # Four vertices are too few to be looked for; whatever is absent is asked for.
    done = ask(root, data, "a bicycle,absent,\na dog,absent,\n", f"--answer_by={by}")
    assert done.returncode == 0, done.stderr
    (row,) = (line for line in done.stdout.splitlines() if "fused/" in line)
    # Regions have twenty points or more, so nothing is found here.
    assert row.split() == ["fused/capability", "0", "-", "-", "-", "-", "2", "0.0"]


@pytest.mark.parametrize("some", [[], [f"--scenes={NAME}"]])
def test_scores_of_chosen_scenes_alone_are_not_kept(root, data, some):
    done = ask(root, data, "a bicycle,absent,\n", *some)
    assert done.returncode == 0, done.stderr
    kept = list((data / "run" / "eval").rglob("questions/*.json"))
    assert bool(kept) == (not some)


def test_a_class_that_the_label_set_lacks_is_named(root, data):
    done = ask(root, data, "a horse,name,horse\n")
    assert done.returncode == 1
    assert "line 2" in done.stderr and "Traceback" not in done.stderr


def test_features_that_other_teachers_made_are_not_mixed_in(root, data):
    write_scannet(data / "data", "scene0001_00")
    (data / "data" / "splits" / "val.txt").write_text(f"{NAME}\nscene0001_00\n")
    first = data / f"run/fused/capability/{NAME}.safetensors"
    other = first.with_name("scene0001_00.safetensors")
    save_features(other, load_features(first), key="k", meta={"teachers": "a,b,c"})
    done = ask(root, data, "a bed,name,bed\n")
    assert done.returncode == 1
    assert "got some of others" in done.stderr and "of a,b,c" in done.stderr
    save_features(first, load_features(first), key="k", meta={"teachers": "a,b,c"})
    assert "of a,b,c" not in ask(root, data, "a bed,name,bed\n").stderr
