"""Published checkpoints become variables, whole or not at all."""

import json

import jax
import numpy as np
import pytest

from sas_jax.artefacts.torch_write import write_torch
from sas_jax.errors import InputError
from sas_jax.instances.mask3d import port
from sas_jax.instances.mask3d.config import SCANNET, SCANNET200
from sas_jax.instances.mask3d.initial import draw


@pytest.fixture(scope="module")
def state():
    """A state dict of the published network for 20 classes, by Lightning's names."""
    shapes = port.original_shapes(SCANNET) | {
        "backbone.final.kernel": (96, 20),
        "backbone.final.bias": (1, 20),
    }
    rng = np.random.default_rng(0)
    found = {f"model.{name}": rng.standard_normal(shape, np.float32)
             for name, shape in shapes.items()}  # fmt: skip
    return found | {"criterion.empty_weight": np.ones(19, np.float32)}


@pytest.fixture(scope="module")
def keys(golden):
    return json.loads((golden / "instances" / "mask3d_full_keys.json").read_text())


@pytest.mark.parametrize("config", [SCANNET, SCANNET200], ids=["20", "200"])
def test_names_and_shapes_are_the_published_ones(keys, config):
    published = {name: tuple(shape) for name, shape, _ in keys["scannet200"]}
    if config is SCANNET:
        published |= {n: tuple(s) for n, s, _ in keys["scannet20_differences"]}
    assert len(published) == 469
    unused = {n: published.pop(n) for n in port.UNUSED}
    assert unused.keys() == {"backbone.final.kernel", "backbone.final.bias"}
    assert port.original_shapes(config) == published


def test_a_lightning_checkpoint_is_read_and_nothing_is_lost(tmp_path, state):
    path = tmp_path / "scannet.ckpt"
    write_torch(path, {"epoch": 3, "state_dict": state})
    config, variables = port.read_lightning(path, SCANNET200)
    assert config == SCANNET
    used = {name.removeprefix("model."): array for name, array in state.items()}
    total = sum(used[name].size for name in port.original_shapes(SCANNET)
                if not name.endswith("tracked"))  # fmt: skip
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == total
    params = variables["params"]
    for got, name in (
        (params["backbone"]["block3_1"]["conv2"]["kernel"],
         "backbone.block3.1.conv2.kernel"),
        (params["cross_attention_0_2"]["multihead_attn"]["in_proj_weight"],
         "cross_attention.0.2.multihead_attn.in_proj_weight"),
        (params["query_projection"]["layers_2"]["weight"],
         "query_projection.layers.2.weight"),
        (variables["batch_stats"]["backbone"]["bn0"]["var"],
         "backbone.bn0.bn.running_var"),
    ):  # fmt: skip
        np.testing.assert_array_equal(got, used[name])


def test_a_bare_state_dict_is_read_too(state):
    bare = {name.removeprefix("model."): array for name, array in state.items()
            if name.startswith("model.")}  # fmt: skip
    got, whole = port.from_state(bare, SCANNET), port.from_state(state, SCANNET)
    assert jax.tree.all(jax.tree.map(np.array_equal, got, whole))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model.lin_squeeze.0.2.bias": None}, "missing: lin_squeeze.0.2.bias"),
        ({"model.backbone.final.bias": None}, "missing: backbone.final.bias"),
        ({"criterion.empty_weight": None}, "missing: criterion.empty_weight"),
        ({"model.backbone.bn1.bn.num_batches_tracked": None}, "bn1.bn.num_batches"),
        ({"model.level_embed.weight": np.zeros((4, 128))}, "unexpected: level_embed"),
        ({"optimiser": np.zeros(3)}, "unexpected: optimiser"),
        ({"model.decoder_norm.bias": np.zeros(64)}, "decoder_norm.bias .64. instead"),
        ({"decoder_norm.bias": np.zeros(128)}, "every array once"),
    ],
)
def test_what_is_missing_or_too_much_is_named(state, change, said):
    changed = {n: a for n, a in (state | change).items() if a is not None}
    with pytest.raises(InputError, match=said):
        port.from_state(changed, SCANNET, "scannet.ckpt")


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"a": 1}, {"state_dict": 3}])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "other.ckpt"
    write_torch(path, content)
    with pytest.raises(InputError, match=r"other\.ckpt"):
        port.read_lightning(path)


def test_random_weights_have_all_shapes_and_depend_on_the_seed():
    first, again, other = draw(SCANNET, 0), draw(SCANNET, 0), draw(SCANNET, 1)
    expected = port.variable_shapes(SCANNET)
    assert jax.tree.map(np.shape, first) == jax.tree.map(np.shape, expected)
    assert jax.tree.all(jax.tree.map(np.array_equal, first, again))
    assert not jax.tree.all(jax.tree.map(np.array_equal, first, other))
