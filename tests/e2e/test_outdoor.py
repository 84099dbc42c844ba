"""nuScenes in its own layout goes through every stage with the flags of the project.

Two scenes of two keyframes with tiny images, and the small teachers of the package.
"""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from outdoor_files import write_nuscenes

from sas_jax.artefacts.features import load_features
from sas_jax.datasets.nuscenes import NuScenes
from sas_jax.evaluation import protocol

pytest.importorskip("torch", reason="the teachers' half needs the extra [teachers]")

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TINY = [
    "--teachers=rooms-dense,rooms-mask",
    "--captioner=colour-size",
    "--strategy=add",
    "--image_size=64,36",
    "--border_px=1",
    "--arch=MinkUNet14A",
    "--voxel_size_m=0.2",
    "--batch_size=1",
    "--epochs=1",
    "--self_distillation=0",
    "--num_workers=0",
    "--run=outdoor",
]


def run(script: str, folder: pathlib.Path, *extra: str) -> str:
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "experiments" / script),
            f"--flagfile={ROOT / 'nuscenes.flags'}",
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
def test_nuscenes_goes_through_every_stage(tmp_path):
    data = write_nuscenes(tmp_path / "data")
    for script in ("extract_features.py", "fuse_features.py", "train.py"):
        run(script, tmp_path)
    table = run("evaluate.py", tmp_path)
    assert "student/outdoor" in table and "fused/add" in table
    found = protocol.load(next((tmp_path / "run/eval").rglob("student-outdoor.json")))
    assert found.label_set == "nuscenes16"
    assert list(found.counts) == ["scene-0103_00", "scene-0103_01"]
    # 400 points of the road and 400 of walls; points of earlier sweeps do not count.
    for counts in found.counts.values():
        np.testing.assert_array_equal(counts.sum(axis=1)[[10, 14]], [400, 400])
        assert counts.sum() == 800
    points = NuScenes().open(NuScenes().scan_path(data, "scene-0103_01")).points
    fused = load_features(tmp_path / "run/fused/add/scene-0103_01.safetensors", points)
    assert 500 < fused.seen.sum() < len(points)
    assert not (tmp_path / "run/superpoints").exists()
    path = NuScenes().scan_path(data, "scene-0103_01")
    for scene in ("scene-0103_01", str(path)):
        said = run("query.py", tmp_path, f"--scene={scene}", "--text=a road")
        assert '"a road"' in said
    answers = [path.parent.name for path in (tmp_path / "run/queries").rglob("*.json")]
    assert answers == ["a_road"]
