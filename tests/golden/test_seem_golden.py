"""SEEM's network, filled through the converter, equals the original on its weights.

The golden files hold what the authors' code computes with weights that are functions
of their names (`tests/det_weights.py`), in a tiny network and at the published size.
"""

import json
import re

import det_weights
import numpy as np
import pytest
import torch
from torch.nn import functional

from sas_jax.errors import InputError
from sas_jax.teachers.checkpoint import without_prefix
from sas_jax.teachers.seem import convert, panoptic, vocabulary
from sas_jax.teachers.seem.architecture import Architecture, architecture_of
from sas_jax.teachers.seem.network import Seem

ANCHOR = "backbone.patch_embed.proj.weight"
ONE = torch.ones(1)
HALF_ULP = 2.0**-11
"""Of float16, relative: how large tensors of the full-size file are rounded."""


TEXT = "sem_seg_head.predictor.lang_encoder.lang_encoder"
SCALE = "sem_seg_head.predictor.lang_encoder.logit_scale"


def published(folder, size):
    """Return a checkpoint under its own names, and the original's configuration."""
    made = json.loads((folder / f"seem_{size}_keys.json").read_text())
    state = {
        name: torch.from_numpy(det_weights.tensor(name, shape, kind))
        for name, shape, kind in made["keys"]
    }
    return state | {SCALE: torch.tensor(4.6052)}, made["config"]


def filled(folder, size):
    """Return the network and the configuration that the original was built with."""
    state, made = published(folder, size)
    model = made["MODEL"]
    heads, text_heads = model["DECODER"]["NHEADS"], model["TEXT"]["HEADS"]
    config = architecture_of(state, heads=heads, text_heads=text_heads, where=size)
    network = Seem(config)
    network.load_state_dict(convert.convert(state))
    return network.eval(), made


def padded(image, config):
    """Return the network's input for an image f32 [3, H, W] in 0..255."""
    mean, std = (
        np.array(config["INPUT"][key], np.float32)[:, None, None]
        for key in ("PIXEL_MEAN", "PIXEL_STD")
    )
    normal = torch.from_numpy((image.astype(np.float32) - mean) / std)
    height, width = image.shape[1:]
    return functional.pad(normal, (0, -width % 32, 0, -height % 32))[None]


def outputs(network, config, recorded):
    """Return everything that the golden file holds, by its names there."""
    image = recorded["image"]
    names = det_weights.tensor(
        "seem.text_embeddings", recorded["class_embeddings"].shape, "input"
    )
    out = {}
    with torch.no_grad():
        x = padded(image, config)
        maps = network.backbone(x)
        out |= {f"res{i + 2}": map_ for i, map_ in enumerate(maps)}
        pixels = network.pixel_decoder(maps)
        out |= {"mask_features": pixels.masks, "transformer_features": pixels.context}
        out |= {f"ms{i}": scale for i, scale in enumerate(pixels.scales)}
        unit = functional.normalize(torch.from_numpy(names), dim=-1)
        said = network.mask_decoder(pixels, unit, network.logit_scale)
        out |= {"pred_logits": said[-1].logits, "pred_masks": said[-1].masks}
        out |= {"pred_caption_emb": said[-1].embedding, "aux0_logits": said[0].logits}
        masks = panoptic.full_size_masks(
            said[-1].masks[0], tuple(x.shape[-2:]), image.shape[1:]
        )
        out["sem_seg"] = panoptic.semantic(said[-1].logits[0], masks.sigmoid())
        tokens = torch.from_numpy(recorded["token_ids"])
        out["text_features"] = network.encode_tokens(tokens)
    return {name: value.numpy() for name, value in out.items()}


def test_tiny_network_matches_the_original(golden):
    folder = golden / "teachers/seem"
    recorded = np.load(folder / "seem_tiny.npz")
    got = outputs(*filled(folder, "tiny"), recorded)
    # Bounds at the scale of each; measured: backbone 0, masks 1.1e-6,
    # logits 6e-7 of it.
    bounds = {"pred_masks": 1e-4, "pred_logits": 1e-3, "aux0_logits": 1e-3}
    for name, value in got.items():
        wanted = recorded[name]
        bound = bounds.get(name, 1e-5) * np.abs(wanted).max()
        np.testing.assert_allclose(value, wanted, atol=bound, rtol=0, err_msg=name)


@pytest.fixture
def one_thread():
    """Compute as the original did: more threads sum in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_full_size_network_matches_the_original(golden, one_thread):
    folder = golden / "teachers/seem"
    recorded = np.load(folder / "seem_full_recipe.npz")
    network, config = filled(folder, "full")
    assert network.sizes == Architecture()
    for name, value in outputs(network, config, recorded).items():
        wanted = recorded[name].astype(np.float32)
        stored = recorded[name].dtype == np.float16
        # Float32 sums of 24 blocks and 15 layers part by 1e-5 of the scale at most.
        bound = 1e-5 * np.abs(wanted).max() + HALF_ULP * np.abs(wanted) * stored
        assert (np.abs(value - wanted) <= bound).all(), name


def test_published_names_with_a_prefix_are_found(golden):
    made = json.loads((golden / "teachers/seem/seem_full_keys.json").read_text())
    names = [name for name, _, _ in made["keys"]]
    wrapped = {f"module.model.{name}": torch.empty(0) for name in names}
    assert list(without_prefix(wrapped, ANCHOR)) == names


@pytest.fixture
def handmade(golden):
    return np.load(golden / "teachers/seem/seem_panoptic.npz")


def test_panoptic_masks_match_the_original(handmade):
    """The authors' code takes class 133, `sofa`, for the void."""
    found = panoptic.panoptic(
        torch.from_numpy(handmade["class_logits"]),
        torch.from_numpy(handmade["mask_logits"]).sigmoid(),
        things=range(80),
        void=133,
    )
    info = json.loads(str(handmade["info"]))
    np.testing.assert_array_equal(found.ids, handmade["panoptic_seg"])
    assert found.classes == [mask["category_id"] for mask in info]
    # the original counts queries among those it keeps
    kept = np.flatnonzero(handmade["keep"])
    assert found.queries == kept[handmade["real_ids"]].tolist()


def test_semantic_map_matches_the_original(handmade):
    masks = torch.from_numpy(handmade["mask_logits"]).sigmoid()
    got = panoptic.semantic(torch.from_numpy(handmade["class_logits"]), masks).numpy()
    wanted = handmade["sem_seg"].astype(np.float32)
    np.testing.assert_allclose(got, wanted, rtol=HALF_ULP, atol=1e-6)
    np.testing.assert_array_equal(got.argmax(0), handmade["sem_argmax"])


def test_the_paper_mode_keeps_sofas_and_drops_others(handmade):
    names = vocabulary.default_vocabulary("paper")
    logits = torch.from_numpy(handmade["class_logits"])
    found = panoptic.panoptic(
        logits,
        torch.from_numpy(handmade["mask_logits"]).sigmoid(),
        things=range(80),
        void=names.names.index(names.void),
    )
    assert "sofa" in [names.names[number] for number in found.classes]
    # said by query 6, which the original never asks
    assert 6 in found.queries


@pytest.fixture
def tiny(golden):
    return published(golden / "teachers/seem", "tiny")[0]


def saved(state, path):
    torch.save(state, path)
    return path


@pytest.mark.parametrize("prefix", ["", "model.", "module."])
def test_a_file_with_more_in_it_is_read(tiny, tmp_path, prefix):
    state = {prefix + name: value for name, value in tiny.items()}
    state |= {"criterion.empty_weight": torch.ones(3), f"{prefix}dilation_kernel": ONE}
    path = saved(state, tmp_path / "seem.pt")
    network = convert.read_network(path, heads=4, text_heads=4)
    assert not network.training
    torch.testing.assert_close(network.logit_scale.detach(), tiny[SCALE])
    got = network.text.text_projection.weight.detach().T
    wanted = tiny["sem_seg_head.predictor.lang_encoder.lang_proj"]
    torch.testing.assert_close(got, wanted, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sem_seg_head.pixel_decoder.input_proj.bias", "pixel_decoder.input_proj.bias"),
        ("sem_seg_head.predictor.query_feat.weight", "predictor.query_feat.weight"),
        (ANCHOR, ANCHOR),
    ],
)
def test_a_missing_tensor_is_named(tiny, tmp_path, name, told):
    del tiny[name]
    path = saved(tiny, tmp_path / "seem.pt")
    with pytest.raises(InputError, match=rf"seem.*{re.escape(told)}.*seem\.pt"):
        convert.read_network(path, heads=4, text_heads=4)


def test_a_tensor_of_another_shape_is_named(tiny, tmp_path):
    tiny["sem_seg_head.pixel_decoder.input_proj.bias"] = torch.zeros(7)
    path = saved(tiny, tmp_path / "seem.pt")
    with pytest.raises(InputError, match=r"input_proj\.bias \[7\] for \[64\]"):
        convert.read_network(path, heads=4, text_heads=4)


@pytest.mark.parametrize(
    "name",
    [
        "sem_seg_head.predictor.query_feat.weight",
        "sem_seg_head.predictor.class_embed",
        "sem_seg_head.pixel_decoder.mask_features.weight",
        f"{TEXT}.resblocks.0.attn.in_proj_bias",
        "backbone.layers.0.blocks.0.modulation.focal_layers.0.0.weight",
        ANCHOR,
    ],
)
@pytest.mark.parametrize("shape", [(), (0,), (7, 65)])
def test_shapes_that_no_network_has_are_told(tiny, tmp_path, name, shape):
    path = saved({**tiny, name: torch.zeros(shape)}, tmp_path / "seem.pt")
    with pytest.raises(InputError, match=r"seem: .*seem\.pt"):
        convert.read_network(path, heads=4, text_heads=4)


def test_a_file_that_was_cut_is_refused(tiny, tmp_path):
    path = saved(tiny, tmp_path / "seem.pt")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"seem\.pt"):
        convert.read_network(path)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    path = saved({"layer.weight": torch.ones(2)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"seem: .*got none.*other\.pt"):
        convert.read_network(path)
