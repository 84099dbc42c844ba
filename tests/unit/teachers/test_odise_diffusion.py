"""Taps inside of Stable Diffusion, against a walk by the numbers of CompVis."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import tiny_odise
import torch
from torch.nn import functional

from sas_jax.teachers.checkpoint import built
from sas_jax.teachers.odise.captioner import ImplicitCaptioner
from sas_jax.teachers.odise.diffusion import TAPS, DiffusionFeatures, Tap


def _input_blocks(unet):
    yield [unet.conv_in]
    for level in unet.down_blocks:
        attentions = getattr(level, "attentions", [None] * len(level.resnets))
        for pair in zip(level.resnets, attentions, strict=True):
            yield [part for part in pair if part is not None]
        if level.downsamplers:
            yield [level.downsamplers[0]]


def _output_blocks(unet):
    for level in unet.up_blocks:
        attentions = getattr(level, "attentions", [None] * len(level.resnets))
        for i, pair in enumerate(zip(level.resnets, attentions, strict=True)):
            block = [part for part in pair if part is not None]
            if level.upsamplers and i == len(level.resnets) - 1:
                block.append(level.upsamplers[0])
            yield block


def _run(block, h, emb, context):
    for part in block:
        kind = type(part).__name__
        if kind == "ResnetBlock2D":
            h = part(h, emb)
        elif kind == "Transformer2DModel":
            h = part(h, encoder_hidden_states=context, return_dict=False)[0]
        else:
            h = part(h)
    return h


def _unet_inputs(unet, x, context, shift):
    """Inputs of `output_blocks`, by number."""
    half = unet.config.block_out_channels[0] // 2
    step = torch.cat([torch.ones(len(x), half), torch.zeros(len(x), half)], 1)
    emb = unet.time_embedding.linear_1(step)
    emb = unet.time_embedding.linear_2(functional.silu(emb)) + shift
    hs, h, found = [], x, {}
    for block in _input_blocks(unet):
        h = _run(block, h, emb, context)
        hs.append(h)
    middle = unet.mid_block
    h = _run([middle.resnets[0], *middle.attentions], h, emb, context)
    h = _run([middle.resnets[1]], h, emb, context)
    for number, block in enumerate(_output_blocks(unet)):
        h = torch.cat([h, hs.pop()], 1)
        found[number] = h
        h = _run(block, h, emb, context)
    return found


def _half_vae(levels, first, sampler):
    """Inputs of the residual blocks of an encoder or decoder, and what leaves it."""
    h, number, found = first, 0, {}
    for level in levels:
        for block in level.resnets:
            found[number] = h
            h = block(h, None)
            number += 1
        if samplers := getattr(level, sampler):
            h = samplers[0](h)
    return found, h


def _oracle(model, images, condition, shift):
    vae, unet = model.vae, model.unet
    encoder, decoder = vae.encoder, vae.decoder
    first = encoder.conv_in(2 * images - 1)
    encoded, h = _half_vae(encoder.down_blocks, first, "downsamplers")
    h = functional.silu(encoder.conv_norm_out(encoder.mid_block(h)))
    mean = vae.quant_conv(encoder.conv_out(h))[:, :4]
    noise = torch.randn(1, *mean.shape[1:], generator=torch.Generator().manual_seed(42))
    noised = 0.999**0.5 * 0.18215 * mean + 0.001**0.5 * noise
    walked = _unet_inputs(unet, noised, condition, shift)
    first = decoder.mid_block(decoder.conv_in(vae.post_quant_conv(mean)))
    decoded, _ = _half_vae(decoder.up_blocks, first, "upsamplers")
    by_part = {"encoder": encoded, "unet": walked, "decoder": decoded}
    return [by_part[tap.part][tap.block] for tap in TAPS]


@pytest.fixture(scope="module")
def model():
    return built(tiny_odise.diffusion, 0).requires_grad_(False)


@torch.no_grad()
def test_taps_are_the_inputs_of_the_blocks_that_compvis_numbers(model):
    torch.manual_seed(1)
    images, condition = torch.rand(2, 3, 64, 64), torch.randn(2, 5, 12)
    shift = torch.randn(2, 32)
    wanted = _oracle(model, images, condition, shift)
    found = model(images, condition, shift)
    assert [t.shape[1] for t in found] == list(model.channels)
    assert [64 // t.shape[2] for t in found] == list(model.strides)
    assert model.strides == (4, 8, 64, 32, 16, 8, 8, 4)
    for tap, a, b in zip(TAPS, found, wanted, strict=True):
        # Rounding of sums in another order.
        bound = 1e-6 * max(1.0, float(b.abs().max()))
        torch.testing.assert_close(a, b, rtol=0, atol=bound, msg=str(tap))


def test_published_sizes_give_the_published_channels():
    import diffusers

    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(cross_attention_dim=768)
        vae = diffusers.AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
        )
    model = DiffusionFeatures(unet, vae, 0.999)
    assert model.channels == (512, 512, 2560, 1920, 960, 640, 512, 512)
    assert model.noise.shape == (1, 4, 64, 64)


@torch.no_grad()
def test_caption_and_step_reach_the_unet_alone(model):
    torch.manual_seed(1)
    images, condition = torch.rand(1, 3, 64, 64), torch.randn(1, 5, 12)
    base = model(images, condition)
    captioned = model(images, condition + 1)
    shifted = model(images, condition, torch.ones(1, 32))
    for tap, *maps in zip(TAPS, base, captioned, shifted, strict=True):
        same = tap.part != "unet"
        assert torch.equal(maps[0], maps[1]) == same, tap
        assert torch.equal(maps[0], maps[2]) == same, tap
    again = model(images, condition)  # the hooks are gone
    assert all(torch.equal(a, b) for a, b in zip(base, again, strict=True))
    assert not model.unet.time_embedding._forward_hooks


@torch.no_grad()
def test_an_error_inside_leaves_no_hooks(model):
    with pytest.raises(RuntimeError):
        model(torch.rand(1, 3, 64, 64), torch.randn(1, 5, 13), torch.ones(1, 32))
    hooks = [m for m in model.modules() if m._forward_pre_hooks or m._forward_hooks]
    assert hooks == []


def test_other_taps_and_windows_can_be_asked_for():
    taps = (Tap("encoder", 0), Tap("unet", 11), Tap("decoder", 3))
    small = built(tiny_odise.diffusion, 0)
    model = DiffusionFeatures(small.unet, small.vae, 0.999, 128, taps)
    with torch.no_grad():
        maps = model(torch.rand(1, 3, 128, 128), torch.randn(1, 5, 12))
    assert model.strides == (1, 8, 4)
    assert [128 // map_.shape[-1] for map_ in maps] == [1, 8, 4]


@torch.no_grad()
def test_the_captioner_is_gated_and_one_place_at_a_time():
    model = built(lambda: ImplicitCaptioner(6, 3, 4, 5), 0)
    torch.manual_seed(1)
    embedding, empty = torch.randn(2, 6), torch.randn(1, 4, 3)
    condition, shift = model(embedding, empty)
    project, time = model.clip_project, model.time_embed_project
    for b in range(2):
        for t in range(4):
            said = project.linear.weight @ embedding[b] + project.linear.bias
            said = said + project.positional_embedding[0, t]
            wanted = empty[0, t] + torch.tanh(model.alpha_cond[0, t]) * said
            torch.testing.assert_close(condition[b, t], wanted)
        said = time.linear.weight @ embedding[b] + time.linear.bias
        said = said + time.positional_embedding[0, 0]
        wanted = torch.tanh(model.alpha_cond_time_embed) * said
        torch.testing.assert_close(shift[b], wanted)
    model.alpha_cond.zero_()
    assert torch.equal(model(embedding, empty)[0], empty.expand(2, -1, -1))
