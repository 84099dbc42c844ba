"""The small synthesizer: determinism, guidance, token choice, weights on disk."""

import pickle

import numpy as np
import pytest
import torch

from sas_jax.capability import attention
from sas_jax.errors import DamagedFile, InputError, WeightsMissing
from sas_jax.rooms.painter import diffusion_net, small_diffusion
from sas_jax.rooms.painter.diffusion_net import SmallDiffusionConfig
from sas_jax.rooms.painter.small_diffusion import SamplingConfig
from sas_jax.rooms.painter.synthesizer import SmallSynthesizer, one_thread
from sas_jax.rooms.painter.token_states import load_token_states

TINY = SmallDiffusionConfig(image_size=32, channels=(8, 16, 16), heads=2)
PROMPT = "a good photo of a shower curtain"


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    unet = diffusion_net.build_unet(TINY)
    for value in unet.parameters():  # a fresh network is nearly blind to its text
        torch.nn.init.normal_(value, std=0.2)
    return small_diffusion.SmallDiffusion(TINY, unet, "random:0")


@pytest.fixture(scope="module")
def synthesizer(model):
    return SmallSynthesizer(model, SamplingConfig(steps=3))


def test_fold_and_unfold_are_inverse():
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    folded = diffusion_net.fold(images, 2)
    assert folded.shape == (2, 12, 4, 4)
    assert folded.min() >= -1
    assert folded.max() <= 1
    assert (diffusion_net.unfold(folded, 2) == images).all()


def test_context_joins_a_token_with_those_before_it():
    states = torch.arange(8.0).reshape(1, 4, 2)
    joined = diffusion_net.with_context(states, 3)[0].tolist()
    assert joined[0] == [0, 1, 0, 0, 0, 0]
    assert joined[1] == [2, 3, 0, 1, 0, 0]
    assert joined[3] == [6, 7, 4, 5, 2, 3]
    assert torch.equal(diffusion_net.with_context(states, 1), states)


def test_a_fresh_network_sees_every_token_alone():
    torch.manual_seed(0)
    mixing = diffusion_net.build_unet(TINY).encoder_hid_proj
    states = torch.randn(1, 5, TINY.text_dim)
    joined = diffusion_net.with_context(states, TINY.context)
    torch.testing.assert_close(mixing(joined), states)


def test_same_seed_same_bits_and_other_seed_other_image(synthesizer):
    first = synthesizer.synthesize(PROMPT, "shower curtain", [4, 5])
    again = synthesizer.synthesize(PROMPT, "shower curtain", [4, 5])
    assert first.images.shape == (2, 32, 32, 3)
    assert first.images.dtype == np.uint8
    assert (first.images == again.images).all()
    assert (first.attention == again.attention).all()
    assert (first.images[0] != first.images[1]).any()
    assert first.attention.min() == 0
    assert first.attention.max() == 1


@pytest.mark.parametrize("draw", ["synthesize", "redraw"])
def test_the_network_works_on_one_thread(synthesizer, model, draw):
    before, seen = torch.get_num_threads(), []
    hook = model.unet.register_forward_hook(
        lambda *_: seen.append(torch.get_num_threads())
    )
    torch.set_num_threads(3)
    try:
        if draw == "synthesize":
            synthesizer.synthesize(PROMPT, "shower curtain", [0])
        else:
            images = np.zeros((1, 32, 32, 3), np.uint8)
            synthesizer.redraw(images, PROMPT, "shower curtain", [0], strength=0.7)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
        hook.remove()
    assert seen and set(seen) == {1}


def test_a_painter_can_be_sent_to_another_process(synthesizer):
    sent = pickle.dumps(synthesizer)
    assert len(sent) < 5e6  # without the tables of token states
    there = pickle.loads(sent)
    one, two = (
        p.synthesize(PROMPT, "shower curtain", [0]) for p in (synthesizer, there)
    )
    assert (one.images == two.images).all()
    assert (one.attention == two.attention).all()
    assert there.spec == synthesizer.spec


def test_an_image_hardly_depends_on_its_batch(synthesizer):
    alone = synthesizer.synthesize(PROMPT, "shower curtain", [5])
    both = synthesizer.synthesize(PROMPT, "shower curtain", [4, 5])
    difference = alone.images[0].astype(int) - both.images[1]
    assert np.abs(difference).max() <= 1
    np.testing.assert_allclose(alone.attention[0], both.attention[1], atol=1e-3)


def test_guidance_extrapolates_from_the_empty_text(model):
    noise = torch.randn(1, 12, 16, 16, generator=torch.Generator().manual_seed(7))
    step = torch.tensor(999)
    states = model.text(["", PROMPT], TINY.text_length).states
    states = diffusion_net.with_context(states, TINY.context)
    free, told = (
        model.unet(noise, step, encoder_hidden_states=state[None]).sample
        for state in states
    )
    model.scheduler.set_timesteps(1)
    wanted = model.scheduler.step(free + 3 * (told - free), 999, noise).prev_sample
    got = model.sample([PROMPT], [7], SamplingConfig(steps=1, guidance=3))
    difference = got.astype(int) - diffusion_net.unfold(wanted, 2)
    assert np.abs(difference).max() <= 1
    plain = model.sample([PROMPT], [7], SamplingConfig(steps=1, guidance=1))
    assert (plain != got).any()


def test_attention_of_a_class_is_the_mean_over_its_words(model):
    synthesizer = SmallSynthesizer(model, SamplingConfig(steps=2))
    made = synthesizer.synthesize(PROMPT, "shower curtain", [3])
    offsets = model.text([PROMPT], TINY.text_length).offsets[0]
    words = [PROMPT[a:b] for a, b in offsets]
    tokens = [i for i, word in enumerate(words) if word in ("shower", "curtain")]
    assert len(tokens) == 2
    # As it is painted: sums of another number of threads differ by 1e-6 and more.
    with one_thread(), attention.recording(model.unet, guided=True) as store:
        model.sample([PROMPT], [3], SamplingConfig(steps=2))
    wanted = attention.class_maps(store, [tokens], 32)
    np.testing.assert_allclose(made.attention, wanted, atol=1e-6)


def test_redraw_keeps_the_image_at_little_strength(synthesizer):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (1, 32, 32, 3), np.uint8)
    made = synthesizer.redraw(images, PROMPT, "shower curtain", [0], strength=0.01)
    assert made.images.shape == images.shape
    assert made.attention.shape == (1, 32, 32)
    anew = synthesizer.redraw(images, PROMPT, "shower curtain", [0], strength=1.0)
    assert (anew.images != made.images).any()


def test_a_word_that_the_prompt_lacks_is_refused(synthesizer):
    with pytest.raises(InputError, match="must contain the word"):
        synthesizer.synthesize(PROMPT, "chair", [0])


def test_weights_survive_the_disk(model, tmp_path):
    path = tmp_path / "model.safetensors"
    small_diffusion.save(path, model, {"trained": "never"})
    back = small_diffusion.load(path)
    assert back.config == TINY
    assert back.weights_id.startswith("sha256:")
    for name, value in model.unet.state_dict().items():
        # float16 on disk: relative step 2^-11
        np.testing.assert_allclose(
            back.unet.state_dict()[name], value, rtol=2**-10, atol=1e-7
        )


def test_absent_and_damaged_weights_are_told_apart(model, tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(WeightsMissing, match="pretrain_rooms"):
        small_diffusion.load(path)
    small_diffusion.save(path, model, {})
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DamagedFile):
        small_diffusion.load(path)


def test_token_states_equal_the_towers_first_hidden_states():
    from sas_jax.teachers.text import load_torch_minilm

    tower, states = load_torch_minilm(), load_token_states()
    ids = torch.tensor([tower._tokenizer.encode(PROMPT).ids])
    with torch.no_grad():
        wanted = tower._model.embeddings(input_ids=ids)
    got = states([PROMPT], 20).states[:, : ids.shape[1]]
    torch.testing.assert_close(got, wanted)


def test_too_long_a_prompt_is_refused():
    with pytest.raises(InputError, match="at most 4 tokens"):
        load_token_states()([PROMPT], 4)
