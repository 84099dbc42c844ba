"""Cross-attention: Eq. 1 and 2 by hand, the official variant, what is recorded."""

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from sas_jax.capability import attention
from sas_jax.capability.attention import AttentionConfig, CrossAttention, class_maps
from sas_jax.errors import InputError


def small_unet():
    torch.manual_seed(1)
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        cross_attention_dim=12,
        attention_head_dim=2,
        norm_num_groups=4,
    ).eval()


def store_of(maps: dict[str, list[np.ndarray]]) -> CrossAttention:
    """Fill a store with [B, L, h, w] maps, a list of steps per layer."""
    store = CrossAttention()
    for layer, steps in maps.items():
        for step in steps:
            flat = torch.tensor(step, dtype=torch.float32).flatten(2).transpose(1, 2)
            store.add(layer, flat)
    return store


def random_maps(layer_edges, steps=3, batch=2, tokens=5, seed=0):
    rng = np.random.default_rng(seed)
    return {
        layer: [rng.random((batch, tokens, edge, edge)) for _ in range(steps)]
        for layer, edge in layer_edges.items()
    }


def enlarge(maps, size):
    grown = torch.nn.functional.interpolate(
        torch.tensor(maps)[:, None], (size, size), mode="bicubic", align_corners=False
    )
    return grown[:, 0].numpy()


def stretch(maps):
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    return (maps - low) / (high - low)


LAYERS = {"down_blocks.0": 4, "mid_block": 2, "up_blocks.0": 2, "up_blocks.1": 4}


def test_rows_are_the_softmax_of_queries_and_keys():
    unet, (image, text) = small_unet(), (torch.randn(2, 3, 8, 8), torch.randn(2, 7, 12))
    seen = {}
    layer = unet.down_blocks[0].attentions[0].transformer_blocks[0].attn2
    layer.to_q.register_forward_hook(lambda m, i, o: seen.update(query=o))
    layer.to_k.register_forward_hook(lambda m, i, o: seen.update(key=o))
    with torch.no_grad(), attention.recording(unet, guided=False) as store:
        unet(image, 3, encoder_hidden_states=text)
    query = seen["query"].view(2, 64, 2, 4).permute(0, 2, 1, 3)
    key = seen["key"].view(2, 7, 2, 4).permute(0, 2, 1, 3)
    wanted = torch.softmax(query @ key.transpose(2, 3) / np.sqrt(4), -1).mean(1)
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor"
    got = store.plain[name].flatten(2).transpose(1, 2)
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_recording_keeps_the_output_and_gives_the_processors_back():
    unet, (image, text) = small_unet(), (torch.randn(2, 3, 8, 8), torch.randn(2, 7, 12))
    before = dict(unet.attn_processors)
    with torch.no_grad():
        plain = unet(image, 3, encoder_hidden_states=text).sample
        with attention.recording(unet, guided=False) as store:
            recorded = unet(image, 3, encoder_hidden_states=text).sample
    np.testing.assert_allclose(recorded, plain, atol=1e-5)
    assert all(unet.attn_processors[name] is before[name] for name in before)
    assert len(store.plain) == sum("attn2" in name for name in before)
    assert all("attn2" in name for name in store.plain)


def test_processors_come_back_after_an_error():
    unet = small_unet()
    before = dict(unet.attn_processors)
    with pytest.raises(KeyError), attention.recording(unet, guided=False):
        raise KeyError
    assert unet.attn_processors == before


def test_guided_runs_record_the_conditional_half_only():
    unet, image = small_unet(), torch.randn(2, 3, 8, 8)
    text, empty = torch.randn(2, 7, 12), torch.randn(2, 7, 12)
    with torch.no_grad(), attention.recording(unet, guided=False) as alone:
        unet(image, 3, encoder_hidden_states=text)
    with torch.no_grad(), attention.recording(unet, guided=True) as both:
        doubled = torch.cat([image, image])
        unet(doubled, 3, encoder_hidden_states=torch.cat([empty, text]))
    for name, maps in alone.plain.items():
        np.testing.assert_allclose(both.plain[name], maps, atol=1e-5)


def test_paper_divides_every_map_by_its_own_maximum():
    maps = random_maps(LAYERS)
    tokens, size = [[1, 3], [2]], 8
    total = np.zeros((2, size, size))
    for steps in maps.values():
        for step in steps:
            for image, row in enumerate(tokens):
                chosen = [step[image, x] / step[image, x].max() for x in row]
                mean = np.mean(chosen, 0)[None]
                total[image] += enlarge(mean, size)[0] / (len(maps) * len(steps))
    got = class_maps(store_of(maps), tokens, size, AttentionConfig("paper"))
    np.testing.assert_allclose(got, stretch(total), atol=1e-5)


def test_official_averages_per_resolution_without_the_middle_block():
    maps = random_maps(LAYERS)
    tokens, size = [[1, 3], [2, 4]], 8
    total = np.zeros((2, size, size))
    for layers in (["down_blocks.0", "up_blocks.1"], ["up_blocks.0"]):
        mean = np.mean([np.mean(maps[layer], 0) for layer in layers], 0)
        words = np.stack([mean[i, row].mean(0) for i, row in enumerate(tokens)])
        grown = enlarge(words, size)
        total += grown / grown.max((1, 2), keepdims=True) / 2
    got = class_maps(store_of(maps), tokens, size, AttentionConfig("official"))
    np.testing.assert_allclose(got, stretch(total), atol=1e-5)


def test_official_takes_the_coarsest_grid_for_sofa_only():
    maps = random_maps({"down_blocks.0": 16, "mid_block": 8})
    tokens, config = [[1], [1]], AttentionConfig("official")
    sofa = class_maps(store_of(maps), tokens, 16, config, "sofa")
    chair = class_maps(store_of(maps), tokens, 16, config, "chair")
    coarse = np.mean(maps["mid_block"], 0)[:, 1]
    np.testing.assert_allclose(sofa, stretch(enlarge(coarse, 16)), atol=1e-5)
    assert not np.allclose(sofa, chair)


def test_maps_are_stretched_and_a_flat_map_is_zero():
    flat = np.full((1, 2, 4, 4), 0.5)
    got = class_maps(store_of({"down_blocks.0": [flat]}), [[0]], 8)
    assert got.shape == (1, 8, 8)
    np.testing.assert_allclose(got, 0, atol=1e-5)
    varied = class_maps(store_of(random_maps(LAYERS)), [[0], [1]], 8)
    assert varied.min() == 0
    assert varied.max() == 1


def test_wrong_input_is_refused():
    with pytest.raises(InputError, match="at least one cross-attention"):
        class_maps(CrossAttention(), [[0]], 8)
    with pytest.raises(InputError, match="must hold tokens"):
        class_maps(store_of(random_maps(LAYERS)), [[], [1]], 8)
    with pytest.raises(InputError, match="square"):
        CrossAttention().add("down_blocks.0", torch.rand(1, 6, 3))
