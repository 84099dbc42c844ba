"""A new teacher with its text space, and a new synthesizer: a file and a line each."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from scene_files import write_ply, write_scannet

from sas_jax.artefacts.features import load_features

pytest.importorskip("torch")

TESTS = pathlib.Path(__file__).parents[2]
SCENE, TEACHERS = "scene0000_00", ("colours", "rooms-dense", "rooms-mask")

# In one process of its own: flags live once per process, and so do tables.
SCRIPT = """
import sys
sys.path[:0] = ["experiments", "tests"]
from absl import flags
from sas_jax.capability import registry as capability
from sas_jax.errors import InputError
from sas_jax.teachers import registry as teachers
from sas_jax.text import registry as towers

teachers.ENTRIES["colours"] = teachers.Entry("dense", "second_teacher:load", ())
towers.TOWERS["letters"] = "second_teacher:load_tower"
capability.SYNTHESIZERS["discs"] = "second_synthesizer:load"

import extract_features, fuse_features, measure_capability

FLAGS = flags.FLAGS
FLAGS(["test", *sys.argv[1:]])
run = FLAGS.workspace
extract_features.main()
for teacher in FLAGS.teachers:
    FLAGS(["test", f"--teachers={teacher}", f"--workspace={run}/{teacher}"])
    extract_features.main()

FLAGS(["test", "--teachers=colours,rooms-dense", f"--workspace={run}"])
measure_capability.main()
for strategy in ("capability", "add", "linear"):
    FLAGS(["test", f"--strategy={strategy}"])
    try:
        fuse_features.main()
        sys.exit(f"{strategy}: fused what lives in two text spaces")
    except InputError as error:
        print("refused:", error)
FLAGS(["test", "--strategy=single"])
fuse_features.main()
FLAGS(["test", "--teachers=colours", "--strategy=capability"])
fuse_features.main()
"""


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory):
    """Run the stages on a wall that three cameras see; return workspace and output."""
    folder = tmp_path_factory.mktemp("models")
    scan = write_scannet(folder / "data", SCENE)
    grid = np.stack(np.meshgrid(np.linspace(-1, 3, 40), np.linspace(-1, 1, 20)), -1)
    points = np.concatenate([grid.reshape(-1, 2), np.full((800, 1), 2)], 1)
    write_ply(scan / f"{SCENE}_vh_clean_2.ply", points.astype(np.float32))
    flags = [
        f"--data_root={folder}/data",
        f"--workspace={folder}/run",
        f"--scenes={SCENE}",
        f"--teachers={','.join(TEACHERS)}",
        "--image_size=64,48",
        "--synthesizer=discs",
        "--diffusion_steps=3",
        "--images_per_class=1",
        "--teacher_px=64",
        "--border_px=2",
        "--threads=1",
    ]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *flags],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "run", done.stdout


def test_each_is_one_file_of_at_most_sixty_lines():
    for name in ("second_teacher", "second_synthesizer"):
        assert len((TESTS / f"{name}.py").read_text().splitlines()) <= 60


def test_a_teachers_file_is_the_same_whatever_its_company(finished):
    run, _ = finished
    for teacher in TEACHERS:
        file = pathlib.Path("features") / teacher / f"{SCENE}.safetensors"
        alone = (run / teacher / file).read_bytes()
        assert (run / file).read_bytes() == alone
        assert len(load_features(run / file).feat) > 100


def test_a_new_synthesizer_measures_every_teacher(finished):
    run, _ = finished
    for teacher in ("colours", "rooms-dense"):
        table = json.loads((run / "capability" / f"{teacher}.json").read_text())["data"]
        assert table["facts"]["synthesizer"] == {"model": "discs", "steps": 3}
        assert table["facts"]["masks"]["threshold"] == 0.5
    assert not (run / "capability" / "quality.json").exists()  # it has no judge


def test_two_text_spaces_are_refused_and_one_alone_is_fused(finished):
    run, output = finished
    refused = [line for line in output.splitlines() if line.startswith("refused:")]
    assert len(refused) == 3
    for line in refused:
        assert "one text space is required" in line
        assert "letters (48-d" in line and "minilm-l6-v2 (384-d" in line
    for name in ("single-colours", "capability"):
        fused = load_features(run / "fused" / name / f"{SCENE}.safetensors")
        assert fused.space.name == "letters" and np.isfinite(fused.feat).all()
    assert not (run / "fused" / "add" / f"{SCENE}.safetensors").exists()
