"""Stages whose scenes go to workers leave the files of one process, byte for byte."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scene_files import INTRINSICS, write_frame

from sas_jax.errors import WeightsMissing
from sas_jax.text import minilm_files

pytest.importorskip("torch", reason="the teachers' half needs the extra [teachers]")
try:
    minilm_files.model_folder()
except WeightsMissing as absent:
    pytest.skip(str(absent), allow_module_level=True)

SHARED = ("--teachers=rooms-dense,rooms-mask", "--vocabulary=scannet20")
SCENES = "--scenes=short,long"
QUICK = ("--images_per_class=1", "--diffusion_steps=1", "--pseudo_quality_images=0")


def write_capture(folder, frames):
    """Write frames that look along y at a wall, 2 m away."""
    for i in range(frames):
        pose = np.array([[1, 0, 0, i], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
        write_frame(folder, i, pose)
    np.savetxt(folder / "intrinsic.txt", INTRINSICS)


def run(root, folder, script, *extra):
    """Run a stage in a folder, in which all paths are."""
    done = subprocess.run(
        [sys.executable, str(root / "experiments" / f"{script}.py"), *SHARED, *extra],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def artefacts(folder):
    """Return the bytes of what a stage left, without stamps of its files."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    paths = [path for path in paths if not {".claims", "stamps"} & {*path.parts}]
    kept = [path for path in paths if path.name[0] != "."]
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


@pytest.fixture(scope="module")
def folder(root, tmp_path_factory):
    """Two scans, with what one process makes of them in the workspace `a`."""
    folder = tmp_path_factory.mktemp("scans")
    for name, frames in (("short", 1), ("long", 3)):
        write_capture(folder / name, frames)
    for script in ("make_superpoints", "extract_features"):
        run(root, folder, script, SCENES, "--workspace=a", "--threads=1")
    return folder


@pytest.mark.parametrize(
    "ray", [None, pytest.param("--ray=local", marks=pytest.mark.slow)]
)
def test_workers_extract_what_one_process_does(root, folder, ray):
    if ray is not None:
        pytest.importorskip("ray", reason="workers on Ray need the extra [ray]")
    extra = ("--threads=2", "--workers=2", f"--workspace=b{ray}")
    extra = (*extra, *([ray] if ray else []))
    said = run(root, folder, "extract_features", SCENES, *extra)
    files = artefacts(folder / "a" / "features")
    assert len([name for name in files if name.endswith(".safetensors")]) == 4
    assert artefacts(folder / f"b{ray}" / "features") == files
    rows = [line.split() for line in said.splitlines() if line]
    assert [row[:4] for row in rows[1:3]] == [
        ["rooms-dense", "2", "0", "0"],
        ["rooms-mask", "2", "0", "0"],
    ]
    assert rows[4][:3] == ["2", "4", "0"]  # scenes, frames


def test_workers_cut_what_one_process_does(root, folder):
    extra = (SCENES, "--workspace=c", "--workers=2")
    said = run(root, folder, "make_superpoints", *extra)
    files = artefacts(folder / "a" / "superpoints")
    assert len([name for name in files if name.endswith(".safetensors")]) == 2
    assert artefacts(folder / "c" / "superpoints") == files
    assert said.splitlines()[-1].split()[:2] == ["2", "2"]  # scenes, made


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_workers_measure_what_one_process_does(root, tmp_path):
    for workspace, workers in ("a", "--threads=1"), ("b", "--workers=2"):
        extra = (*QUICK, workers, f"--workspace={workspace}")
        run(root, tmp_path, "measure_capability", *extra)
    files = artefacts(tmp_path / "a" / "capability")
    assert len([n for n in files if n.endswith(".safetensors")]) == 20 + 2 * 20
    assert artefacts(tmp_path / "b" / "capability") == files
