"""Data sets in their own layouts go through every stage with the project's flags.

Each is written from a training and a test room with tiny frames; the teachers are the
small ones of the package. nuScenes is in test_outdoor.py.
"""

import os
import pathlib
import subprocess
import sys

import layout_files
import numpy as np
import pytest

from sas_jax.evaluation import protocol
from sas_jax.scenes.labels import label_set

pytest.importorskip("torch", reason="the teachers' half needs the extra [teachers]")
pytest.importorskip("embreex", reason="the rooms need the extra [rooms]")

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# Data set -> its writer and label set.
LAYOUTS = {
    "scannet": (layout_files.as_sens, "scannet20"),
    "matterport": (layout_files.as_matterport, "matterport21"),
    "replica": (layout_files.as_replica, "replica51"),
}
TINY = [
    "--splits=train,test",
    "--eval_split=test",
    "--teachers=rooms-dense,rooms-mask",
    "--captioner=colour-size",
    "--strategy=add",
    "--level=superpoint",
    "--min_vertices=20",
    "--frame_stride=1",
    "--image_size=120,96",
    "--border_px=1",
    "--occlusion_threshold=0.2",
    "--arch=MinkUNet14A",
    "--voxel_size_m=0.2",
    "--batch_size=1",
    "--epochs=2",
    "--loop=1",
    "--self_distillation=0.5",
    "--num_workers=0",
    "--run=small",
]
STAGES = ("extract_features", "make_superpoints", "fuse_features", "train", "evaluate")


def run(script: str, name: str, folder: pathlib.Path, *extra: str) -> str:
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "experiments" / f"{script}.py"),
            f"--flagfile={ROOT / f'{name}.flags'}",
            f"--data_root={folder / 'data'}",
            f"--workspace={folder / 'run'}",
            *TINY,
            *extra,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        check=False,
    )
    assert done.returncode == 0, f"{script}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_data_set_goes_through_every_stage(tmp_path, name):
    write, classes = LAYOUTS[name]
    _, room = write(tmp_path / "data")
    said = [run(script, name, tmp_path) for script in STAGES]
    assert "student/small" in said[-1] and "fused/add" in said[-1]
    scores = {
        who: protocol.load(next((tmp_path / "run/eval").rglob(f"{who}.json")))
        for who in ("student-small", "fused-add")
    }
    assert {found.label_set for found in scores.values()} == {classes}
    # The test room alone; of two steps a student knows nothing, but images answer for
    # most points: poses, depth, mesh and labels fit each other.
    ((scene, counts),) = scores["fused-add"].counts.items()
    assert "room0001_00" in scene and scene in scores["student-small"].counts
    assert np.trace(counts[:, :-1]) > 0.5 * counts.sum()
    # Votes of faces move borders only.
    wall = label_set(classes).classes.names.index("wall")
    there = np.count_nonzero(room.labels == 0)
    assert abs(counts[wall].sum() - there) < 0.01 * there
    answer = run("query", name, tmp_path, f"--scene={scene}", "--text=a wall")
    assert '"a wall"' in answer and "answered by: the student" in answer
    again = (f"--scene={scene}", "--text=a wall", "--source=fused")
    assert "being made" in run("query", name, tmp_path, *again)
    assert "being made" not in run("query", name, tmp_path, *again)
