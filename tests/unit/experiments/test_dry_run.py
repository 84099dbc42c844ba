"""Flagfiles resolve; a dry run tells and trains.

Flags live once per process and in `experiments`: subprocesses keep them apart.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from scene_files import write_scannet
from tiny_scenes import tiny_config

from sas_jax.distill.rehearsal import rehearse, room

SETS = ("scannet", "matterport", "replica", "scannetpp", "nuscenes")
RESOLVE = """
import json, sys
sys.path.insert(0, "experiments")
import dry_run, pipeline, stage_flags, train
from absl import flags
from absl.testing import flagsaver
from flagfiles import expanded

@flagsaver.flagsaver
def row(*names):
    flags.FLAGS(["x", *expanded([f"--flagfile={name}" for name in names])])
    stage_flags.check()
    config = train.config(512)
    assert "training" in dry_run.resolved(config)
    fuse = stage_flags.FUSE.make()
    stages = [name for name, _, _ in pipeline._stages()]
    return [fuse.strategy, fuse.teacher, stage_flags.STUDENTS.value, stages,
            config.level, config.self_distillation, config.voxel_size_m,
            stage_flags.EXTRACT.make().image_size_wh, stage_flags.TEACHERS.value]

print(json.dumps({" ".join(names): row(*names) for names in json.loads(sys.argv[1])}))
"""


def run(root, *arguments, code=None, script="train"):
    start = ["-c", code] if code else [str(root / "experiments" / f"{script}.py")]
    return subprocess.run(
        [sys.executable, *start, *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{root}:{root / 'experiments'}"},
        capture_output=True,
        text=True,
        timeout=280,
    )


def test_every_flagfile_resolves(root):
    asked = [[f"{name}.flags"] for name in SETS]
    done = run(root, json.dumps(asked), code=RESOLVE)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    for name in SETS:
        fuse, _, _, stage_names, *_ = rows[f"{name}.flags"]
        assert fuse == "capability" and "evaluation" in stage_names
    assert rows["matterport.flags"][7] == [640, 512]


@pytest.mark.parametrize("name", SETS)
def test_a_flagfile_says_row_score_hardware_and_one_flag_a_line(root, name):
    text = (root / f"{name}.flags").read_text()
    head = text[: text.index("\n--")]
    assert all(word in head for word in ("paper", "hours", "experiments/"))
    for line in text.splitlines():
        assert line.startswith(("# ", "--")) and len(line) <= 90


def test_a_dry_run_says_what_is_missing_and_trains_two_steps(root, tmp_path):
    places = (f"--data_root={tmp_path}/data", f"--workspace={tmp_path}/run")
    small = ("--dry_run_points=600", "--batch_size=2", "--arch=MinkUNet14S")
    small += ("--self_distillation=0",)  # one stage compiles
    done = run(root, "--flagfile=scannet.flags", *places, *small, "--dry_run")
    assert done.returncode == 0, done.stderr
    assert "make_rooms" not in done.stdout
    for said in (
        "student.arch = MinkUNet14S",
        f"missing: {tmp_path}/data must hold the data set: scans/<id>/",
        "demo_e200.ckpt",
        "seem_focall_v0.pt",
        "2 generated scenes of 600 points (of 150,000, as ScanNet has",
        "seconds of a step",
    ):
        assert said in done.stdout, said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", SETS)
def test_without_weights_stages_run_to_where_they_are_missing(root, tmp_path, name):
    pytest.importorskip("torch", reason="the teachers' half needs [teachers]")
    folder = write_scannet(tmp_path / "data")
    for split in ("train", "val", "test"):
        path = tmp_path / "data" / "splits" / f"{split}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(folder.name)
    own = ("--dataset=scannet", "--label_set=scannet20", "--min_vertices=1")
    places = (f"--data_root={tmp_path}/data", f"--workspace={tmp_path}/run")
    command = [f"--flagfile={name}.flags", *own, *places]
    done = run(root, *command, script="pipeline")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    missing = "saved_model.pb" if name == "nuscenes" else "demo_e200.ckpt"
    assert missing in done.stderr and "extract_features.py" in done.stderr
    cut = tmp_path / "run" / "superpoints" / f"{folder.name}.safetensors"
    assert cut.exists() is (name != "nuscenes")


def test_what_memory_is_too_short_for_is_said(monkeypatch):
    rng = np.random.default_rng(0)
    clouds = [room(500, 0.1, rng) for _ in range(2)]
    assert all(cloud.shape == (500, 3) for cloud in clouds)
    assert clouds[0].min() >= 0 and clouds[0][:, 2].max() <= 2.6 + 1e-6
    monkeypatch.setattr("sas_jax.memory.available_bytes", lambda: 2_000_000)
    found = rehearse(tiny_config(), clouds, superpoints=False)
    assert found.seconds is None and "are required" in found.short
    assert found.step_bytes > found.free_bytes and found.bucket.points >= 1000
