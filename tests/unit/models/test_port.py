"""Porting is complete in both directions or says what is wrong."""

import jax
import numpy as np
import pytest
from fresh_student import init_student

from sas_jax.errors import InputError
from sas_jax.models.config import StudentConfig
from sas_jax.models.port import from_minkowski, minkowski_shapes, to_minkowski

CONFIG = StudentConfig("MinkUNet14A", out_dim=7)


def original_state(config=CONFIG):
    """A state dict in which every array differs from every other."""
    return {
        name: np.full(shape, i, np.int64 if "tracked" in name else np.float32)
        for i, (name, shape) in enumerate(minkowski_shapes(config).items())
    }


def test_names_and_shapes_are_the_originals():
    shapes = minkowski_shapes(StudentConfig())
    assert shapes["conv0p1s1.kernel"] == (125, 3, 32)
    assert shapes["bn0.bn.num_batches_tracked"] == ()
    assert shapes["block2.0.downsample.0.kernel"] == (32, 64)
    assert shapes["block2.0.downsample.1.bn.running_var"] == (64,)
    assert shapes["block8.1.norm2.bn.weight"] == (96,)
    assert shapes["convtr4p16s2.kernel"] == (8, 256, 128)
    assert shapes["final.kernel"] == (96, 512)
    assert "block1.0.downsample.0.kernel" not in shapes
    # Stem, 4 down, 4 up, head; 2 in each of 16 blocks; 7 shortcuts. All but the head
    # have a norm.
    assert sum(name.endswith(".kernel") for name in shapes) == 10 + 32 + 7
    assert sum(name.endswith("running_mean") for name in shapes) == 9 + 32 + 7


@pytest.mark.parametrize("prefix", ["", "net3d.", "module.net3d."])
def test_state_survives_the_round_trip_under_every_prefix(prefix):
    state = {prefix + name: array for name, array in original_state().items()}
    variables = from_minkowski(state, CONFIG)
    back = to_minkowski(variables, CONFIG, prefix=prefix)
    assert set(back) == set(state)
    for name, array in state.items():
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(back[name], array, err_msg=name)


def test_arrays_land_where_they_belong():
    state = original_state()
    variables = from_minkowski(state, CONFIG)
    params, stats = variables["params"], variables["batch_stats"]
    for got, name in [
        (params["conv0p1s1"]["kernel"], "conv0p1s1.kernel"),
        (params["bn0"]["scale"], "bn0.bn.weight"),
        (params["bn0"]["bias"], "bn0.bn.bias"),
        (stats["bntr4"]["mean"], "bntr4.bn.running_mean"),
        (stats["block5_0"]["norm2"]["var"], "block5.0.norm2.bn.running_var"),
        (params["block5_0"]["shortcut"]["kernel"], "block5.0.downsample.0.kernel"),
        (params["block5_0"]["shortcut_norm"]["bias"], "block5.0.downsample.1.bn.bias"),
    ]:
        np.testing.assert_array_equal(got, state[name], err_msg=name)


def test_variables_survive_the_round_trip():
    variables = init_student(CONFIG, seed=0)
    back = from_minkowski(to_minkowski(variables, CONFIG), CONFIG)
    jax.tree.map(np.testing.assert_array_equal, variables, back)


def test_every_fault_of_a_state_is_named():
    state = original_state()
    del state["bn1.bn.running_var"]
    state["head.kernel"] = np.zeros((3, 4), np.float32)
    state["final.kernel"] = np.zeros((96, 20), np.float32)
    with pytest.raises(InputError) as caught:
        from_minkowski(state, CONFIG)
    message = str(caught.value)
    assert "missing: bn1.bn.running_var [32]" in message
    assert "unexpected: head.kernel [3, 4]" in message
    assert "other shape: final.kernel [96, 20] instead of [96, 7]" in message
    assert "\n" not in message


def test_another_architecture_is_refused():
    with pytest.raises(InputError, match=r"missing: block1\.1\.conv1\.kernel"):
        from_minkowski(original_state(), StudentConfig("MinkUNet18A", out_dim=7))


def test_incomplete_variables_are_refused():
    variables = init_student(CONFIG, seed=0)
    del variables["batch_stats"]
    with pytest.raises(InputError, match=r"running_mean \[32\].* and 56 more"):
        to_minkowski(variables, CONFIG)
    variables = init_student(CONFIG, seed=0)
    variables["params"]["extra"] = {"kernel": np.zeros((2, 2), np.float32)}
    with pytest.raises(InputError, match="unexpected: params/extra/kernel"):
        to_minkowski(variables, CONFIG)
