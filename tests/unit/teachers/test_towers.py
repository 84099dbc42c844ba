"""Towers of labels: a mask teacher's words live in the space that is asked for."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the teachers' half needs [teachers]")

from sas_jax.errors import InputError
from sas_jax.registry import LoadOptions
from sas_jax.teachers import registry, towers


@pytest.mark.parametrize(
    ("name", "weights_id"),
    [
        ("minilm-l6-v2", None),
        ("clip-vit-b32", "random:0"),
        ("clip-vit-l14-336", "random:0"),
    ],
)
def test_a_tower_is_of_the_space_that_it_is_named_for(name, weights_id):
    tower = towers.load(name, weights="random:0")
    assert tower.space.name == name
    assert weights_id in (None, tower.space.weights_sha256)
    rows = tower.encode(["a desk", "a bed"])
    assert rows.shape == (2, tower.space.dim) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    tower.to("cpu")
    tower.close()


def test_a_space_without_a_tower_names_those_that_have_one():
    with pytest.raises(InputError, match=r"clip-vit-b32.*got letters.*--label_space"):
        towers.load("letters")


@pytest.mark.parametrize("space", [None, "minilm-l6-v2", "clip-vit-l14-336"])
def test_labels_of_a_mask_teacher_live_in_the_space_asked_for(space):
    options = LoadOptions("random:0", label_space=space)
    teacher = registry.load("seem", options)
    assert teacher.spec.text_space.name == (space or "clip-vit-b32")
    assert teacher.spec.feat_dim == teacher.spec.text_space.dim
    row = teacher.encode_text(["a desk"])
    assert row.shape == (1, teacher.spec.feat_dim)
    teacher.close()
