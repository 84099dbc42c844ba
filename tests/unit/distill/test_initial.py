"""A run that begins with known weights: exact, named, refused where they do not fit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from text_spaces import space
from tiny_scenes import CHANNELS, boxes, encoded, tiny_config

from sas_jax.distill import initial
from sas_jax.distill import step as steps
from sas_jax.distill.checkpoint import Checkpoints, load_student
from sas_jax.distill.config import RunConfig
from sas_jax.distill.setup import make_setup
from sas_jax.distill.start import start
from sas_jax.distill.train import train
from sas_jax.errors import InputError
from sas_jax.models.config import StudentConfig
from sas_jax.models.init import variable_shapes
from sas_jax.models.minkunet import HEAD
from sas_jax.models.student import Predictor, Student
from sas_jax.models.student_file import read_student, write_student

CLASSES = encoded()
QUIET = RunConfig(progress=False)
NETWORK = StudentConfig("MinkUNet14S", out_dim=CHANNELS)
CONFIG = tiny_config(
    student=NETWORK, epochs=1, self_distillation=0.0, batch_size=1, seed=9
)


@dataclasses.dataclass(frozen=True)
class HeadOnly:
    """A network with a student's variables that uses its last layer and no other."""

    def init(self, *arguments, **settings):
        shapes = variable_shapes(NETWORK)
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def apply(self, variables, plan, features, *, train, head=True, mutable=()):
        level = plan.levels[0]
        valid = jnp.arange(level.coords.shape[0]) < level.num_valid
        kernel = variables["params"][HEAD]["kernel"]
        rates = jnp.arange(1.0, len(kernel) + 1)[None]
        x = jnp.sin(level.coords[:, 1:2].astype(jnp.float32) * rates)
        x = jnp.where(valid[:, None], x, 0)
        out = x @ kernel if head else x
        return (out, {"batch_stats": variables["batch_stats"]}) if mutable else out


@pytest.fixture
def quick(monkeypatch):
    """Steps take no time to compile."""
    monkeypatch.setattr(steps, "make_network", lambda config: HeadOnly())


def write(path, seed=0, **changes):
    network = changes.get("config", NETWORK)
    rng = np.random.default_rng(seed)

    def draw(leaf):
        return (0.1 + 0.1 * rng.random(leaf.shape)).astype(np.float32)

    student = Student(
        config=network,
        variables=jax.tree.map(draw, variable_shapes(network)),
        voxel_size_m=0.1,
        text_features=np.eye(3, network.out_dim, dtype=np.float32),
        text_space=space(network.out_dim),
        class_names=("a", "b", "c"),
        step=7,
    )
    write_student(path, dataclasses.replace(student, **changes))
    return path


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "student.safetensors")


def begin(folder, init_from, config=CONFIG, branch_from=None):
    setup = make_setup(config, boxes(1), CLASSES, QUIET, None)
    checkpoints = Checkpoints(folder / "checkpoints")
    try:
        return start(setup, checkpoints, init_from, branch_from)
    finally:
        checkpoints.close()


def go(folder, init_from, stop=lambda: False, count=1, **more):
    return train(
        *(CONFIG, boxes(count), CLASSES, folder),
        **{"run": QUIET, "init_from": init_from, "stop": stop, **more},
    )


def same_bits(one, two):
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_before_its_first_step_a_run_is_the_student(tmp_path, file):
    student = read_student(file)
    state, history, setup = begin(tmp_path / "run", file)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    same_bits(variables, student.variables)
    assert int(state.step) == 0 and len(history) == 0
    assert not any(np.asarray(m).any() for m in jax.tree.leaves(state.opt_state))
    assert setup.config.initial_weights is not None
    begun = dataclasses.replace(student, variables=jax.device_get(variables))
    points = np.random.default_rng(0).uniform(0, 1, (500, 3)).astype(np.float32)
    one, two = (Predictor(s).features(points).feat for s in (student, begun))
    assert one.tobytes() == two.tobytes()


def test_a_run_names_its_beginning_and_goes_on_without_it(
    tmp_path, file, quick, monkeypatch
):
    first = go(tmp_path / "run", file, stop=lambda: True, count=2)
    assert not first.completed
    with pytest.raises(InputError, match=r"resume: initial weights .*init_from=None"):
        go(tmp_path / "run", None, count=2)
    with pytest.raises(InputError, match="resume: initial weights must be those"):
        go(tmp_path / "run", write(tmp_path / "other.safetensors", seed=1), count=2)

    def read(*arguments):
        raise AssertionError("the weights are in the checkpoint")

    whole = go(tmp_path / "whole", file, count=2)
    monkeypatch.setattr(initial, "read_student", read)
    file.unlink()
    resumed = go(tmp_path / "run", file, count=2)
    assert resumed.completed and resumed.step == whole.step == 2
    one, two = (
        Checkpoints(tmp_path / name / "checkpoints").restore(2)
        for name in ("run", "whole")
    )
    same_bits(one.state, two.state)
    assert one.config == two.config and one.config["initial_weights"] is not None


def test_one_that_began_at_random_does_not_go_on_as_another(tmp_path, file, quick):
    go(tmp_path / "run", None)
    with pytest.raises(InputError, match="must be none as in the checkpoint"):
        go(tmp_path / "run", file)


def test_a_run_serves_as_well_and_may_go_on_itself(tmp_path, file, quick):
    source = go(tmp_path / "source", file)
    state, _, setup = begin(tmp_path / "run", source.checkpoints)
    same_bits(state.params, load_student(source.checkpoints).variables["params"])
    _, _, of_file = begin(tmp_path / "run", file)
    keys = {w.config.initial_weights for w in (setup, of_file)}
    assert len(keys) == 2 and None not in keys
    go(tmp_path / "run", source.checkpoints, stop=lambda: True)
    moved = tmp_path / "moved"
    assert begin(tmp_path / "run", moved)[2].config.initial_weights in keys


def test_a_run_that_branches_off_must_begin_alike(tmp_path, file, quick):
    go(tmp_path / "full", file)
    full = tmp_path / "full" / "checkpoints"
    _, _, setup = begin(tmp_path / "branch", file, branch_from=full)
    assert setup.config.initial_weights is not None
    with pytest.raises(InputError, match="initial weights"):
        begin(tmp_path / "branch", None, branch_from=full)


def test_a_run_of_a_version_that_did_not_name_its_beginning(tmp_path, file):
    initial.check_begun({"seed": 0}, file, tmp_path)
    initial.check_begun({"seed": 0}, None, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"config": StudentConfig("MinkUNet14A", out_dim=CHANNELS)},
            r"weights of MinkUNet14S .*got those of MinkUNet14A",
        ),
        (
            {"config": StudentConfig("MinkUNet14S", out_dim=5)},
            f"out_dim {CHANNELS} are required, got .*out_dim 5",
        ),
        ({"text_space": space(CHANNELS, "other")}, "one text space"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, quick, changes, message):
    path = write(tmp_path / "student.safetensors", **changes)
    with pytest.raises(InputError, match=message) as caught:
        begin(tmp_path / "run", path)
    assert str(path) in str(caught.value)


def test_other_voxels_are_said(tmp_path, quick, caplog):
    path = write(tmp_path / "student.safetensors", voxel_size_m=0.02)
    with caplog.at_level("WARNING", logger="sas_jax"):
        begin(tmp_path / "run", path)
    assert "voxels of 0.02 m go on with voxels of 0.1 m" in caplog.text
