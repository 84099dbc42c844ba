"""Stable Diffusion: attention against the authors' store, pipelines, sizes, words."""

import json

import numpy as np
import prompt_to_prompt
import pytest
import torch
from tiny_diffusion import tiny_pipeline, tiny_xl_pipeline

from sas_jax.capability import attention, diffusion_pipelines, random_diffusion
from sas_jax.capability.attention import AttentionConfig
from sas_jax.capability.contracts import SynthesizerOptions
from sas_jax.capability.stable_diffusion import (
    StableDiffusionConfig,
    StableDiffusionSynthesizer,
    load,
)
from sas_jax.errors import InputError, WeightsMissing

PROMPT = "a good photo of a shower curtain"
MAKE = {"1.5": tiny_pipeline, "xl": tiny_xl_pipeline}
SMALL = StableDiffusionConfig(steps=2, image_size=64)


SCHEDULE, WORDS = "scheduler/scheduler_config", "tokenizer/tokenizer"


def run(pipeline, seeds, **how):
    prompts = [PROMPT, "a photo of a chair in a room"][: len(seeds)]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    how = {"guidance_scale": 7.0, "output_type": "latent", **how}
    return pipeline(prompts, generator=generators, **how).images


@pytest.mark.parametrize(
    ("family", "size", "steps", "seeds", "guidance", "scheduler"),
    [
        ("1.5", 128, 3, [5], 7.0, None),
        ("1.5", 192, 2, [1, 9], 7.0, None),
        ("1.5", 64, 4, [2], 2.5, "ddim"),
        ("1.5", 64, 3, [2, 3], 1.0, "dpm"),
        ("xl", 128, 2, [4], 5.0, None),
        ("xl", 64, 3, [6, 7], 7.0, "euler"),
    ],
)
def test_maps_equal_those_of_the_prompt_to_prompt_store(
    family, size, steps, seeds, guidance, scheduler
):
    ours, theirs = MAKE[family](), MAKE[family]()
    if scheduler:
        for pipeline in (ours, theirs):
            diffusion_pipelines.set_scheduler(pipeline, scheduler)
    how = {"height": size, "width": size, "guidance_scale": guidance}
    how["num_inference_steps"] = steps
    with attention.recording(ours.unet, guided=guidance > 1) as store:
        image = run(ours, seeds, **how)
    literal = prompt_to_prompt.watch(theirs.unet, guided=guidance > 1)
    np.testing.assert_allclose(run(theirs, seeds, **how), image, atol=1e-4)
    for places in (("down", "up"), ("down", "mid", "up")):
        maps = store.by_resolution(places)
        assert len(maps) >= 2
        for edge, mean in maps.items():
            for i in range(len(seeds)):
                wanted = literal.aggregate(edge, places, i, len(seeds))
                got = mean[i].flatten(1).T
                torch.testing.assert_close(got, wanted, atol=1e-6, rtol=0)


def test_the_authors_sampler_calls_the_network_once_more_than_it_has_steps():
    pipeline, calls = tiny_pipeline(), []
    pipeline.unet.register_forward_pre_hook(lambda *_: calls.append(1))
    config = StableDiffusionConfig(steps=10, image_size=64, scheduler="pndm")
    StableDiffusionSynthesizer(pipeline, config).synthesize(PROMPT, "curtain", [0])
    assert len(calls) == 11
    pipeline.scheduler.set_timesteps(50)
    assert len(pipeline.scheduler.timesteps) == 51


@pytest.mark.parametrize("family", MAKE)
def test_it_paints_by_the_contract_and_a_batch_changes_nothing_visible(family):
    config = StableDiffusionConfig(steps=2, image_size=64, batch=2)
    synthesizer = StableDiffusionSynthesizer(MAKE[family](), config)
    made = synthesizer.synthesize(PROMPT, "shower curtain", [1, 2, 3])
    assert made.images.shape == (3, 64, 64, 3)
    assert made.attention.shape == (3, 64, 64)
    assert made.attention.min() == 0 and made.attention.max() == 1
    again = synthesizer.synthesize(PROMPT, "shower curtain", [3])
    assert np.abs(again.images[0].astype(int) - made.images[2]).max() <= 1
    other = synthesizer.synthesize(PROMPT, "shower curtain", [4])
    assert (other.images[0] != made.images[2]).any()
    assert synthesizer.images_at_once == 2


def test_the_class_map_is_that_of_the_literal_store():
    """Authors' way: mean per resolution, enlarged, by its maximum, mean, stretched."""
    config, size = StableDiffusionConfig(steps=3, image_size=128), 128
    synthesizer = StableDiffusionSynthesizer(
        tiny_pipeline(), config, AttentionConfig("official")
    )
    made = synthesizer.synthesize(PROMPT, "shower curtain", [8])
    pipeline = tiny_pipeline()
    store = prompt_to_prompt.watch(pipeline.unet)
    run(pipeline, [8], height=size, width=size, num_inference_steps=3)
    told = pipeline.tokenizer(PROMPT)["input_ids"]
    texts = [pipeline.tokenizer.decode([i]).strip() for i in told]
    tokens = [i for i, text in enumerate(texts) if text in ("shower", "curta", "in")]
    assert len(tokens) == 3
    total = torch.zeros(size, size)
    for edge in (4, 8, 16):
        mean = store.aggregate(edge, ("down", "up"), 0, 1)[:, tokens].mean(1)
        grown = torch.nn.functional.interpolate(
            mean.view(1, 1, edge, edge), (size, size), mode="bicubic"
        )[0, 0]
        total += grown / grown.max() / 3
    wanted = (total - total.min()) / (total.max() - total.min())
    np.testing.assert_allclose(made.attention[0], wanted, atol=1e-4)


def test_images_have_the_size_that_the_network_was_trained_for():
    assert StableDiffusionSynthesizer(tiny_pipeline()).spec["config"]["image_size"] == (
        256
    )
    xl = StableDiffusionSynthesizer(tiny_xl_pipeline())
    assert xl.spec["config"]["image_size"] == 128
    with pytest.raises(InputError, match="multiple of 8, got 100"):
        StableDiffusionSynthesizer(
            tiny_pipeline(), StableDiffusionConfig(image_size=100)
        )


def test_images_that_are_not_square_are_refused():
    pipeline = tiny_pipeline()
    with (
        pytest.raises(InputError, match=r"square, got a latent grid of 8 x 32"),
        attention.recording(pipeline.unet, guided=True),
    ):
        run(pipeline, [0], height=64, width=256, num_inference_steps=1)
    run(pipeline, [0], height=64, width=256, num_inference_steps=1)  # as before


def test_half_precision_keeps_maps_in_single_precision():
    pipeline = tiny_pipeline()
    config = StableDiffusionConfig(steps=1, image_size=64, dtype="bfloat16")
    synthesizer = StableDiffusionSynthesizer(pipeline, config)
    with attention.recording(pipeline.unet, guided=True) as store:
        run(pipeline, [0], height=64, width=64, num_inference_steps=1)
    assert {maps.dtype for maps in store.plain.values()} == {torch.float32}
    made = synthesizer.synthesize(PROMPT, "shower curtain", [0])
    assert np.isfinite(made.attention).all() and made.attention.max() == 1


def test_numbers_that_overflow_are_told():
    pipeline = tiny_pipeline()
    with torch.no_grad():
        pipeline.vae.decoder.conv_out.bias.fill_(float("nan"))
    with pytest.raises(InputError, match="finite numbers"):
        StableDiffusionSynthesizer(pipeline, SMALL).synthesize(PROMPT, "curtain", [0])


def test_a_prompt_without_the_class_is_refused():
    synthesizer = StableDiffusionSynthesizer(tiny_pipeline(), SMALL)
    with pytest.raises(InputError, match="must contain the word"):
        synthesizer.synthesize(PROMPT, "chair", [0])


def test_settings_out_of_range_are_refused():
    with pytest.raises(InputError, match="pndm, ddim, dpm, euler, got heun"):
        StableDiffusionConfig(scheduler="heun")
    for setting in ({"steps": 0}, {"guidance": float("nan")}, {"guidance": -1.0}):
        with pytest.raises(InputError, match=next(iter(setting))):
            StableDiffusionConfig(**setting)
    with pytest.raises(InputError, match="dtype must be one of"):
        StableDiffusionConfig(dtype="float99")
    with pytest.raises(InputError, match=r"diffusion_steps .*<= 1000"):
        StableDiffusionSynthesizer(tiny_pipeline(), StableDiffusionConfig(steps=1001))


@pytest.mark.parametrize("merges", [48894, 48893])
def test_a_tokenizer_that_splits_words_otherwise_is_noticed(merges):
    """One with fewer merges has as many entries as CLIP's."""
    pipeline = tiny_pipeline()
    whole = random_diffusion.clip_tokenizer()
    known = json.loads(whole.backend_tokenizer.to_str())["model"]
    pipeline.tokenizer = type(whole)(
        vocab=known["vocab"],
        merges=[tuple(pair) for pair in known["merges"][:merges]],
        model_max_length=77,
    )
    pipeline.text_encoder.config.vocab_size = len(pipeline.tokenizer)
    if merges == len(known["merges"]):
        diffusion_pipelines.check_pipeline(pipeline)
    else:
        with pytest.raises(InputError, match=r"own merges .* got 48893 or others"):
            diffusion_pipelines.check_pipeline(pipeline)


def test_an_empty_tokenizer_is_noticed():
    pipeline = tiny_pipeline()
    pipeline.text_encoder.config.vocab_size += 1
    with pytest.raises(InputError, match="tokenizer must have"):
        StableDiffusionSynthesizer(pipeline)


def test_a_pipeline_without_attention_to_words_is_refused():
    class Transformer:
        transformer = None

    with pytest.raises(InputError, match=r"cross-attention to words .* Transformer"):
        StableDiffusionSynthesizer(Transformer())


@pytest.mark.parametrize("family", MAKE)
def test_a_folder_gives_the_same_images(family, tmp_path):
    MAKE[family]().save_pretrained(tmp_path)
    options = SynthesizerOptions(
        str(tmp_path), steps=2, image_px=64, guidance=4.0, scheduler="ddim"
    )
    loaded = load(options)
    config = StableDiffusionConfig(2, 4.0, 64, "ddim")
    here = StableDiffusionSynthesizer(MAKE[family](), config)
    assert loaded.spec["weights"] == here.spec["weights"]
    one, two = (s.synthesize(PROMPT, "shower curtain", [3]) for s in (loaded, here))
    # a file's weights lie elsewhere in memory, which moves the last bits of sums
    assert np.abs(one.images.astype(int) - two.images).max() <= 1
    np.testing.assert_allclose(one.attention, two.attention, atol=1e-3)


def test_a_folder_in_half_precision_is_read(tmp_path):
    tiny_pipeline().save_pretrained(tmp_path, variant="fp16")
    assert not (tmp_path / "unet/diffusion_pytorch_model.safetensors").exists()
    pipeline = diffusion_pipelines.load_pipeline(tmp_path)
    assert pipeline.unet.dtype == torch.float32


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "model_index.json").unlink(), "no|none with a model_index"),
        (lambda f: family(f, "FluxPipeline"), "1.x, 2.x or XL"),
        (lambda f: family(f, "StableDiffusion3Pipeline"), "got StableDiffusion3"),
        (lambda f: forget(f, "conv_in.bias"), "fill UNet2D.* none for conv_in.bias"),
        (lambda f: weights(f).unlink(), "complete folder"),
        (lambda f: weights(f).write_bytes(b"cut"), "complete folder"),
        (lambda f: empty_words(f), "complete folder|tokenizer must have"),
        (lambda f: change(f, "model_index", unet="x"), "cannot be read.*model_index"),
        (lambda f: change(f, "model_index", unet=["diffusers", "No"]), "cannot be rea"),
        (lambda f: change(f, "model_index", unet=["os", "system"]), "got os.system"),
        (lambda f: change(f, "unet/config", attention_head_dim=0), "ZeroDivision"),
        (lambda f: change(f, "unet/config", sample_size=None), "edge is required"),
        (lambda f: change(f, "text_encoder/config", hidden_act="no"), "cannot be read"),
        (lambda f: change(f, SCHEDULE, beta_schedule="no"), "no is not implemented"),
        (lambda f: (f / f"{SCHEDULE}.json").write_text("[]"), "cannot be read"),
        (lambda f: (f / f"{WORDS}_config.json").unlink(), "cuts texts at 77"),
        (lambda f: (f / f"{WORDS}.json").write_text("[]"), "cannot be read"),
        (lambda f: spread(f, "conv_in.bias"), "finite weights.*conv_in.bias.*unet"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(spoil, message, tmp_path):
    tiny_pipeline().save_pretrained(tmp_path)
    spoil(tmp_path)
    with pytest.raises((InputError, WeightsMissing), match=message):
        StableDiffusionSynthesizer(diffusion_pipelines.load_pipeline(tmp_path))


def family(folder, name):
    change(folder, "model_index", _class_name=name)


def weights(folder):
    return folder / "unet/diffusion_pytorch_model.safetensors"


def change(folder, name, **values):
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def spread(folder, name):
    from safetensors.torch import load_file, save_file

    state = load_file(weights(folder))
    state[name][-1] = torch.nan
    save_file(state, weights(folder))


def forget(folder, name):
    from safetensors.torch import load_file, save_file

    state = load_file(weights(folder))
    del state[name]
    save_file(state, weights(folder))


def empty_words(folder):
    for path in (folder / "tokenizer").iterdir():
        path.unlink()


def test_absent_weights_say_what_to_do(tmp_path):
    with pytest.raises(WeightsMissing, match="stable-diffusion needs"):
        load(SynthesizerOptions(str(tmp_path / "nothing")))


def test_what_a_pipeline_is_follows_its_parts():
    def spec(pipeline, **config):
        config = StableDiffusionConfig(**{"image_size": 64, "steps": 2, **config})
        return StableDiffusionSynthesizer(pipeline, config).spec

    first = spec(tiny_pipeline())
    assert spec(tiny_pipeline()) == first
    assert spec(tiny_pipeline(seed=1)) != first
    assert spec(tiny_pipeline(), scheduler="ddim") != first
    assert spec(tiny_pipeline(), steps=3) != first
    other = tiny_pipeline()
    other.unet.register_to_config(norm_eps=1e-3)
    assert spec(other) != first
    second = tiny_xl_pipeline()
    before = spec(tiny_xl_pipeline())
    with torch.no_grad():
        next(second.text_encoder_2.parameters()).view(-1)[0] += 1
    assert spec(second) != before


def test_the_random_one_has_the_size_of_the_published_one():
    import diffusers
    import transformers

    with torch.device("meta"):
        networks = [
            transformers.CLIPTextModel(
                transformers.CLIPTextConfig(**random_diffusion.TEXT)
            ),
            diffusers.UNet2DConditionModel(**random_diffusion.UNET),
            diffusers.AutoencoderKL(**random_diffusion.DECODER),
        ]
    counts = [sum(p.numel() for p in network.parameters()) for network in networks]
    assert counts == [123_060_480, 859_520_964, 83_653_863]
