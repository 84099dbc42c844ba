"""The decoder equals a slow one in numpy, for every option, alone and in batches."""

import dataclasses
import functools

import jax
import mask3d_oracle
import mask3d_weights
import numpy as np
import pytest

from sas_jax.errors import InputError
from sas_jax.instances.mask3d.config import Mask3DConfig
from sas_jax.instances.mask3d.network import Mask3D
from sas_jax.instances.mask3d.parts import Backbone
from sas_jax.instances.mask3d.port import from_state, original_shapes
from sas_jax.instances.mask3d.scenes import VoxelScene, make_batch
from sas_jax.models.config import UNetSizes
from sas_jax.sparse.rungs import Rung

TINY = Mask3DConfig(
    num_classes=5,
    num_queries=9,
    width=32,
    heads=4,
    hidden=24,
    num_decoders=1,
    hlevels=(0, 3),
    backbone=UNetSizes((1,) * 8, (8, 8, 16, 16, 16, 16, 8, 8), 8),
)
OPTIONS = {
    "released": {"num_decoders": 2, "hlevels": (0, 1, 2, 3)},
    "sine": {"encoding": "sine"},
    "pre_norm": {"pre_norm": True},
    "level_embedding": {"level_embedding": True},
    "parametric": {"parametric_queries": True},
    "point_features": {"point_features": True},
    "own_decoders": {"shared_decoder": False, "num_decoders": 2},
    "other_levels": {"hlevels": (1, 4), "num_queries": 5},
    "many": {"pre_norm": True, "shared_decoder": False, "point_features": True,
             "level_embedding": True, "encoding": "sine"},
}  # fmt: skip


def surface(seed, count, low):
    """Voxels of a bent surface in random order, with colours and segments."""
    rng = np.random.default_rng(seed)
    xy = rng.integers(low, low + 40, (count, 2))
    z = np.round(6 * np.sin(xy[:, 0] / 9) + rng.integers(0, 3, count)).astype(int)
    coords = np.unique(np.column_stack([xy, z]), axis=0)
    coords = rng.permutation(coords).astype(np.int32)
    colors = rng.standard_normal((len(coords), 3))
    positions = (coords + rng.random(coords.shape)) * 0.02
    cells = np.unique(coords // 7, axis=0, return_inverse=True)[1].ravel()
    return VoxelScene(
        coords, colors.astype(np.float32), positions.astype(np.float32), cells
    )


def without_segments(scene):
    return dataclasses.replace(scene, segments=None)


def weights(config, seed="tests/mask3d"):
    """State by original names, and the variables made of it."""
    shapes = dict(original_shapes(config))
    state = mask3d_weights.state(shapes, seed)
    last = {"backbone.final.kernel": (8, 3), "backbone.final.bias": (1, 3)}
    return state, from_state(state | mask3d_weights.state(last, seed), config)


def expected(config, state, batch, rows, number, scene):
    """The oracle's answer for one scene of a batch, from the backbone's rows."""
    features = {}
    for level, feature in zip(batch.scenes.plan.levels, reversed(rows), strict=True):
        coords = np.asarray(level.coords)[: int(level.num_valid)]
        features[level.stride] = {
            tuple(c[1:]): row
            for c, row in zip(coords.tolist(), np.asarray(feature), strict=False)
            if c[0] == number
        }
    state = {name: np.asarray(array, np.float64) for name, array in state.items()}
    return mask3d_oracle.decode(
        state, config, scene.coords, scene.positions, features, scene.segments
    )


def run(config, variables, scenes):
    """The network's answers, and the rows of its backbone."""
    network = Mask3D(config)

    def of_backbone(module, method):
        return isinstance(module, Backbone)

    apply = functools.partial(
        network.apply, capture_intermediates=of_backbone, mutable=["intermediates"]
    )
    answers, kept = jax.jit(apply)(variables, scenes)
    return answers, kept["intermediates"]["backbone"]["__call__"][0]


def check(config, scenes):
    with jax.enable_x64(True):
        state, variables = weights(config)
        variables = jax.tree.map(lambda x: np.asarray(x, np.float64), variables)
        batch = make_batch(scenes, config.plan_spec, dtype=np.float64)
        answers, backbone = run(config, variables, batch.scenes)
        for number, (scene, got) in enumerate(zip(scenes, answers, strict=True)):
            truth = expected(config, state, batch, backbone, number, scene)
            classes, masks, sampled = truth
            rows = batch.masked_rows(number, np.asarray(got.mask_logits))
            assert rows.shape == masks.shape
            np.testing.assert_allclose(got.class_logits, classes, atol=1e-9, rtol=1e-8)
            np.testing.assert_allclose(rows, masks, atol=1e-8, rtol=1e-8)
            if sampled is None:
                assert got.sampled is None
            else:
                voxels = batch.voxels(number, np.asarray(got.sampled))
                np.testing.assert_array_equal(voxels, sampled)
    return masks


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_equals_the_slow_decoder(option):
    scene = surface(1, 400, -9)
    # One of both kinds of masks each, in turn: compiling takes the time.
    scene = scene if list(OPTIONS).index(option) % 2 else without_segments(scene)
    masks = check(dataclasses.replace(TINY, **OPTIONS[option]), [scene])
    # Where attention looks depends on these: they must not all be on one side.
    assert option != "released" or 0.05 < (masks > 0).mean() < 0.95


@pytest.mark.parametrize("segmented", [True, False])
def test_scenes_of_a_batch_are_answered_as_if_alone(segmented):
    scenes = [surface(2, 700, -15), surface(3, 150, 4)]
    scenes = scenes if segmented else [without_segments(s) for s in scenes]
    check(TINY, scenes)


def test_padding_changes_nothing():
    scene = surface(4, 300, 0)
    _, variables = weights(TINY)
    answers = []
    for rung in (None, Rung((1024, 512, 256, 128, 64))):
        batch = make_batch([scene], TINY.plan_spec, rung)
        (got,) = jax.jit(Mask3D(TINY).apply)(variables, batch.scenes)
        answers.append(batch.masked_rows(0, np.asarray(got.mask_logits)))
    np.testing.assert_allclose(*answers, atol=1e-4, rtol=1e-4)


def test_a_scene_of_one_voxel_has_finite_masks():
    one = np.zeros((1, 3), np.float32)
    scene = VoxelScene(np.array([[3, -2, 5]]), one, one + np.float32(0.1))
    _, variables = weights(TINY)
    batch = make_batch([scene], TINY.plan_spec)
    (got,) = jax.jit(Mask3D(TINY).apply)(variables, batch.scenes)
    assert np.isfinite(batch.masked_rows(0, np.asarray(got.mask_logits))).all()
    assert (batch.voxels(0, np.asarray(got.sampled)) == 0).all()


def test_segments_of_some_scenes_only_are_refused():
    scenes = [surface(5, 60, 0), without_segments(surface(6, 60, 0))]
    with pytest.raises(InputError, match="1 of 2 with"):
        make_batch(scenes, TINY.plan_spec)


@pytest.mark.parametrize(
    "wrong",
    [{"width": 30}, {"hlevels": (0, 5)}, {"heads": 0}, {"encoding": "legacy"},
     {"parametric_queries": True, "point_features": True}],
)  # fmt: skip
def test_configurations_that_are_none_are_refused(wrong):
    with pytest.raises(InputError, match="Mask3DConfig"):
        dataclasses.replace(TINY, **wrong)
