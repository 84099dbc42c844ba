"""SAM and SAM 2: equal to the library's own way, encoded once, weights that fill."""

import copy
import json

import numpy as np
import pytest
import torch
import transformers
from tiny_sam import SAM2_EDGE, tiny_sam, tiny_sam2

from sas_jax.capability import sam, sam2
from sas_jax.capability.sam import SamPrompter
from sas_jax.capability.sam2 import Sam2Prompter
from sas_jax.errors import InputError
from sas_jax.registry import LoadOptions

SIZES = [(48, 80), (64, 64), (101, 37), (200, 320)]
COUNTS = [1, 3, 7]


def picture(size, count, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    return image, np.stack([rng.integers(0, edge, count) for edge in size], 1)


def by_the_library(model, processor, image, points):
    inputs = processor(
        image,
        input_points=[[[[int(x), int(y)] for y, x in points]]],
        input_labels=[[[1] * len(points)]],
        return_tensors="pt",
    )
    with torch.no_grad():
        output = model(**inputs, multimask_output=False)
    return processor.image_processor.post_process_masks(
        output.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
    )[0][0, 0].numpy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", COUNTS)
def test_sam_equals_the_librarys_own_processor(size, count):
    model, processor = tiny_sam()
    image, points = picture(size, count)
    mask = SamPrompter(model, processor).mask(image, points)
    assert mask.shape == size and mask.dtype == bool
    assert (mask == by_the_library(model, processor, image, points)).all()
    assert mask.any() and not mask.all()


def test_sam_gets_rgb_and_points_as_x_y():
    model, processor = tiny_sam()
    image, points = picture((48, 80), 2)
    image[..., 2] = 0
    seen = {}
    model.vision_encoder.register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(pixels=args[0] if args else kwargs),
        with_kwargs=True,
    )
    model.prompt_encoder.register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(kwargs), with_kwargs=True
    )
    SamPrompter(model, processor).mask(image, points)
    blue = (0 - 0.406) / 0.225
    np.testing.assert_allclose(seen["pixels"][0, 2, :38, :64], blue, rtol=1e-5)
    scaled = points[:, ::-1] * [64 / 80, 38 / 48]
    np.testing.assert_allclose(seen["input_points"][0, 0], scaled, rtol=1e-6)


def literal_pixels(image, edge):
    """Squeeze an image bilinearly: every output is a weighted mean, a loop each.

    A triangle as wide as the step between two outputs, at least one pixel, weighs.
    """

    def weights(length):
        step = length / edge
        width = max(step, 1)
        rows = np.zeros((edge, length))
        for i in range(edge):
            middle = (i + 0.5) * step
            for j in range(length):
                rows[i, j] = max(0, 1 - abs(j + 0.5 - middle) / width)
            rows[i] /= rows[i].sum()
        return rows

    height, width = image.shape[:2]
    rows = np.tensordot(weights(height), image, (1, 0))
    return np.tensordot(rows, weights(width), (1, 1)).transpose(0, 2, 1)


@pytest.mark.parametrize("size", SIZES)
def test_sam2_sees_what_the_documented_formula_gives(size):
    image, points = picture(size, 3)
    pixels, spots = sam2.network_input(image, points, SAM2_EDGE)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    levels = pixels[0].permute(1, 2, 0).numpy() * std + mean
    levels = levels * 255
    np.testing.assert_allclose(levels, levels.round(), atol=1e-3)
    assert np.abs(levels - literal_pixels(image, SAM2_EDGE)).max() <= 0.5 + 1e-3
    for (row, column), (x, y) in zip(points, spots[0, 0], strict=True):
        assert x == pytest.approx(column * SAM2_EDGE / size[1], rel=1e-6)
        assert y == pytest.approx(row * SAM2_EDGE / size[0], rel=1e-6)


def literal_upsampling(logits, size):
    """Bilinear between the centres of pixels, held constant beyond the outer ones."""
    out = np.zeros(size)
    low = logits.shape
    for r in range(size[0]):
        for c in range(size[1]):
            y = min(max((r + 0.5) * low[0] / size[0] - 0.5, 0), low[0] - 1)
            x = min(max((c + 0.5) * low[1] / size[1] - 0.5, 0), low[1] - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, low[0] - 1), min(left + 1, low[1] - 1)
            fy, fx = y - top, x - left
            above = (1 - fx) * logits[top, left] + fx * logits[top, right]
            below = (1 - fx) * logits[bottom, left] + fx * logits[bottom, right]
            out[r, c] = (1 - fy) * above + fy * below
    return out


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", COUNTS)
def test_sam2_equals_its_formula_on_the_librarys_network(size, count):
    model = tiny_sam2()
    image, points = picture(size, count)
    mask = Sam2Prompter(model).mask(image, points)
    pixels, spots = sam2.network_input(image, points, SAM2_EDGE)
    with torch.no_grad():
        output = model(
            pixel_values=pixels,
            input_points=spots,
            input_labels=torch.ones((1, 1, count), dtype=torch.int32),
            multimask_output=False,
        )
    wanted = literal_upsampling(output.pred_masks[0, 0, 0].double().numpy(), size)
    sure = np.abs(wanted) > 1e-5 * np.abs(wanted).max()
    assert mask.shape == size and mask.dtype == bool and sure.mean() > 0.99
    assert (mask == (wanted > 0))[sure].all()


def prompters():
    return {"sam": SamPrompter(*tiny_sam()), "sam2": Sam2Prompter(tiny_sam2())}


@pytest.mark.parametrize("name", ["sam", "sam2"])
def test_an_image_is_encoded_once(name):
    prompter, calls = prompters()[name], []
    prompter.model.vision_encoder.register_forward_hook(lambda *_: calls.append(1))
    image, points = picture((40, 60), 4)
    first = prompter.mask(image, points)
    one = prompter.mask(image.copy(), points[:1])
    assert len(calls) == 1
    other, _ = picture((40, 60), 4, seed=1)
    prompter.mask(other, points)
    assert len(calls) == 2
    alone = prompters()[name]
    assert (alone.mask(image, points[:1]) == one).all()
    assert (prompter.mask(image, points) == first).all()
    assert not prompter.one_thread


@pytest.mark.parametrize("name", ["sam", "sam2"])
@pytest.mark.parametrize("size", [(3, 60), (1, 1), (60, 3)])
def test_images_of_three_rows_are_images_too(name, size):
    image, points = picture(size, 2)
    assert prompters()[name].mask(image, points).shape == size


@pytest.mark.parametrize("name", ["sam", "sam2"])
@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("config.json", {"vision_config": "x"}, "cannot be read"),
        ("config.json", {"dtype": "float99"}, "cannot be read"),
        ("config.json", [], "cannot be read"),
        ("processor_config.json", [], "cannot be read"),
        ("config.json", {"dtype": "float16"}, None),
    ],
)
def test_settings_that_lie(name, file, content, said, tmp_path):
    if (name, file) == ("sam2", "processor_config.json"):
        pytest.skip("has no processor")
    here, module = prompters()[name], {"sam": sam, "sam2": sam2}[name]
    here.model.save_pretrained(tmp_path)
    tiny_sam()[1].save_pretrained(tmp_path)
    path = tmp_path / file
    if isinstance(content, dict):
        content = {**json.loads(path.read_text()), **content}
    path.write_text(json.dumps(content))
    if said is None:
        loaded = module.load(LoadOptions(str(tmp_path)))
        assert loaded.model.dtype == torch.float32
        assert loaded.mask(*picture((48, 80), 2)).shape == (48, 80)
    else:
        with pytest.raises(InputError, match=f"{name}: a complete folder .*{said}"):
            module.load(LoadOptions(str(tmp_path)))


@pytest.mark.parametrize("name", ["sam", "sam2"])
def test_a_folder_fills_the_network_or_is_refused(name, tmp_path):
    from safetensors.torch import load_file, save_file

    here, module = prompters()[name], {"sam": sam, "sam2": sam2}[name]
    here.model.save_pretrained(tmp_path)
    if name == "sam":
        tiny_sam()[1].save_pretrained(tmp_path)
    loaded = module.load(LoadOptions(str(tmp_path)))
    image, points = picture((48, 80), 3)
    assert (loaded.mask(image, points) == here.mask(image, points)).all()
    assert loaded.spec["weights"] == here.spec["weights"]
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    gone = next(key for key in state if key.startswith("mask_decoder"))
    del state[gone]
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=f"{name}: the files must fill .*mask_decoder"):
        module.load(LoadOptions(str(tmp_path)))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=f"{name}: a complete folder"):
        module.load(LoadOptions(str(tmp_path)))


@pytest.mark.parametrize("name", ["sam", "sam2"])
def test_what_a_prompter_is_follows_weights_and_settings(name):
    first = prompters()[name].spec
    assert prompters()[name].spec == first
    model = {"sam": lambda: tiny_sam(1)[0], "sam2": lambda: tiny_sam2(1)}[name]()
    made = {"sam": lambda m: SamPrompter(m, tiny_sam()[1]), "sam2": Sam2Prompter}[name]
    assert made(model).spec != first
    settings = prompters()[name].model
    settings.config.mask_decoder_config.hidden_act = "silu"
    assert made(settings).spec != first
    if name == "sam":
        model, processor = tiny_sam()
        images = copy.deepcopy(processor)
        images.image_processor.do_normalize = False
        assert SamPrompter(model, images).spec != first


def test_the_random_ones_have_the_size_of_the_published_ones(monkeypatch):
    monkeypatch.setattr(sam, "built", lambda make, seed: make())
    with torch.device("meta"):
        large, hiera = sam.random_sam(0), transformers.Sam2Model(sam2.settings())
    count = sum(p.numel() for p in large.parameters())
    # of the published 641,090,608 and a table of 2 x 128 that is no parameter there
    assert count == 641_090_864
    # 224.4 million with the memory that only videos ask for
    assert sum(p.numel() for p in hiera.parameters()) == 216_924_865
    assert isinstance(large, transformers.SamModel)
