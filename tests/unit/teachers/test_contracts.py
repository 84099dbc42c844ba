"""The teacher contracts: what is refused, and that specs key caches."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from text_spaces import space

from sas_jax.artefacts.files import content_key
from sas_jax.errors import ContractError
from sas_jax.teachers.contracts import (
    Segments,
    TeacherSpec,
    check_image,
    check_segments,
)

SPEC = TeacherSpec("t", "dense", space(384), 384, "random:0", {"long_side": 256})


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        [[0, 0, 0]],
    ],
)
def test_only_eight_bit_rgb_is_an_image(image):
    with pytest.raises(ContractError, match=r"uint8 \[H, W, 3\]"):
        check_image(image, "test")
    check_image(np.zeros((1, 1, 3), np.uint8), "test")


def test_empty_segments_are_sound_and_labels_without_pixels_too():
    check_segments(Segments(np.zeros((0, 0), np.int32), [], np.zeros(0)), "test")
    check_segments(Segments(np.zeros((2, 2), np.int32), ["bed"], np.ones(1)), "test")


def test_every_field_of_a_spec_changes_its_key():
    changes = {
        "name": "u",
        "contract": "mask",
        "text_space": space(384, "clip"),
        "feat_dim": 512,
        "weights_id": "random:1",
        "preprocess": {"long_side": 255},
        "impl": 2,
    }
    assert set(changes) == {f.name for f in dataclasses.fields(TeacherSpec)}
    keys = [
        content_key(dataclasses.replace(SPEC, **{k: v})) for k, v in changes.items()
    ]
    assert len({content_key(SPEC), *keys}) == len(changes) + 1
    assert content_key(SPEC) == content_key(dataclasses.replace(SPEC))


@pytest.mark.parametrize(
    "module",
    [
        "sas_jax.text.prompts",
        "sas_jax.text.minilm_files",
        "sas_jax.text.wording",
        "sas_jax.teachers.contracts",
        "sas_jax.teachers.registry",
        "sas_jax.lifting.align",
        "sas_jax.lifting.extract",
        "sas_jax.capability.contracts",
        "sas_jax.capability.registry",
    ],
)
def test_these_modules_import_neither_torch_nor_transformers_nor_flax(module):
    check_imports(module, {"torch", "transformers", "diffusers", "flax"})


@pytest.mark.parametrize("script", ["pipeline", "train", "evaluate", "query", "report"])
def test_scripts_of_the_jax_half_do_not_import_torch(script, root):
    check_imports(script, {"torch"}, root / "experiments")


def check_imports(module, banned, *places):
    code = (
        f"import sys; sys.path[:0] = {[str(p) for p in places]}; import {module}; "
        f"sys.exit(' '.join({banned} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
