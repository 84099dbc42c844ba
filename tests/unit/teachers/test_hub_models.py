"""What every model of transformers has to do: one image one answer, whole files."""

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("torch")

import safetensors.torch
import tiny_hub
from tiny_hub import picture

from sas_jax.errors import ContractError, InputError
from sas_jax.registry import LoadOptions
from sas_jax.teachers import registry
from sas_jax.teachers.contracts import Segments, check_segments
from sas_jax.teachers.named_masks import AskedConfig, ClosedConfig

ANY = ClosedConfig(min_score=0.3, min_overlap=0.3)
ASKED = AskedConfig(0.25, names=("wall", "chair", "coffee table"))


def written(make):
    return lambda folder: tiny_hub.write(make(), folder, size=(64, 96))


MASKS = {
    "eomt": (written(tiny_hub.eomt), ANY),
    "oneformer": (written(tiny_hub.oneformer), ANY),
    "sam3": (written(tiny_hub.sam3), ASKED),
    "grounded_sam2": (tiny_hub.write_grounded, ASKED),
}
CAPTIONERS = {"blip": tiny_hub.write_blip, "florence2": tiny_hub.write_florence2}
"""Name -> what writes a tiny one, for masks with settings that leave it some."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Write every tiny model once."""
    made = {}

    def folder(name):
        if name not in made:
            write = CAPTIONERS.get(name) or MASKS[name][0]
            made[name] = write(tmp_path_factory.mktemp(name))
        return made[name]

    return folder


def load(name, folder):
    settings = None if name in CAPTIONERS else MASKS[name][1]
    options = LoadOptions(str(folder), label_space="minilm-l6-v2", settings=settings)
    return registry.load(name, options)


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_teacher_keeps_its_contract_alone_and_in_company(folders, name):
    teacher = load(name, folders(name))
    assert teacher.spec.name == name and teacher.spec.contract == "mask"
    assert teacher.spec.weights_id.startswith("sha256:")
    json.dumps(teacher.spec.preprocess)
    images = [picture(40, 60), picture(64, 48, 1), picture(40, 60, 2), picture(1, 1)]
    together = teacher.segment(images)
    assert sum(len(found.labels) for found in together) > 1
    for image, found in zip(images, together, strict=True):
        check_segments(found, name)
        assert found.ids.shape == image.shape[:2] and found.ids.dtype == np.int32
        assert set(np.unique(found.ids)) - {0} == set(range(1, len(found.labels) + 1))
        assert found.scores.dtype == np.float32
        assert ((found.scores > 0) & (found.scores <= 1)).all()
        (alone,) = teacher.segment([image])
        assert (alone.ids == found.ids).all() and alone.labels == found.labels
        assert (alone.scores == found.scores).all()
    assert teacher.encode_text(["a chair"]).shape == (1, teacher.spec.feat_dim)
    teacher.close()


@pytest.mark.parametrize("name", MASKS)
def test_an_image_that_is_none_is_refused_in_one_line(folders, name):
    teacher = load(name, folders(name))
    for odd in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)):
        with pytest.raises(ContractError, match=rf"{name}: .*uint8 \[H, W, 3\]") as e:
            teacher.segment([odd])
        assert "\n" not in str(e.value)


def three_masks():
    ids = np.zeros((40, 60), np.int32)
    ids[2:20, 5:30], ids[25:40, 40:60] = 1, 3
    return Segments(ids, ["a", "absent", "b"], np.ones(3, np.float32))


@pytest.mark.parametrize("name", CAPTIONERS)
def test_a_captioner_keeps_its_contract_alone_and_in_company(folders, name):
    captioner, segments = load(name, folders(name)), three_masks()
    said = captioner.caption(picture(40, 60), segments)
    assert len(said) == 3 and said[1] == "" and said[0] and said[0] != said[2]
    only = Segments((segments.ids == 3).astype(np.int32), ["b"], np.ones(1, np.float32))
    assert captioner.caption(picture(40, 60), only) == [said[2]]
    assert captioner.caption(picture(40, 60, 1), segments) != said
    nothing = Segments(np.zeros((40, 60), np.int32), [], np.zeros(0, np.float32))
    assert captioner.caption(picture(40, 60), nothing) == []
    assert captioner.id == load(name, folders(name)).id and name in captioner.id
    captioner.close()


@pytest.mark.parametrize("name", CAPTIONERS)
def test_masks_of_another_size_are_refused_in_one_line(folders, name):
    captioner = load(name, folders(name))
    for image in (picture(40, 61), np.zeros((40, 60), np.uint8)):
        with pytest.raises(ContractError, match=rf"^{name}: .*") as e:
            captioner.caption(image, three_masks())
        assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", [*MASKS, *CAPTIONERS])
@pytest.mark.parametrize("fault", ["missing", "shape", "number"])
def test_a_file_that_does_not_fill_the_network_names_a_tensor(
    folders, name, fault, tmp_path
):
    shutil.copytree(folders(name), tmp_path / "odd")
    path = tmp_path / "odd" / "model.safetensors"
    state = safetensors.torch.load_file(path)
    own = [n for n in state if state[n].ndim > 1 and len(state[n]) < 1000]  # no words
    victim = max(own, key=lambda n: state[n].numel())
    whole = state.pop(victim)
    if fault == "shape":
        state[victim] = whole[:-1].contiguous()
    elif fault == "number":
        state[victim] = whole * float("nan")
    safetensors.torch.save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"[\w.]+\.weight .*/odd\)") as e:
        load(name, tmp_path / "odd")
    assert "\n" not in str(e.value) and str(e.value).startswith(f"{name}: ")
