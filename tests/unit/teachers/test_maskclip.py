"""MaskCLIP: each patch against the formula, any company, and what is refused."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the teachers' half needs [teachers]")

import PIL.Image
import safetensors.torch
import tiny_towers
import torch

from sas_jax.errors import ContractError, InputError
from sas_jax.registry import LoadOptions
from sas_jax.teachers import maskclip, patches
from sas_jax.teachers.patch_config import PatchConfig
from sas_jax.text import clip_weights

CONFIG = PatchConfig(short_side=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    tiny_towers.clip(folder)
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """The text tower is tiny too, and the user's cache is left alone."""
    monkeypatch.setenv("SAS_JAX_CACHE", str(tmp_path))
    for kind in (maskclip.MaskClip, maskclip.MaskClipB32):
        monkeypatch.setitem(clip_weights.SIZES, kind.tower, tiny_towers.CLIP_TEXT)


def load(folder, **options):
    return maskclip.load(LoadOptions(str(folder), settings=CONFIG, **options))


def formula(folder, image, size, heads=2, patch=16):
    """Return the unit vectors [h, w, C] of an image, f64, patch by patch."""
    state = safetensors.torch.load_file(folder / "model.safetensors")
    state = {name: tensor.double().numpy() for name, tensor in state.items()}
    get = lambda name: state[f"vision_model.{name}"]  # noqa: E731

    def linear(x, name):
        return x @ get(f"{name}.weight").T + get(f"{name}.bias")

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
        return x * get(f"{name}.weight") + get(f"{name}.bias")

    def perceptron(x, name):
        x = linear(x, f"{name}.mlp.fc1")
        return linear(x / (1 + np.exp(-1.702 * x)), f"{name}.mlp.fc2")

    rows, columns = size[0] // patch, size[1] // patch
    resized = PIL.Image.fromarray(image).resize(size[::-1], PIL.Image.BICUBIC)
    seen = (np.array(resized) / 255 - patches.CLIP_MEAN) / patches.CLIP_STD
    kernel = get("embeddings.patch_embedding.weight").transpose(0, 2, 3, 1)
    x = np.array(
        [
            [
                np.tensordot(kernel, seen[i : i + patch, j : j + patch], 3)
                for j in range(0, size[1], patch)
            ]
            for i in range(0, size[0], patch)
        ]
    ).reshape(rows * columns, -1)
    places = get("embeddings.position_embedding.weight")
    square = torch.from_numpy(places[1:].T.reshape(1, -1, 3, 3).copy())
    if (rows, columns) != (3, 3):
        square = torch.nn.functional.interpolate(
            square, (rows, columns), mode="bicubic"
        )
    x = x + square[0].flatten(1).T.numpy()
    x = np.concatenate([[get("embeddings.class_embedding") + places[0]], x])
    x = norm(x, "pre_layrnorm")
    for i in range(3):
        name = f"encoder.layers.{i}"
        h = norm(x, f"{name}.layer_norm1")
        q, k, v = (linear(h, f"{name}.self_attn.{which}_proj") for which in "qkv")
        if i < 2:
            q, k, v = (np.stack(np.split(part, heads, 1)) for part in (q, k, v))
            scores = np.exp(q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[2]))
            v = np.concatenate(scores / scores.sum(2, keepdims=True) @ v, 1)
        x = x + linear(v, f"{name}.self_attn.out_proj")
        x = x + perceptron(norm(x, f"{name}.layer_norm2"), name)
    x = norm(x[1:], "post_layernorm") @ state["visual_projection.weight"].T
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x.reshape(rows, columns, -1)


@pytest.mark.parametrize(
    ("image", "seen"),
    [((48, 48), (64, 64)), ((30, 50), (64, 112)), ((90, 64), (96, 64))],
)
def test_each_patch_is_what_the_formula_says(folder, image, seen):
    (picture,) = tiny_towers.pictures(image)
    (found,) = load(folder).features([picture])
    wanted = formula(folder, picture, seen)
    assert found.dtype == np.float16 and found.shape == wanted.shape
    # Half precision of unit vectors.
    np.testing.assert_allclose(found, wanted, rtol=0, atol=4e-4)


def test_learnt_positions_stay_at_the_size_they_were_learnt_at(folder):
    (picture,) = tiny_towers.pictures((20, 20))
    teacher = maskclip.load(
        LoadOptions(str(folder), settings=PatchConfig(short_side=48))
    )
    wanted = formula(folder, picture, (48, 48))
    np.testing.assert_allclose(teacher.features([picture])[0], wanted, atol=4e-4)


def test_company_changes_no_bit(folder):
    teacher = load(folder)
    images = tiny_towers.pictures((48, 48), (30, 50), (48, 48))
    together = teacher.features(images)
    for image, found in zip(images, together, strict=True):
        np.testing.assert_array_equal(teacher.features([image])[0], found)
    assert not np.array_equal(together[0], together[2])
    assert teacher.features([]) == []


def test_texts_are_those_of_the_folders_own_tower(folder):
    teacher = load(folder)
    space = teacher.spec.text_space
    assert space.name == "clip-vit-b16" and teacher.spec.feat_dim == space.dim == 24
    whole = tiny_towers.transformers.CLIPModel.from_pretrained(folder)
    ids = torch.tensor([[49406, 320, 1125, 539, 320, 2368, 49407]])
    wanted = whole.get_text_features(ids).pooler_output[0]
    row = teacher.encode_text(["a photo of a cat"])[0]
    wanted = (wanted / wanted.norm()).detach().numpy()
    np.testing.assert_allclose(row, wanted, rtol=0, atol=1e-6)
    assert teacher.spec.weights_id.startswith("sha256:")
    teacher.close()


def test_the_clip_of_lseg_has_a_teacher_of_its_own(folder, tmp_path):
    tiny_towers.clip(tmp_path, 32)
    options = LoadOptions(str(tmp_path), settings=CONFIG)
    teacher = maskclip.load_b32(options)
    assert (teacher.spec.name, teacher.spec.text_space.name) == (
        "maskclip-b32",
        "clip-vit-b32",
    )
    (picture,) = tiny_towers.pictures((30, 50))
    wanted = formula(tmp_path, picture, (64, 96), patch=32)
    np.testing.assert_allclose(teacher.features([picture])[0], wanted, atol=4e-4)
    with pytest.raises(InputError, match=r"maskclip: .* 16 pixels.*got 32.*-b32 \(32"):
        maskclip.load(options)
    with pytest.raises(InputError, match=r"maskclip-b32: .* 32 pixels.*got 16"):
        maskclip.load_b32(LoadOptions(str(folder)))


def test_what_is_no_picture_is_refused_in_one_line(folder):
    teacher = load(folder)
    with pytest.raises(ContractError, match=r"maskclip: an image must be uint8"):
        teacher.features([np.zeros((8, 8), np.uint8)])
    with pytest.raises(InputError, match=r"8 times as long.*got 900 x 100 pixels"):
        teacher.features([np.zeros((100, 900, 3), np.uint8)])


@pytest.mark.parametrize("change", ["absent", "shape", "nan"])
def test_a_folder_that_does_not_fill_the_network_names_what(folder, tmp_path, change):
    state = safetensors.torch.load_file(folder / "model.safetensors")
    name = "vision_model.encoder.layers.2.self_attn.v_proj.weight"
    if change == "absent":
        del state[name]
    elif change == "shape":
        state[name] = torch.zeros(3, 3)
    else:
        state[name] = torch.full_like(state[name], float("nan"))
    safetensors.torch.save_file(
        state, tmp_path / "model.safetensors", metadata={"format": "pt"}
    )
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(InputError, match=r"maskclip: .*layers\.2\.self_attn\.v_proj"):
        load(tmp_path)


def test_an_older_folder_without_safetensors_is_read_all_the_same(folder, tmp_path):
    state = safetensors.torch.load_file(folder / "model.safetensors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    torch.save(state, tmp_path / "pytorch_model.bin")
    old, new = load(tmp_path), load(folder)
    images = tiny_towers.pictures((30, 50))
    np.testing.assert_array_equal(old.features(images)[0], new.features(images)[0])
    assert old.spec == new.spec
    del state["visual_projection.weight"]
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"maskclip: .*visual_projection\.weight"):
        load(tmp_path)
