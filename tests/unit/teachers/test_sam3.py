"""SAM 3: words as the library pads them, masks by the documented formula."""

import numpy as np
import pytest

pytest.importorskip("torch")

import tiny_hub
import torch

from sas_jax.errors import InputError
from sas_jax.registry import LoadOptions
from sas_jax.teachers import sam3
from sas_jax.teachers.named_masks import AskedConfig
from sas_jax.teachers.pixels import HALF, squeezed
from sas_jax.text import clip_tokens

NAMES = ("wall", "chair", "coffee table")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tiny_hub.write(tiny_hub.sam3(), tmp_path_factory.mktemp("sam3"))
    config = AskedConfig(0.3, names=NAMES)
    options = LoadOptions(str(folder), label_space="minilm-l6-v2", settings=config)
    return sam3.load(options)


def by_the_library(image, names, least):
    """Return (score, name, mask) of everything, from pixels and padded tokens."""
    found, network = [], tiny_hub.sam3()
    for name in names:
        ids = clip_tokens.load_tokenizer().encode(name).ids
        padded = ids + [clip_tokens.END] * (32 - len(ids))
        mask = [1] * len(ids) + [0] * (32 - len(ids))
        with torch.no_grad():
            out = network(
                pixel_values=squeezed(image, 112, HALF),
                input_ids=torch.tensor([padded]),
                attention_mask=torch.tensor([mask]),
            )
        scores = out.pred_logits.sigmoid() * out.presence_logits.sigmoid()
        masks = torch.nn.functional.interpolate(
            out.pred_masks.sigmoid(), image.shape[:2], mode="bilinear"
        )
        for score, one in zip(scores[0].tolist(), masks[0], strict=True):
            if score > least:
                found.append((score, name, (one > 0.5).numpy()))
    return sorted(found, key=lambda each: -each[0])


@pytest.mark.parametrize("size", [(40, 60), (90, 50)])
def test_masks_are_those_of_the_documented_formula(teacher, size):
    for seed in range(2):
        image = tiny_hub.picture(*size, seed)
        (mine,), theirs = teacher.segment([image]), by_the_library(image, NAMES, 0.3)
        ids = np.full(size, -1)
        for i, (_, _, mask) in reversed(list(enumerate(theirs))):
            ids[mask] = i
        left = [i for i in range(len(theirs)) if (ids == i).any()]
        assert mine.labels == [theirs[i][1] for i in left] and len(left) > 2
        wanted = [theirs[i][0] for i in left]
        np.testing.assert_allclose(mine.scores, wanted, atol=1e-5)
        for number, i in enumerate(left, 1):
            assert ((mine.ids == number) == (ids == i)).mean() > 0.999
        assert ((mine.ids == 0) == (ids == -1)).mean() > 0.999


def test_other_names_can_be_asked_for_and_only_the_surest_stay(teacher):
    image = tiny_hub.picture(40, 60)
    (found,) = teacher.segment([image], ["lamp", "sofa-merged", "background"])
    theirs = by_the_library(image, ["lamp", "sofa"], 0.3)
    assert set(found.labels) <= {name for _, name, _ in theirs} <= {"lamp", "sofa"}
    (again,) = teacher.segment([image])
    assert set(again.labels) <= set(NAMES)
    for odd in (["lamp", "lamp"], [""]):
        with pytest.raises(InputError, match="vocabulary of different names"):
            teacher.segment([image], odd)


def test_white_is_one_and_black_minus_one():
    for value, wanted in ((255, 1), (0, -1)):
        image = np.full((5, 9, 3), value, np.uint8)
        assert (squeezed(image, 8, HALF) == wanted).all()
