"""MinkUNet: the family's sizes, invariances of the whole network, refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fresh_student import init_student

from sas_jax.errors import ContractError, InputError
from sas_jax.models.config import ARCHITECTURES, StudentConfig
from sas_jax.models.init import variable_shapes
from sas_jax.models.minkunet import MinkUNet, constant_features
from sas_jax.sparse.native import conv as native
from sas_jax.sparse.plan import build_plan, pad_rows
from sas_jax.sparse.rungs import Rung

CONFIG = StudentConfig("MinkUNet14A", out_dim=16)
RUNG = Rung((512, 512, 512, 512, 512))
WIDE = Rung((1024, 512, 1024, 512, 512))
# Parameters with 20 outputs, counted in the original networks.
PARAMETERS = {
    "MinkUNet14S": 4678816,  # ours
    "MinkUNet14A": 8024480,
    "MinkUNet14B": 8961568,
    "MinkUNet14C": 11919904,
    "MinkUNet14D": 43315744,
    "MinkUNet18A": 15493152,
    "MinkUNet18B": 17204640,
    "MinkUNet18D": 79874464,
    "MinkUNet34A": 36607392,
    "MinkUNet34B": 36226464,
    "MinkUNet34C": 37856032,
}


def surface(seed=0, batch=0):
    """Voxels of a bumpy floor."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(-7, 8), np.arange(-7, 8))
    z = rng.integers(-1, 2, x.shape)
    axes = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    coords = np.concatenate([np.full((len(axes), 1), batch), axes], axis=1)
    return rng.permutation(coords).astype(np.int32)


@pytest.fixture(scope="module")
def variables():
    return init_student(CONFIG, seed=3)


@jax.jit
def evaluate(variables, plan, features):
    return MinkUNet(CONFIG).apply(variables, plan, features, train=False)


@jax.jit
def train(variables, plan, features):
    """Output, running statistics and gradients of one training step."""

    def loss(params):
        out, moved = MinkUNet(CONFIG).apply(
            {**variables, "params": params}, plan, features, train=True,
            mutable=["batch_stats"],
        )  # fmt: skip
        return jnp.sum(jnp.sin(out)), (out, moved["batch_stats"])

    gradients, (out, moved) = jax.grad(loss, has_aux=True)(variables["params"])
    return out, moved, gradients


def run(variables, coords, colors, rung=RUNG, step=evaluate):
    """Evaluate and return one row per input voxel, and the padding rows."""
    plan, order = build_plan(coords, rung)
    capacity = rung.capacities[0]
    features = jnp.asarray(pad_rows(colors[order], capacity))
    features = features.at[len(order) :].set(jnp.nan)
    result = step(variables, plan, features)
    out = result if step is evaluate else result[0]
    rows = np.empty((len(order), out.shape[1]), np.float32)
    rows[order] = out[: len(order)]
    assert not np.asarray(out[len(order) :]).any()
    return rows if step is evaluate else (rows, *result[1:])


def colors_of(coords, seed=1):
    return np.random.default_rng(seed).random((len(coords), 3), np.float32)


def test_every_architecture_has_the_original_number_of_parameters():
    assert set(ARCHITECTURES) == set(PARAMETERS)
    for arch, expected in PARAMETERS.items():
        shapes = variable_shapes(StudentConfig(arch, out_dim=20))
        count = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))
        assert count == expected, arch


def test_initial_weights_have_the_original_spread():
    params = init_student(StudentConfig(), seed=0)["params"]
    for path, expected in [
        (("conv0p1s1",), (2 / (125 * 32)) ** 0.5),
        (("conv1p1s2",), (2 / (8 * 32)) ** 0.5),
        (("block2_0", "conv1"), (2 / (27 * 64)) ** 0.5),
        (("block2_0", "shortcut"), (2 / 32) ** 0.5),
        (("convtr4p16s2",), (1 / (3 * 8 * 128)) ** 0.5),
        (("final",), (2 / 96) ** 0.5),
    ]:
        kernel = functools.reduce(lambda tree, name: tree[name], path, params)["kernel"]
        # The sample deviation of n normal values scatters by 1 / sqrt(2 n).
        assert kernel.std() == pytest.approx(expected, rel=5 / (2 * kernel.size) ** 0.5)
        assert abs(kernel.mean()) < 5 * expected / kernel.size**0.5
    bound = np.abs(params["convtr7p2s2"]["kernel"]).max()
    assert bound == pytest.approx((8 * 96) ** -0.5, rel=1e-3)


def test_flax_initialisation_has_the_same_spread():
    from sas_jax.models.layers import kaiming_fan_out

    key = jax.random.key(0)
    normal = kaiming_fan_out(key, (27, 16, 32), jnp.float32)
    assert float(normal.std()) == pytest.approx((2 / (27 * 32)) ** 0.5, rel=0.05)


def test_same_seed_gives_the_same_bits_and_another_does_not(variables):
    again = init_student(CONFIG, seed=3)
    jax.tree.map(np.testing.assert_array_equal, variables, again)
    other = init_student(CONFIG, seed=4)["params"]["final"]["kernel"]
    assert not np.array_equal(other, variables["params"]["final"]["kernel"])


def test_order_of_voxels_does_not_matter(variables):
    coords = surface()
    colors = colors_of(coords)
    rows = run(variables, coords, colors)
    assert np.abs(rows).max() > 0.1
    shuffle = np.random.default_rng(0).permutation(len(coords))
    np.testing.assert_array_equal(
        rows[shuffle], run(variables, coords[shuffle], colors[shuffle])
    )


def test_moving_the_scene_by_the_coarsest_stride_does_not_matter(variables):
    coords = surface()
    moved = coords + np.array([0, 16, -32, 160], np.int32)
    colors = colors_of(coords)
    np.testing.assert_array_equal(
        run(variables, coords, colors), run(variables, moved, colors)
    )


def test_scenes_of_a_batch_are_evaluated_alone(variables):
    scenes = [surface(1), surface(2)]
    colors = [colors_of(scene, i) for i, scene in enumerate(scenes)]
    alone = [run(variables, c, f) for c, f in zip(scenes, colors, strict=True)]
    scenes[1][:, 0] = 1
    both = run(variables, np.concatenate(scenes), np.concatenate(colors))
    np.testing.assert_allclose(both, np.concatenate(alone), rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not native.is_available(), reason="the native library is not built")
def test_capacity_does_not_change_a_bit_of_a_training_step(variables):
    coords = surface()
    colors = colors_of(coords)
    results = [run(variables, coords, colors, rung, train) for rung in (RUNG, WIDE)]
    jax.tree.map(np.testing.assert_array_equal, *results)


def test_every_parameter_gets_a_finite_gradient(variables):
    coords = surface()
    _, moved, gradients = run(variables, coords, colors_of(coords), RUNG, train)
    for path, leaf in jax.tree_util.tree_leaves_with_path((gradients, moved)):
        assert np.isfinite(leaf).all(), path
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.any(leaf), path


@pytest.mark.parametrize("count", [0, 1, 2])
def test_scenes_of_no_one_and_two_voxels(variables, count):
    coords = np.array([[0, -9, 3, 5], [0, 400, -7, 0]], np.int32)[:count]
    rows = run(variables, coords, colors_of(coords))
    assert rows.shape == (count, 16)
    assert np.isfinite(rows).all()
    _, moved, gradients = run(variables, coords, colors_of(coords), RUNG, train)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((moved, gradients)))


def test_constant_features_are_one_on_voxels_only():
    plan, _ = build_plan(surface(), RUNG)
    features = np.asarray(constant_features(plan))
    assert features.shape == (512, 3)
    assert (features[:225] == 1).all()
    assert not features[225:].any()


def test_wrong_number_of_channels_is_refused(variables):
    plan, _ = build_plan(surface(), RUNG)
    with pytest.raises(ContractError, match="3 channels"):
        evaluate(variables, plan, jnp.ones((512, 6)))


def test_unknown_architectures_and_sizes_are_refused():
    with pytest.raises(InputError, match="MinkUNet34C"):
        StudentConfig("MinkUNet18C")
    with pytest.raises(InputError, match="out_dim"):
        StudentConfig(out_dim=0)
