"""SigLIP 2 and TIPSv2: patches and texts against transformers' own, in both halves."""

import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="the teachers' half needs [teachers]")

import PIL.Image
import safetensors.torch
import tiny_towers
import torch
import transformers

from sas_jax.errors import ContractError, InputError, WeightsMissing
from sas_jax.registry import LoadOptions
from sas_jax.teachers import registry as teachers
from sas_jax.teachers import towers
from sas_jax.teachers.patch_config import PatchConfig
from sas_jax.text import registry

TEACHERS = {"siglip2": tiny_towers.siglip2, "tipsv2": tiny_towers.tipsv2}
TEXTS = ["a bed", "A  Bed", "chair.", "he had a bad bed beside a red chair", ""]
CONFIG = PatchConfig(short_side=64)
# Half precision of unit vectors.
HALF = {"rtol": 0, "atol": 4e-4}


@pytest.fixture(scope="module", params=TEACHERS)
def made(request, tmp_path_factory):
    """Name, model of transformers and folder."""
    folder = tmp_path_factory.mktemp(request.param) / request.param
    return request.param, TEACHERS[request.param](folder), folder


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No cache or weights of the user's."""
    monkeypatch.setenv("SAS_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SAS_JAX_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    registry._load.cache_clear()
    yield
    registry._load.cache_clear()


def load(name, folder):
    return teachers.load(name, LoadOptions(str(folder), settings=CONFIG))


def unit(rows):
    return (rows / rows.norm(dim=-1, keepdim=True)).numpy()


def pixels_of(name, image, size):
    """Return what the network takes of an image, by the formula."""
    resized = PIL.Image.fromarray(image).resize(size[::-1], PIL.Image.BICUBIC)
    seen = np.array(resized) / 255
    seen = seen * 2 - 1 if name == "siglip2" else seen
    return torch.from_numpy(seen).float().permute(2, 0, 1)[None]


def patches_alone(name, model, pixels):
    """Return the vectors of patches by transformers' own attention, made to see one."""
    tower = model.vision_model
    if name == "siglip2":
        states = tower(pixels, interpolate_pos_encoding=True).last_hidden_state
        hidden = ~torch.eye(states.shape[1], dtype=torch.bool)
        asked, many = tower.head.attention, states.expand(states.shape[1], -1, -1)
        probe = tower.head.probe.expand(len(many), -1, -1)
        rows = asked(probe, many, many, key_padding_mask=hidden)[0][:, 0]
        return rows + tower.head.mlp(tower.head.layernorm(rows))
    states = tower.embeddings(pixels)
    bias = torch.zeros(states.shape[1], states.shape[1])
    bias.masked_fill_(~torch.eye(len(bias), dtype=torch.bool), float("-inf"))
    for layer in tower.encoder.layer[:-1]:
        states = layer(states)
    states = tower.encoder.layer[-1](states, attention_mask=bias[None, None])
    return tower.layernorm(states)[0, 2:]


@pytest.mark.parametrize("image", [(48, 48), (30, 50), (90, 64)])
def test_a_patch_is_what_attention_to_it_alone_gives(made, image):
    name, model, folder = made
    (picture,) = tiny_towers.pictures(image)
    (found,) = load(name, folder).features([picture])
    assert found.dtype == np.float16 and found.shape[2] == 32
    patch = 16 if name == "siglip2" else 14
    size = found.shape[0] * patch, found.shape[1] * patch
    assert abs(min(size) - 64) <= patch / 2
    assert abs(size[1] / size[0] - image[1] / image[0]) < 0.3
    wanted = unit(patches_alone(name, model, pixels_of(name, picture, size)))
    np.testing.assert_allclose(found, wanted.reshape(found.shape), **HALF)


def test_one_patch_is_the_pooled_image(tmp_path):
    """Where an image is one patch, pooling has nothing to mix."""
    model = tiny_towers.siglip2(tmp_path)
    (picture,) = tiny_towers.pictures((16, 16))
    config = PatchConfig(short_side=16)
    teacher = teachers.load("siglip2", LoadOptions(str(tmp_path), settings=config))
    pooled = model.get_image_features(
        pixels_of("siglip2", picture, (16, 16)), interpolate_pos_encoding=True
    ).pooler_output
    np.testing.assert_allclose(teacher.features([picture])[0][0], unit(pooled), **HALF)


def test_texts_are_those_of_transformers_in_both_halves(made, tmp_path):
    name, model, folder = made
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = []
    for text in TEXTS[:-1]:
        asked = {"padding": "max_length", "max_length": 12, "truncation": True}
        ids = tokenizer(text, return_tensors="pt", **asked)
        if name == "siglip2":
            ids.pop("attention_mask")  # its padding is seen
        rows.append(unit(model.get_text_features(**ids).pooler_output)[0])
    teacher = load(name, folder)
    found = teacher.encode_text(TEXTS)
    np.testing.assert_allclose(found[:-1], rows, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(teacher.encode_text(TEXTS[2:3])[0], found[2])
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / name).symlink_to(folder)
    tower = registry.of_space(teacher.spec.text_space, "the features")
    np.testing.assert_allclose(tower.encode(TEXTS), found, rtol=0, atol=1e-6)
    tower.check(["a bed"])
    labels = towers.load(f"{name}-text")
    assert labels.space == tower.space == teacher.spec.text_space
    np.testing.assert_array_equal(labels.encode(TEXTS), found)
    assert np.isfinite(found).all() and tower.encode([]).shape == (0, 32)


def test_company_changes_no_bit(made):
    name, _, folder = made
    teacher = load(name, folder)
    images = tiny_towers.pictures((48, 48), (30, 50), (48, 48))
    together = teacher.features(images)
    for image, found in zip(images, together, strict=True):
        np.testing.assert_array_equal(teacher.features([image])[0], found)
    teacher.close()


def test_what_is_no_picture_is_refused_in_one_line(made):
    name, _, folder = made
    teacher = load(name, folder)
    with pytest.raises(ContractError, match=f"{name}: an image must be uint8"):
        teacher.features([np.zeros((8, 8, 3), np.float32)])
    with pytest.raises(InputError, match="8 times as long"):
        teacher.features([np.zeros((100, 900, 3), np.uint8)])


@pytest.mark.parametrize("part", ["vision", "text"])
def test_a_folder_that_does_not_fill_a_tower_names_what(made, tmp_path, part):
    name, _, folder = made
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    state = safetensors.torch.load_file(copy / "model.safetensors")
    last = [key for key in state if key.startswith(part) and ".1." in key]
    for gone in last:  # what is left would be a network of fewer layers
        del state[gone]
    safetensors.torch.save_file(
        state, copy / "model.safetensors", metadata={"format": "pt"}
    )
    assert last
    with pytest.raises(InputError, match=rf"{name}.*got none for .*\.1\."):
        load(name, copy)


def test_a_tower_that_computes_otherwise_is_refused(made, tmp_path):
    name, _, folder = made
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    stated = json.loads((folder / "config.json").read_text())
    stated["text_config"]["hidden_act"] = "silu"
    (tmp_path / "config.json").write_text(json.dumps(stated))
    with pytest.raises(InputError, match=r"hidden_act.*got .*silu"):
        load(name, tmp_path)


def test_a_folder_without_tokenizer_says_how_to_write_one(made, tmp_path):
    name, _, folder = made
    for path in folder.iterdir():
        if path.name != "tokenizer.json":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InputError, match=r"tokenizer\.json.*save_pretrained"):
        load(name, tmp_path).encode_text(["a bed"])


def test_without_weights_no_text_is_known(made):
    with pytest.raises(WeightsMissing, match=f"{made[0]}-text needs google/"):
        registry.load(f"{made[0]}-text")
