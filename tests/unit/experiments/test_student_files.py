"""A run's student leaves its workspace as a file, and the scripts take that file."""

import importlib
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from scene_files import write_scannet
from tiny_scenes import boxes, encoded, tiny_config

from sas_jax.distill import setup, start, step
from sas_jax.distill.checkpoint import Checkpoints
from sas_jax.distill.config import RunConfig
from sas_jax.distill.history import History
from sas_jax.distill.step import create_state
from sas_jax.distill.train import _write_config
from sas_jax.errors import InputError, WeightsMissing
from sas_jax.models import shipped
from sas_jax.models.config import StudentConfig
from sas_jax.models.student_card import read_card
from sas_jax.models.student_file import read_student
from sas_jax.text import minilm_files

NAME = "scene0000_00"


def write_run(folder):
    """Write a run that has done no step."""
    rows = np.eye(2, minilm_files.DIM, dtype=np.float32)
    config = tiny_config(student=StudentConfig("MinkUNet14S", out_dim=minilm_files.DIM))
    classes = encoded(("wall", "floor"), rows, minilm_files.SPACE)
    source = boxes(1)
    run = RunConfig(progress=False)
    # The boxes' features have other channels; nothing is learned from them here.
    prepared = setup.TrainSetup(
        *(config, run, classes, {source[0].name: "key"}),
        *(None, None, None, step.make_network(config), ()),
    )
    state = create_state(prepared.network, config)
    checkpoints = Checkpoints(folder / "checkpoints")
    checkpoints.save(
        start.to_checkpoint(prepared, state, History()), {"stage": 1, "rank": 1}
    )
    checkpoints.close()
    _write_config(folder, prepared)
    return state


def call(root, folder, script, *arguments):
    return subprocess.run(
        [
            *(sys.executable, str(root / "experiments" / f"{script}.py")),
            *(f"--data_root={folder}/data", f"--workspace={folder}/run", *arguments),
        ],
        env={**os.environ, "PYTHONPATH": f"{root}:{root / 'experiments'}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_student_is_written_to_a_file_that_answers(root, tmp_path):
    try:
        minilm_files.model_folder()
    except WeightsMissing as absent:
        pytest.skip(str(absent))
    write_scannet(tmp_path / "data")
    splits = tmp_path / "data" / "splits"
    splits.mkdir()
    (splits / "val.txt").write_text(NAME)
    state = write_run(tmp_path / "run" / "train" / "first")
    out = tmp_path / "out" / "first.safetensors"
    export = ("export_student", "--eval_split=val", "--run=first", f"--out={out}")
    done = call(root, tmp_path, *export)
    assert done.returncode == 0, done.stderr
    assert "without scores" in done.stdout and "MinkUNet14S" in done.stdout
    assert read_card(out).scores == {}
    done = call(root, tmp_path, "evaluate", "--eval_split=val", f"--student={out}")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[-2:]]
    assert [row[0] for row in rows] == ["student/first", "student/first.safetensors"]
    done = call(root, tmp_path, *export)
    assert done.returncode == 0, done.stderr
    card = read_card(out)
    assert f"{card.scores['val mIoU']:.1f}" == rows[0][2]
    elsewhere = (
        f"--workspace={tmp_path}/other",
        f"--student={tmp_path}/run/train/first",
    )
    done = call(root, tmp_path, "evaluate", "--eval_split=val", *elsewhere)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["student/first@run", *rows[0][1:]]
    assert card.data == "1 scene, box0" and card.class_names[0] == "wall"
    student = read_student(out)
    np.testing.assert_array_equal(
        student.variables["params"]["bn0"]["scale"], state.params["bn0"]["scale"]
    )
    ask = (f"--student={out}", f"--scene={NAME}", "--text=a chair")
    done = call(root, tmp_path, "query", *ask)
    assert done.returncode == 0, done.stderr
    kept = tmp_path / "run" / "scene_features" / "first.safetensors"
    assert (kept / f"{NAME}.safetensors").exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [("full-seed0", "ends in .safetensors"), ("x.safetensors", "complete safetensors")],
)
def test_what_is_no_students_file_is_refused(root, tmp_path, value, message):
    write_scannet(tmp_path / "data")
    ask = (f"--student={value}", f"--scene={NAME}", "--text=a chair")
    done = call(root, tmp_path, "query", *ask)
    assert done.returncode == 1
    assert message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("run", ["rooms", "own.safetensors"])
@pytest.mark.parametrize("script", ["train", "query", "export_student"])
def test_a_run_has_no_name_of_another_student(root, tmp_path, script, run):
    extra = {
        "query": [f"--scene={NAME}", "--text=a chair"],
        "export_student": [f"--out={tmp_path}/x.safetensors"],
    }
    write_scannet(tmp_path / "data")
    done = call(root, tmp_path, script, f"--run={run}", *extra.get(script, []))
    assert done.returncode == 1 and not (tmp_path / "run" / "train").exists()
    assert "--run must be another name than that of" in done.stderr, done.stderr


def test_a_named_run_answers_whatever_student_a_flagfile_names(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "experiments"))
    names = importlib.import_module("student_names")
    importlib.import_module("stage_flags")
    with flagsaver.flagsaver(student="rooms"):
        flags.FLAGS.mark_as_parsed()
        assert names.chosen() == str(shipped.find("rooms"))
        flags.FLAGS["run"].parse("mine")
        assert names.chosen() == "mine"


def test_another_precision_is_another_student(root, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "experiments"))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # settings has its own
    students = importlib.import_module("students")
    write_run(tmp_path / "train" / "mine")
    found = []
    for precision in ("f32", "bf16"):
        with flagsaver.flagsaver(workspace=str(tmp_path), student_precision=precision):
            flags.FLAGS.mark_as_parsed()
            found.append([students.state("rooms"), students.state("mine")])
    assert [[*state, "bf16"] for state in found[0]] == found[1]


def test_whose_weights_to_begin_with(root, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "experiments"))
    names = importlib.import_module("student_names")
    importlib.import_module("stage_flags")
    with flagsaver.flagsaver(workspace=str(tmp_path), run="new"):
        flags.FLAGS.mark_as_parsed()
        assert names.begun_from("") is names.begun_from(None) is None
        assert names.begun_from("rooms") == shipped.find("rooms")
        assert names.begun_from("x/y.safetensors") == pathlib.Path("x/y.safetensors")
        for wrong in ("roms", "my/roms"):
            with pytest.raises(InputError, match=f"rooms, which .*got '{wrong}'"):
                names.begun_from(wrong)
        write_run(tmp_path / "train" / "old")
        checkpoints = tmp_path / "train" / "old" / "checkpoints"
        for name in ("old", str(checkpoints), str(checkpoints.parent)):
            assert names.begun_from(name) == checkpoints
        write_run(tmp_path / "train" / "new")  # goes on; the other one may be gone
        assert names.begun_from("gone").parent.name == "gone"
