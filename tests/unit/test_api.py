"""What `import sas_jax` offers: lazily, documented, with examples that run."""

import dataclasses
import doctest
import importlib
import os
import subprocess
import sys

import numpy as np
import pytest
from scene_files import write_scannet
from text_spaces import in_minilm, point_features

import sas_jax
from sas_jax.artefacts.features import geometry_of, save_features
from sas_jax.datasets import registry
from sas_jax.errors import InputError, WeightsMissing
from sas_jax.scenes.labels import MATTERPORT21
from sas_jax.scenes.ply_write import write_ply
from sas_jax.teachers import registry as teachers
from sas_jax.text import minilm_files

SLOW = {"train", "extract", "measure_capability"}  # they start processes
DOCTEST = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
IMPORT = """
import sys, sas_jax
before = {"jax", "torch", "flax", "numpy", "sas_jax.api"} & set(sys.modules)
assert not before, before
from sas_jax import memory, open_scene
assert "torch" not in sys.modules
assert set(sas_jax.__all__) <= set(dir(sas_jax))
try:
    sas_jax.nothing
except AttributeError as error:
    print(error)
"""


def test_importing_loads_nothing_until_it_is_used(root):
    done = subprocess.run(
        [sys.executable, "-c", IMPORT],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "module 'sas_jax' has no attribute 'nothing'\n"


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the examples name: a scan, features of it, a student's file, a folder."""
    try:
        minilm_files.model_folder()
    except WeightsMissing as absent:
        pytest.skip(str(absent))
    folder = tmp_path_factory.mktemp("api")
    scan = write_scannet(folder / "data")
    geometry = geometry_of(sas_jax.open_scene(scan).points)
    rows, rng = np.arange(4, dtype=np.int32), np.random.default_rng(0)

    def features():
        feat = rng.normal(size=(4, 384)).astype(np.float16)
        made = point_features(feat, rows, np.ones(4, np.int32), 4, geometry=geometry)
        return in_minilm(made)

    return {
        "scan": str(scan),
        "a": features(),
        "b": features(),
        "folder": str(folder / "run"),
        "student": str(write_random_student(folder / "student.safetensors")),
    }


def write_random_student(path):
    """Write a student that has learned nothing, in the space of MiniLM."""
    from fresh_student import init_student

    from sas_jax.models.config import StudentConfig
    from sas_jax.models.student import Student
    from sas_jax.models.student_file import write_student

    config = StudentConfig("MinkUNet14S", out_dim=minilm_files.DIM)
    texts = np.eye(2, minilm_files.DIM, dtype=np.float32)
    names = ("wall", "chair")
    student = Student(
        config, init_student(config, 0), 0.1, texts, minilm_files.SPACE, names, 0
    )
    write_student(path, student)
    return path


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in sas_jax.__all__
    ],
)
def test_every_verb_has_an_example_that_runs(names, name, monkeypatch):
    from sas_jax import api

    monkeypatch.setattr(teachers, "ENTRIES", dict(teachers.ENTRIES))
    monkeypatch.setenv(teachers.OWN, "")

    verb = getattr(api, name)
    assert verb.__doc__ and verb.__doc__.splitlines()[0].endswith(".")
    examples = doctest.DocTestFinder().find(verb, name, globs=dict(names))
    if verb.__module__.startswith(f"{api.__name__}."):
        assert sum(len(found.examples) for found in examples) > 1
    for example in examples:
        runner = doctest.DocTestRunner(optionflags=DOCTEST)
        assert runner.run(example).failed == 0


def test_the_verbs_are_those_of_the_module():
    from sas_jax import api

    assert sorted(api.__all__) == sorted(sas_jax.__all__)
    assert sas_jax.fuse is api.fuse and sas_jax.open_scene is api.open_scene


def test_the_axis_of_a_mesh_that_points_up_is_z(tmp_path):
    path, points = tmp_path / "a.ply", np.array([[1, 2, 3], [0, 1, 0]], np.float32)
    up = {"nx": np.float32([0, 0]), "ny": np.float32([1, 1]), "nz": np.float32([0, 0])}
    write_ply(path, points, properties=up)
    as_it_is, turned = (sas_jax.open_scene(path, up=axis) for axis in "zy")
    np.testing.assert_array_equal(as_it_is.points, points)
    np.testing.assert_array_equal(turned.points, [[1, -3, 2], [0, 0, 1]])
    np.testing.assert_array_equal(turned.normals, [[0, 0, 1]] * 2)


def test_files_of_the_stages_answer(names, tmp_path):
    save_features(tmp_path / "a.safetensors", names["a"], key="k")
    read = sas_jax.load_features(tmp_path / "a.safetensors")
    scene = sas_jax.open_scene(names["scan"])
    found = sas_jax.predict(read, scene, ["wall", "floor"])
    np.testing.assert_array_equal(
        found, sas_jax.predict(lambda s: read, scene, ["wall", "floor"])
    )
    importlib.import_module("sas_jax.evaluation.protocol")  # puts the package in place
    assert sas_jax.evaluate(read, [scene]).miou >= 0
    with pytest.raises(InputError, match="classes are required"):
        sas_jax.predict(read, scene)
    with pytest.raises(InputError, match="at least one scene"):
        sas_jax.train([], ["wall"], tmp_path)


NOWHERE = "/dev/null/run"  # nothing may be written


def no_train(*arguments, **fields):
    return sas_jax.train(*arguments, **fields, epochs=1, arch="MinkUNet14S")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a, s, o: sas_jax.predict(a, o, ["wall"]), "another geometry"),
        (lambda a, s, o: sas_jax.query(a, o, "a wall"), "another geometry"),
        (lambda a, s, o: sas_jax.evaluate(lambda scene: a, [o]), "another geometry"),
        (lambda a, s, o: no_train([(o, a)], ["wall"], NOWHERE), "another geometry"),
        (lambda a, s, o: no_train([(s, a)], [], NOWHERE), "at least one class"),
        (lambda a, s, o: no_train([(s, a)], "wall", NOWHERE), "a list of texts"),
        (lambda a, s, o: sas_jax.predict(a, s, "wall"), "a list of texts"),
        (lambda a, s, o: sas_jax.predict(a, s, []), "at least one class"),
        (lambda a, s, o: sas_jax.predict(a, s, ["wall", " "]), "a word that"),
        (lambda a, s, o: sas_jax.predict("a.safetensors", s, ["wall"]), "got str"),
        (lambda a, s, o: sas_jax.query(a, s, ""), "a word that"),
        (lambda a, s, o: sas_jax.encode("wall", a.space), "a list of texts"),
        (lambda a, s, o: sas_jax.evaluate(a, [s], MATTERPORT21), "of matterport21"),
        (lambda a, s, o: sas_jax.fuse({"a": a}, classes="wall"), "a list of texts"),
    ],
)
def test_what_does_not_belong_together_is_refused(names, call, message):
    scene = sas_jax.open_scene(names["scan"])
    other = dataclasses.replace(scene, points=scene.points + 1)
    with pytest.raises(InputError, match=message):
        call(names["a"], scene, other)


def test_names_stand_for_what_comes_with_the_package(names):
    scene = sas_jax.open_scene(names["scan"], label_set="matterport21")
    assert scene.label_set == MATTERPORT21
    scores = sas_jax.evaluate(names["a"], [scene], "matterport21")
    assert scores.miou == sas_jax.evaluate(names["a"], [scene], MATTERPORT21).miou
    with pytest.raises(InputError, match="got scannet21"):
        sas_jax.evaluate(names["a"], [scene], "scannet21")
    with pytest.raises(
        InputError, match=r"one of scannet20, matterport21, .*got rooms"
    ):
        sas_jax.open_scene(names["scan"], label_set="rooms")
    assert "wall" in sas_jax.load_student("rooms").student.class_names


@pytest.mark.parametrize(
    "settings", [{"compat": "papr"}, {"up": "yy"}, {"pose_convention": "opncv"}]
)
def test_a_choice_that_there_is_not_is_refused(names, settings):
    with pytest.raises(InputError, match="must be one of"):
        for kind in ("scannet", "posed_rgbd"):
            registry.load(kind, settings)
