"""Runs are known by the settings that they keep, whatever their folders are called."""

import sys

import pytest
from absl import flags
from absl.testing import flagsaver

from sas_jax.artefacts.files import write_json
from sas_jax.artefacts.workspace import Workspace
from sas_jax.distill.train import CONFIG_SCHEMA

RUNS = {
    "b": {"seed": 0, "epochs": 9},
    "full-seed3": {"seed": 3, "epochs": 9},
    "plain": {"seed": 0, "self_distillation": 0.0},
    "full-seed0": {"seed": 0, "self_distillation": 0.0, "epochs": 8},
    "points": {"seed": 0, "level": "point"},
    "other scenes": {"seed": 1, "level": "point", "scenes": {"b": "2"}},
}


@pytest.fixture
def runs(root, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "experiments"))
    import trained_runs

    for name, train in RUNS.items():
        train = {"level": "superpoint", "self_distillation": 0.3, **train}
        scenes = train.pop("scenes", {"a": "1"})
        Workspace(tmp_path).checkpoints(name).mkdir(parents=True)
        path = Workspace(tmp_path).run(name) / "config.json"
        write_json(
            path, {"train": train, "scenes": scenes}, key="k", schema=CONFIG_SCHEMA
        )
    with flagsaver.flagsaver():
        flags.FLAGS(["x", f"--workspace={tmp_path}"])
        trained_runs._config.cache_clear()
        yield trained_runs
    sys.modules.pop("trained_runs")


def test_seeds_of_one_student_are_one_method(runs):
    names = [f"student/{run}" for run in RUNS]
    names += ["student/b+superpoints", "ensemble/full-seed3", "fused/add"]
    names += ["student/away@other", "student/rooms_student.safetensors"]
    found = runs.methods(names)
    assert found["student/b"] == found["student/full-seed3"] == "student/full"
    assert found["student/b+superpoints"] == "student/full+superpoints"
    assert found["ensemble/full-seed3"] == "ensemble/full"
    # two kinds of students without ensembling: neither is the one of Table 3
    assert found["student/plain"] == "student/plain"
    assert found["student/full-seed0"] == "student/full-seed0"
    assert found["student/points"] != found["student/other scenes"]  # not of a seed
    for name in names[-3:]:
        assert found[name] == name


def test_variants_are_told_by_settings(runs):
    assert [runs.variant(run) for run in ("b", "full-seed0", "points", "none")] == [
        *("full", "superpoint", "point", None)
    ]
