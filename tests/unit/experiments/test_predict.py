"""predict.py writes the classes of a whole scan: as PLY, in LAS and LAZ."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from geometry_files import las, room
from scene_files import write_scannet
from text_spaces import in_minilm, point_features

from sas_jax.artefacts.features import save_features
from sas_jax.artefacts.workspace import name_of_place
from sas_jax.errors import WeightsMissing
from sas_jax.scenes.las import read_header
from sas_jax.scenes.ply_elements import read_elements
from sas_jax.text import registry
from sas_jax.text.prompts import prompts

NAME = "scene0000_00"


@pytest.fixture(scope="module")
def tower():
    try:
        return registry.load("minilm-l6-v2")
    except WeightsMissing as absent:
        pytest.skip(str(absent))


@pytest.fixture
def world(tmp_path, tower):
    """A scan of four points: a bed, two chairs, one that nobody saw."""
    write_scannet(tmp_path / "data")
    feat = tower.encode(prompts(["bed", "chair", "chair"])).astype(np.float16)
    index, ones = np.arange(3, dtype=np.int32), np.ones(3, np.int32)
    features = in_minilm(point_features(feat, index, ones, 4))
    path = tmp_path / f"run/fused/capability/{NAME}.safetensors"
    save_features(path, features, key="k")
    return tmp_path


def predict(root, folder, *arguments, scene=NAME):
    done = subprocess.run(
        [sys.executable, str(root / "experiments" / "predict.py"),
         f"--data_root={folder}/data", f"--workspace={folder}/run",
         f"--scene={scene}", *arguments],
        env={**os.environ, "PYTHONPATH": f"{root}:{root / 'experiments'}"},
        cwd=folder, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    return done


def test_a_mesh_gets_colours_and_labels(root, world):
    done = predict(root, world, "--source=fused", "--nosuperpoint_scores")
    assert done.returncode == 0, done.stderr
    (path,) = (world / "run" / "classes").rglob("*.ply")
    place, who, _ = path.relative_to(world / "run" / "classes").parts
    assert place == name_of_place(world / "data" / "scans" / NAME)
    assert who.startswith("fused-capability-rooms-dense-rooms-mask-")
    found = read_elements(path)
    note = json.loads(path.with_name("classes.ply.json").read_text())
    names = [row["name"] for row in note["classes"]]
    assert [row["label"] for row in note["classes"]] == list(range(20))
    bed, chair = names.index("bed"), names.index("chair")
    np.testing.assert_array_equal(found["vertex"]["label"], [bed, chair, chair, -1])
    assert found["vertex"]["label"].dtype == np.int32
    colors = np.stack([found["vertex"][c] for c in ("red", "green", "blue")], axis=1)
    np.testing.assert_array_equal(colors[0], note["classes"][bed]["color"])
    assert "face" in found
    assert note["no_class"] == {"label": -1, "points": 1}
    assert [note["classes"][i]["points"] for i in (bed, chair)] == [1, 2]


def test_any_names_may_be_asked_for(root, world):
    out = world / "mine.las"
    given = ("--classes=lamp,chair", f"--out={out}", "--nosuperpoint_scores")
    done = predict(root, world, "--source=fused", *given)
    assert done.returncode == 0, done.stderr
    note = json.loads((world / "mine.las.json").read_text())
    assert [(row["name"], row["las"]) for row in note["classes"]] == [
        ("lamp", 64),
        ("chair", 65),
    ]
    with out.open("rb") as file:
        header = read_header(file)
        file.seek(header.at)
        rows = np.frombuffer(file.read(), np.uint8).reshape(4, header.length)
    assert rows[1:, 16].tolist() == [65, 65, 1]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--classes=chair,chair"], "must hold each name once, got chair twice"),
        (["--classes=chair,"], "names with a word are required"),
        (["--out=a.obj"], "--out must end in .ply, .las, .laz, got a.obj"),
        (["--label_set=none"], "a label set must be one of"),
    ],
)
def test_wrong_flags_are_told(root, world, flags, said):
    done = predict(root, world, "--source=fused", *flags)
    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1]
    assert not (world / "run" / "classes").exists()


def test_a_scanners_file_is_written_again(root, tmp_path, tower):
    pytest.importorskip("lazrs")
    points, colors, _ = room()
    scan = tmp_path / "scan.laz"
    scan.write_bytes(las(points, colors, compressed=True))
    done = predict(root, tmp_path, "--student=rooms", scene=scan)
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "run" / "classes").rglob("classes.laz")
    with path.open("rb") as file:
        assert read_header(file).points == len(points)
    note = json.loads(path.with_name("classes.laz.json").read_text())
    counts = {row["name"]: row["points"] for row in note["classes"]}
    assert counts["floor"] > 0 and counts["wall"] > 0
    assert sum(counts.values()) + note["no_class"]["points"] == len(points)
