"""What every model of transformers has to do: one image one answer, whole files."""

import json
import re
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
from sas_jax.teachers.contracts import check_segments
from sas_jax.teachers.named_masks import AskedConfig, ClosedConfig

ANY = ClosedConfig(min_score=0.3, min_overlap=0.3)
ASKED = AskedConfig(0.25, names=("wall", "chair", "coffee table"))


def written(make):
    return lambda folder: tiny_hub.write(make(), folder, size=(64, 96))


MASKS = {
    "eomt": (written(tiny_hub.eomt), ANY),
    "grounded_sam2": (tiny_hub.write_grounded, ASKED),
}
"""Name -> what writes a tiny one, settings that leave it masks."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Write every tiny model once."""
    made = {}

    def folder(name):
        if name not in made:
            made[name] = MASKS[name][0](tmp_path_factory.mktemp(name))
        return made[name]

    return folder


def load(name, folder):
    options = LoadOptions(
        str(folder), label_space="minilm-l6-v2", settings=MASKS[name][1]
    )
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


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("fault", ["missing", "shape", "number"])
def test_a_file_that_does_not_fill_the_network_names_a_tensor(
    folders, name, fault, tmp_path
):
    shutil.copytree(folders(name), tmp_path / "odd")
    path = tmp_path / "odd" / "model.safetensors"
    state = safetensors.torch.load_file(path)
    victim = max(state, key=lambda n: state[n].numel() * state[n].is_floating_point())
    whole = state.pop(victim)
    if fault == "shape":
        state[victim] = whole[:-1].contiguous()
    elif fault == "number":
        state[victim] = whole * float("nan")
    safetensors.torch.save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=re.escape(victim)) as e:
        load(name, tmp_path / "odd")
    assert "\n" not in str(e.value) and str(e.value).startswith(f"{name}: ")
