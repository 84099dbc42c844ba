"""The script query.py on a tiny scan: what it refuses, where it writes."""

import dataclasses
import json
import os
import subprocess
import sys
import types

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from scene_files import INTRINSICS, write_frame, write_scannet
from text_spaces import in_minilm, point_features, space

from sas_jax.artefacts import features as store
from sas_jax.artefacts.features import Features
from sas_jax.artefacts.workspace import name_of_place
from sas_jax.datasets import registry
from sas_jax.errors import InputError, WeightsMissing
from sas_jax.scenes.scene import Scene
from sas_jax.text import kept_texts, minilm_files
from sas_jax.text.tower import kept_file

NAME = "scene0000_00"
WHO = "fused-capability-rooms-dense-rooms-mask-superpoints"

try:
    minilm_files.model_folder()
except WeightsMissing as absent:
    pytest.skip(str(absent), allow_module_level=True)


@pytest.fixture
def world(tmp_path):
    """A scan with fused features of its four points."""
    write_scannet(tmp_path / "data")
    rng = np.random.default_rng(0)
    features = point_features(
        rng.normal(size=(4, 384)).astype(np.float16),
        np.arange(4, dtype=np.int32),
        np.ones(4, np.int32),
        4,
    )
    path = tmp_path / "run" / "fused" / "capability" / f"{NAME}.safetensors"
    store.save_features(path, in_minilm(features), key="k")
    return tmp_path


def ask(root, folder, *arguments, scene=NAME, cwd=None, **variables):
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'experiments'}"}
    return subprocess.run(
        [
            *(sys.executable, str(root / "experiments" / "query.py")),
            *(f"--data_root={folder}/data", f"--workspace={folder}/run"),
            *(f"--scene={scene}", "--source=fused", *arguments),
        ],
        env=environment | variables,
        cwd=cwd,
        capture_output=True,
        timeout=120,
        check=False,
    )


def written(folder):
    """Return the folders of answers, below that of who answered about which place."""
    queries = folder / "run" / "queries"
    found = sorted(queries.rglob("answer.json"))
    place = name_of_place(folder / "data" / "scans" / NAME)
    for path in found:
        where, who, _ = path.parent.relative_to(queries).parts
        assert where == place and who.startswith(f"{WHO}-")
    return [path.parent.name for path in found]


def test_an_answer_is_written_before_it_is_printed(root, world):
    sofa = "sofa \u6c99\u53d1"
    done = ask(root, world, f"--text={sofa}", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr.decode()
    assert rb"sofa \u6c99\u53d1" in done.stdout
    (path,) = written(world)
    assert path.startswith("sofa_")


@pytest.mark.slow
def test_a_tower_of_random_weights_answers_for_the_other_half(
    root, world, tmp_path, monkeypatch
):
    """What PyTorch encodes with `random:<seed>`, JAX finds by the space's id."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from sas_jax.teachers import clip_text

    tower = clip_text.load("clip-vit-b32", weights="random:0")
    rows = tower.encode(["a lamp", "a wall", "a red sofa", "a bed"]).astype(np.float16)
    index, counts = np.arange(4, dtype=np.int32), np.ones(4, np.int32)
    features = point_features(rows, index, counts, 4)
    features = dataclasses.replace(features, space=tower.space)
    path = world / "run" / "fused" / "capability" / f"{NAME}.safetensors"
    store.save_features(path, features, key="k")
    cache = tmp_path / "cache"
    done = ask(root, world, "--text=a red sofa", SAS_JAX_CACHE=str(cache))
    assert done.returncode == 0, done.stderr.decode()
    monkeypatch.setenv("SAS_JAX_CACHE", str(cache))
    kept = kept_texts.read(kept_file(tower.space), tower.space)
    (text,) = [text for text in kept if "red sofa" in text]
    np.testing.assert_allclose(kept[text], tower.encode([text])[0], rtol=0, atol=1e-6)


def test_superpoints_are_cut_for_the_answer_and_kept(root, world):
    done = ask(root, world, "--text=a sofa", "--superpoint_scores", "--min_vertices=1")
    assert done.returncode == 0, done.stderr
    assert (world / "run" / "superpoints" / f"{NAME}.safetensors").exists()


def test_nothing_is_answered_where_no_word_is_known(root, world):
    for texts, said in (
        (["a chair", "", " "], "must hold a word, got none"),
        (["a chair", "\u6c99\u53d1"], 'none in "\u6c99\u53d1".'),
    ):
        done = ask(root, world, *(f"--text={text}" for text in texts))
        assert done.returncode == 1
        assert said in done.stderr.decode().splitlines()[-1]
        assert written(world) == []


def test_every_question_has_a_file_of_its_own(root, world):
    texts = ["a chair", "a_chair", "a-chair", "../chair", "chair/..", "A chair"]
    done = ask(root, world, *(f"--text={text}" for text in texts))
    assert done.returncode == 0, done.stderr.decode()
    assert len(written(world)) == len(texts) - 1  # letters' case makes no difference
    outside = {p.name for p in (world / "run").iterdir()}
    assert outside == {"fused", "queries", "stamps", "superpoints"}
    # Four points are no region: nothing is drawn that would look like an answer.
    assert not list((world / "run" / "queries").rglob("*.ply"))


def test_a_scene_is_named_by_its_folder(root, world, monkeypatch):
    folder = world / "data" / "scans" / NAME
    done = ask(root, world, "--text=a chair", scene="..", cwd=folder / "color")
    assert done.returncode == 0, done.stderr.decode()
    assert written(world) == ["a_chair"]
    monkeypatch.chdir(folder / "color")
    for path in ("..", "../.", f"../../{NAME}", f"../../{NAME}/color/.."):
        assert registry.open_folder(path).name == NAME


@pytest.mark.parametrize(
    ("flag", "value"),
    [("eval_split", "../val"), ("scenes", "../scans"), ("run", ".."), ("run", "")],
)
def test_names_in_flags_lead_nowhere_else(root, monkeypatch, flag, value):
    monkeypatch.syspath_prepend(str(root / "experiments"))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # settings has its own
    import settings
    import students

    if flag == "run":
        with pytest.raises(InputError, match="--run must be a plain name"):
            students.scene_features(value, Scene("s", np.zeros((1, 3), np.float32)))
        return
    with flagsaver.flagsaver(**{flag: [value] if flag == "scenes" else value}):
        flags.FLAGS.mark_as_parsed()
        wrong = "a plain name" if flag == "eval_split" else "name a scan"
        with pytest.raises(InputError, match=f"--{flag} must .*{wrong}"):
            settings.labelled_scans()


def test_a_capture_is_read_once_for_all_questions(root, world):
    folder = world / "capture"
    for i in range(4):
        pose = np.array([[1, 0, 0, i], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
        write_frame(folder, i, pose)
    np.savetxt(folder / "intrinsic.txt", INTRINSICS)
    scene = registry.open_folder(folder, frame_stride=2)
    count = len(scene.points)
    features = point_features(
        np.ones((count, 384), np.float16),
        np.arange(count, dtype=np.int32),
        np.ones(count, np.int32),
        count,
        geometry=store.geometry_of(scene.points),
    )
    name = name_of_place(folder)
    path = world / "run" / "fused" / "capability" / f"{name}.safetensors"
    store.save_features(path, in_minilm(features), key="k")
    for bars in (True, False):
        arguments = ("--text=a chair", "--frame_stride=2")
        done = ask(root, world, *arguments, scene=folder)
        assert done.returncode == 0, done.stderr.decode()
        assert f"capture: {count:,} points of 2 frames" in done.stdout.decode()
        assert (b"2/2" in done.stderr) == bars
    done = ask(root, world, "--text=a chair", scene=folder)
    assert done.returncode == 1  # all four frames give more points
    assert b"features: those of the scene's" in done.stderr.splitlines()[-1]


def write_checkpoint(folder, step):
    """Write files as a complete checkpoint has them."""
    for item in ("state", "text", "run"):
        (folder / str(step) / item).mkdir(parents=True)
        (folder / str(step) / item / "data").write_text("data")
    record = {"item_handlers": {}, "commit_timestamp_nsecs": step}
    (folder / str(step) / "_CHECKPOINT_METADATA").write_text(json.dumps(record))


def test_kept_features_are_of_the_checkpoint_that_could_be_read(
    root, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(str(root / "experiments"))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # settings has its own
    import students

    scene, asked = Scene("room", np.zeros((2, 3), np.float32)), []

    class Predictor:
        def __init__(self, step):
            self.student = types.SimpleNamespace(step=step)

        def features(self, points):
            asked.append(self.student.step)
            feat = np.full((1, 4), self.student.step, np.float32)
            row = np.zeros(2, np.int32)
            return Features(feat, row, np.ones(1, np.int32), space(4), "voxel")

    def features(readable):
        monkeypatch.setattr(students, "_predictor", lambda run: Predictor(readable))
        return int(students.scene_features("r", scene).feat[0, 0])

    folder = tmp_path / "train" / "r" / "checkpoints"
    with flagsaver.flagsaver(workspace=str(tmp_path)):
        flags.FLAGS.mark_as_parsed()
        write_checkpoint(folder, 3)
        assert features(3) == 3 and features(3) == 3
        write_checkpoint(folder, 5)  # its files look complete
        assert features(3) == 3 and asked == [3]
        assert features(5) == 5  # copied again
        (folder / "9").mkdir()
        assert features(5) == 5 and asked == [3, 5]
        assert students.trained() == (["r"], [])
        (tmp_path / "train" / "s" / "checkpoints" / "9").mkdir(parents=True)
        assert students.trained() == (["r"], ["s"])
        with pytest.raises(InputError, match="got no complete checkpoint"):
            students.state("s")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0"])
def test_a_scene_needs_a_name_for_its_files(name):
    with pytest.raises(InputError, match="a name that can be a file's"):
        Scene(name, np.zeros((1, 3), np.float32))


def test_a_link_keeps_its_own_name(tmp_path):
    folder = write_scannet(tmp_path / "elsewhere")
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / NAME).symlink_to(folder)
    assert registry.open_folder(tmp_path / "scans" / NAME).name == NAME
