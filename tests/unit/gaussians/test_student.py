"""A student of Gaussians learns from their parameters, and answers for whole voxels."""

import dataclasses

import jax
import numpy as np
import pytest
from fresh_student import init_student
from text_spaces import space
from tiny_scenes import CHANNELS, SPACE, TEXT, encoded, tiny_config

from sas_jax import memory
from sas_jax.artefacts.features import Features
from sas_jax.distill.checkpoint import load_student
from sas_jax.distill.config import NO_AUGMENTATION, RunConfig, named_augmentation
from sas_jax.distill.initial import of_gaussians
from sas_jax.distill.train import train
from sas_jax.errors import ContractError, InputError
from sas_jax.gaussians.files.formats import write_splats
from sas_jax.gaussians.files.rewrite import read_splat_file
from sas_jax.gaussians.files.sidecar import save_beside
from sas_jax.gaussians.splats import C0, checked_splats
from sas_jax.gaussians.student import inputs_named, raw_inputs, scenes_in
from sas_jax.models.config import StudentConfig
from sas_jax.models.minkunet import STEM
from sas_jax.models.student import Predictor, Student
from sas_jax.models.student_file import write_student
from sas_jax.scenes.ply_write import write_ply


def test_inputs_are_the_numbers_of_the_file(tmp_path):
    """Colours of degree 1: three coefficients of fifteen, all of red first."""
    rng = np.random.default_rng(0)
    names = ["x", "y", "z", "opacity"] + [f"f_dc_{i}" for i in range(3)]
    names += [f"f_rest_{i}" for i in range(9)] + [f"scale_{i}" for i in range(3)]
    names += [f"rot_{i}" for i in range(4)]
    columns = {n: rng.normal(size=5).astype(np.float32) for n in names[::-1]}
    write_ply(tmp_path / "a.ply", np.zeros((5, 3)), properties=columns)
    file = read_splat_file(tmp_path / "a.ply")
    for g, row in enumerate(raw_inputs(file, "all")):
        want = [columns["opacity"][g]] + [columns[f"f_dc_{i}"][g] for i in range(3)]
        for channel in range(3):
            want += [columns[f"f_rest_{3 * channel + k}"][g] for k in range(3)]
            want += [0] * 12
        want += [columns[f"scale_{i}"][g] for i in range(3)]
        want += [columns[f"rot_{i}"][g] for i in range(4)]
        np.testing.assert_array_equal(row, want)
    colours = raw_inputs(file, "colour")
    np.testing.assert_array_equal(colours, raw_inputs(file, "all")[:, 1:49])
    assert inputs_named(56) == "all" and inputs_named(48) == "colour"
    with pytest.raises(InputError, match="56 or 48"):
        inputs_named(3)


def write_scene(path, seed):
    """Gaussians anywhere, whose class is the colour: geometry tells nothing."""
    rng = np.random.default_rng(seed)
    num, label = 400, rng.integers(0, len(TEXT), 400)
    sh = np.full((num, 4, 3), 0.0)
    sh[np.arange(num), 0, label] = 0.5 / C0
    splats = checked_splats(
        rng.uniform(0, 2, (num, 3)),
        np.full((num, 3), 0.02),
        rng.normal(size=(num, 4)),
        np.full(num, 0.9),
        sh,
        "here",
    )
    row = np.arange(num, dtype=np.int32)
    features = Features(
        TEXT[label].astype(np.float16), row, np.ones(num, np.int32), SPACE
    )
    write_splats(path, splats)
    save_beside(path, features, splats)
    return label


def config_of(channels=48, **changes):
    return tiny_config(
        student=StudentConfig("MinkUNet14S", in_channels=channels, out_dim=CHANNELS),
        level="point",
        self_distillation=0.0,
        voxel_size_m=0.1,
        **changes,
    )


def test_it_learns_what_geometry_does_not_tell(tmp_path):
    (tmp_path / "train").mkdir()
    for seed in range(2):
        write_scene(tmp_path / "train" / f"{seed}.ply", seed)
    label = write_scene(tmp_path / "test.ply", 9)
    train(
        config_of(epochs=40, batch_size=2, learning_rate=2e-2, augment=NO_AUGMENTATION),
        scenes_in(tmp_path / "train"),
        encoded(),
        tmp_path / "run",
        run=RunConfig(progress=False),
    )
    student = load_student(tmp_path / "run" / "checkpoints")
    file = read_splat_file(tmp_path / "test.ply")
    found = Predictor(student).features(
        file.splats.means, inputs=raw_inputs(file, "colour")
    )
    said = np.argmax(found.dense() @ TEXT.T, axis=1)
    assert (said == label).mean() > 0.8
    # Gaussians of one voxel share a feature; the first one of them stands for all.
    assert len(found.feat) < len(label) and found.seen.all()


@pytest.fixture(scope="module")
def predictor():
    config = StudentConfig("MinkUNet14S", in_channels=48, out_dim=5)
    weights = init_student(config, 0)
    return Predictor(Student(config, weights, 0.05, None, space(5), (), 0))


def test_tiles_take_the_inputs_of_their_voxels(predictor, monkeypatch):
    rng = np.random.default_rng(0)
    points = rng.uniform(0, [30, 1, 1], (9000, 3)).astype(np.float32)
    inputs = rng.normal(size=(9000, 48)).astype(np.float32)
    whole = predictor.features(points, inputs=inputs).feat
    other = predictor.features(points, inputs=inputs[::-1]).feat
    assert np.abs(whole - other).max() > 0.01
    calls = []
    run = predictor.run
    monkeypatch.setattr(
        predictor, "run", lambda *a: (calls.append(len(a[0])), run(*a))[1]
    )
    rows = predictor.program_bytes
    full = max(rows(rung) for rung in predictor._program_bytes)
    monkeypatch.setattr(memory, "device_bytes", lambda device: int(0.9 * full))
    tiled = predictor.features(points, inputs=inputs).feat
    assert len(calls) > 1
    near = np.abs(tiled - whole).max(axis=1) < 1e-4
    assert near.mean() > 0.5


def test_points_and_gaussians_are_not_taken_for_each_other(predictor):
    points = np.random.default_rng(0).uniform(0, 1, (50, 3)).astype(np.float32)
    with pytest.raises(InputError, match="Gaussians are required"):
        predictor.features(points)
    with pytest.raises(ContractError, match="48 inputs"):
        predictor.features(points, inputs=np.zeros((50, 56), np.float32))


def test_a_student_of_points_goes_on_as_one_of_gaussians(tmp_path):
    """Every layer but the first is its own, and the first one answers as before."""
    write_scene(tmp_path / "a.ply", 0)
    config = StudentConfig("MinkUNet14S", in_channels=3, out_dim=CHANNELS)
    weights = init_student(config, 0)
    points = Student(config, weights, 0.1, TEXT, SPACE, ("a", "b", "c"), 0)
    write_student(tmp_path / "points.safetensors", points, exact=True)
    file = read_splat_file(tmp_path / "a.ply")
    inputs = raw_inputs(file, "all")
    found = Predictor(of_gaussians(points, [inputs])).features(
        file.splats.means, inputs=inputs
    )
    np.testing.assert_allclose(
        found.feat, Predictor(points).features(file.splats.means).feat, atol=1e-4
    )
    slow = config_of(56, epochs=1, learning_rate=1e-9, augment=named_augmentation())
    train(
        slow,
        scenes_in(tmp_path),
        encoded(),
        tmp_path / "run",
        run=RunConfig(progress=False),
        init_from=tmp_path / "points.safetensors",
    )
    begun = load_student(tmp_path / "run" / "checkpoints").variables["params"]
    assert begun[STEM]["kernel"].shape == (125, 56, 32)
    for name in set(begun) - {STEM}:
        for got, want in zip(
            *map(jax.tree.leaves, (begun[name], weights["params"][name])), strict=True
        ):
            np.testing.assert_allclose(got, want, atol=1e-6)


def test_more_than_plain_distillation_is_refused(tmp_path):
    write_scene(tmp_path / "a.ply", 0)
    (scene,) = scenes_in(tmp_path)
    config = config_of(56)
    loaded = scene.load(config)
    assert loaded.inputs.shape == (400, 56) and scene.name == "a"
    with pytest.raises(InputError, match="plain distillation"):
        scene.load(dataclasses.replace(config, self_distillation=0.3))
    with pytest.raises(InputError, match="label_splats"):
        scenes_in(tmp_path / "none")
