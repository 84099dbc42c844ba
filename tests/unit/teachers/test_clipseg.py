"""CLIPSeg: its maps are transformers' own, in any company; what is refused."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the teachers' half needs [teachers]")

import PIL.Image
import safetensors.torch
import tiny_towers
import torch

from sas_jax.errors import ContractError, InputError
from sas_jax.registry import LoadOptions
from sas_jax.teachers import clip_text, clipseg
from sas_jax.teachers.contracts import check_segments
from sas_jax.teachers.heat import LabelledHeat
from sas_jax.teachers.patch_config import ClipSegConfig
from sas_jax.text import clip_weights

SIDE = 64
NAMES = ("bed", "office chair", "wall")
TOKENS = {
    "bed": [49406, 320, 1125, 539, 320, 2722, 269, 49407],
    "wall": [49406, 320, 1125, 539, 320, 2569, 269, 49407],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clipseg")
    tiny_towers.clipseg(folder)
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """The text tower is tiny too, and the user's cache is left alone."""
    monkeypatch.setenv("SAS_JAX_CACHE", str(tmp_path))
    monkeypatch.setitem(clip_weights.SIZES, clipseg.TOWER, tiny_towers.CLIP_TEXT)


def load(folder, **options):
    settings = ClipSegConfig(side=SIDE)
    return clipseg.load(LoadOptions(str(folder), settings=settings, **options))


@pytest.mark.parametrize("name", TOKENS)
def test_a_map_is_that_of_transformers(folder, name):
    (image,) = tiny_towers.pictures((30, 50))
    found = load(folder).heat([image], NAMES)[0][NAMES.index(name)]
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    resized = PIL.Image.fromarray(image).resize((SIDE, SIDE), PIL.Image.BILINEAR)
    pixels = (np.array(resized) / 255 - mean) / std
    whole = tiny_towers.transformers.CLIPSegForImageSegmentation.from_pretrained(folder)
    with torch.no_grad():
        logits = whole(
            input_ids=torch.tensor([TOKENS[name]]),
            pixel_values=torch.from_numpy(pixels).float().permute(2, 0, 1)[None],
        ).logits[0]
    assert found.dtype == np.float16 and found.shape == (SIDE, SIDE)
    # Pixels in half as many roundings, then half precision of the map.
    edge = 2 * np.finfo(np.float16).eps * np.abs(logits.numpy()).max()
    np.testing.assert_allclose(found, logits.numpy(), rtol=0, atol=edge)
    assert np.ptp(found) > 100 * edge


def test_company_changes_no_bit(folder):
    teacher = load(folder)
    images = tiny_towers.pictures((48, 48), (30, 50))
    together = teacher.heat(images, NAMES)
    for image, found in zip(images, together, strict=True):
        np.testing.assert_array_equal(load(folder).heat([image], NAMES)[0], found)
        alone = load(folder).heat([image], NAMES[1:2])[0]
        np.testing.assert_array_equal(alone[0], found[1])
    assert not np.array_equal(together[0][0], together[0][1])


def test_names_become_masks_in_the_space_of_its_own_clip(folder):
    teacher = LabelledHeat(load(folder), NAMES)
    (image,) = tiny_towers.pictures((30, 50))
    (found,) = teacher.segment([image])
    check_segments(found, "test")
    assert found.ids.shape == (30, 50) and set(found.labels) <= set(NAMES)
    space = teacher.spec.text_space
    assert (space.name, space.dim) == (clipseg.TOWER, 24)
    # The same tower in a folder of its own is the same space.
    assert clip_text.load(clipseg.TOWER, weights=str(folder)).space == space
    assert teacher.encode_text(NAMES).shape == (3, 24)
    teacher.close()


def test_labels_live_in_the_space_asked_for(folder):
    teacher = load(folder, label_space="minilm-l6-v2")
    assert teacher.spec.text_space.name == "minilm-l6-v2"
    assert teacher.encode_text(["a bed"]).shape == (1, 384)


def test_what_is_wrong_is_refused_in_one_line(folder, tmp_path):
    with pytest.raises(ContractError, match="clipseg: an image must be uint8"):
        load(folder).heat([np.zeros((8, 8, 4), np.uint8)], NAMES)
    with pytest.raises(InputError, match=r"prompt with \{\}"):
        ClipSegConfig(prompt="a photo")
    state = safetensors.torch.load_file(folder / "model.safetensors")
    del state["decoder.film_mul.weight"]
    safetensors.torch.save_file(
        state, tmp_path / "model.safetensors", metadata={"format": "pt"}
    )
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(InputError, match=r"clipseg: .*decoder\.film_mul\.weight"):
        load(tmp_path)
