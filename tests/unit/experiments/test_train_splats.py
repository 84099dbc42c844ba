"""The script trains Gaussians of a scan once, scores them, and says what is wrong."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from scene_files import write_scannet

from sas_jax.gaussians.files.formats import read_splats

NAME = "scene0000_00"


@pytest.fixture
def data(tmp_path):
    write_scannet(tmp_path / "data", num_frames=5)
    return tmp_path


def train(root, data, *arguments):
    command = [
        *(sys.executable, "experiments/train_splats.py", f"--scene={NAME}"),
        *(f"--data_root={data}/data", f"--workspace={data}/run"),
        *("--image_size=32,24", "--splat_steps=2", "--held_out_every=2", *arguments),
    ]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True,
                          text=True, timeout=300)  # fmt: skip


def test_a_scene_is_trained_once_and_scored(root, data):
    pose = data / f"data/scans/{NAME}/pose/0.txt"
    np.savetxt(pose, np.full((4, 4), np.nan))
    done = train(root, data)
    assert done.returncode == 0, done.stderr
    names, row = (line.split() for line in done.stdout.strip().splitlines()[-2:])
    assert "PSNR" in names and row[:4] == [NAME, "2", "2", "1"]
    folder = data / "run/splats"
    files = sorted(path.name for path in folder.iterdir() if path.is_file())
    endings = ("json", "ply", "png")
    assert [f for f in files if f[0] != "."] == [f"{NAME}.{e}" for e in endings]
    splats = read_splats(folder / f"{NAME}.ply")
    assert len(splats) == 4 and splats.degree == 1
    assert Image.open(folder / f"{NAME}.png").width == 2 * 32 + 4
    told = json.loads((folder / f"{NAME}.json").read_text())["data"]
    assert told["skipped"] == 1 and 0 < told["PSNR dB"] < 60
    before = (folder / f"{NAME}.ply").stat().st_mtime_ns
    again = train(root, data)
    assert again.stdout.splitlines()[-1] == done.stdout.splitlines()[-1]
    assert (folder / f"{NAME}.ply").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--frame_stride=9", "a frame to train on and one to hold out are required"),
        ("--image_size=10,8", "11 pixels or more along each side are required"),
        ("--scene=none", "--scene must name a scan"),
        ("--splat_steps=0", "splat_steps >= 1"),
        ("--splat_seeds=1", "splat_seeds >= 2"),
    ],
)
def test_bad_input_is_one_line(root, data, flag, said):
    done = train(root, data, flag)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert said in done.stderr.splitlines()[-1]
