"""OneFormer: images and task as the library has them, masks by the published rule."""

import numpy as np
import pytest

pytest.importorskip("torch")

import tiny_hub
import torch
import transformers
from transformers.models.oneformer.image_processing_pil_oneformer import (
    OneFormerImageProcessorPil,
)

from sas_jax.errors import InputError
from sas_jax.registry import LoadOptions
from sas_jax.teachers import oneformer
from sas_jax.teachers.named_masks import ClosedConfig
from sas_jax.text import clip_tokens

CONFIG = ClosedConfig(min_score=0.4, min_overlap=0.4)
ADE = ("wall", "painting, picture", "bed ", "door;double door", "wall-other-merged")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("oneformer")
    return tiny_hub.write(tiny_hub.oneformer(), place, size=(64, 96))


def load(folder):
    options = LoadOptions(str(folder), label_space="minilm-l6-v2", settings=CONFIG)
    return oneformer.load(options)


class Clip:
    """The library's tokenizer as its processor calls it, with CLIP's real words."""

    def __call__(self, texts, padding, max_length, truncation):
        tokenizer = clip_tokens.load_tokenizer()
        rows = [tokenizer.encode(text).ids for text in texts]
        masks = [[1] * len(row) + [0] * (max_length - len(row)) for row in rows]
        # it pads with the end, which the mask takes away
        padded = [row + [49407] * (max_length - len(row)) for row in rows]
        return {"input_ids": padded, "attention_mask": masks}


def by_the_library(image):
    """Return classes' logits and masks' logits at an image's size."""
    images = OneFormerImageProcessorPil(
        size={"shortest_edge": 64, "longest_edge": 96}, num_labels=5, num_text=1
    )
    pixels = images(image, return_tensors="pt")["pixel_values"]
    task = transformers.OneFormerProcessor._preprocess_text
    with torch.no_grad():
        out = tiny_hub.oneformer()(
            pixel_values=pixels,
            task_inputs=task(
                type("", (), {"tokenizer": Clip()}), ["the task is panoptic"]
            ),
        )
    masks = out.masks_queries_logits
    for size in (pixels.shape[2:], image.shape[:2]):
        masks = torch.nn.functional.interpolate(masks, size, mode="bilinear")
    return out.class_queries_logits[0].double().numpy(), masks[0].double().numpy()


def literal(classes, inside, stuff=(0, 4)):
    """Walk MaskFormer's rule: the map, and (class, score) of every mask."""
    odds = np.exp(classes - classes.max(1, keepdims=True))
    odds /= odds.sum(1, keepdims=True)
    kept = [q for q in range(len(odds)) if odds[q].argmax() < 5 and odds[q].max() > 0.4]
    ids, found, merged = np.zeros(inside.shape[1:], int), [], {}
    if not kept:
        return ids, found
    owner = np.argmax([odds[q].max() * inside[q] for q in kept], axis=0)
    for k, q in enumerate(kept):
        mine, own = owner == k, inside[q] >= 0.5
        if not (mine & own).any() or mine.sum() / own.sum() < 0.4:
            continue
        label = int(odds[q].argmax())
        if label not in merged:
            found.append((label, odds[q].max()))
        number = merged.get(label, len(found))
        ids[mine & own] = number
        if label in stuff:
            merged[label] = number
    return ids, found


@pytest.mark.parametrize("size", [(48, 64), (80, 40), (64, 64), (33, 121)])
def test_masks_are_those_of_the_published_rule(folder, size):
    teacher, seen = load(folder), set()
    for seed in range(8):
        image = tiny_hub.picture(*size, seed)
        (mine,), (logits, odds) = teacher.segment([image]), teacher.said(image)
        classes, masks = by_the_library(image)
        # of magnitude 20; a last bit of a pixel grows in these wide random weights
        np.testing.assert_allclose(logits.detach(), classes, atol=1e-2)
        np.testing.assert_allclose(odds.detach(), 1 / (1 + np.exp(-masks)), atol=2e-3)
        ids, found = literal(logits.double().detach().numpy(), odds.detach().numpy())
        assert (mine.ids == ids).mean() > 0.999  # in f64 two may part by a last bit
        names = ("wall", "chair", "table", "sofa", "door")
        assert mine.labels == [names[label] for label, _ in found]
        np.testing.assert_allclose(
            mine.scores, [score for _, score in found], atol=1e-5
        )
        seen |= set(mine.labels)
    assert len(seen) >= 2


def test_names_are_words_and_a_checkpoint_without_any_is_refused(tmp_path):
    teacher = load(tiny_hub.write(tiny_hub.oneformer(ADE), tmp_path / "ade"))
    assert teacher.names == ("wall", "painting", "bed", "door", "wall")
    nameless = tuple(f"LABEL_{i}" for i in range(5))
    folder = tiny_hub.write(tiny_hub.oneformer(nameless), tmp_path / "nameless")
    with pytest.raises(InputError, match=r"oneformer: names .* got LABEL_0"):
        load(folder)
