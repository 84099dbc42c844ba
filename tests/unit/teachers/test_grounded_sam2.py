"""Grounded SAM 2: text, boxes and outlines as the libraries' own parts have them."""

import pathlib

import numpy as np
import pytest

pytest.importorskip("torch")

import tiny_hub
import tiny_sam
import torch
import transformers
from tiny_hub import picture
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)

from sas_jax.errors import WeightsMissing
from sas_jax.registry import LoadOptions
from sas_jax.teachers import grounded_sam2
from sas_jax.teachers.grounding import prompts_of, spans_scored
from sas_jax.teachers.named_masks import AskedConfig, painted
from sas_jax.teachers.sam2 import seen_by_sam2
from sas_jax.text import minilm_files

NAMES = ("wall", "chair", "coffee table", "door")
CONFIG = AskedConfig(0.25, most=12, names=NAMES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_hub.write_grounded(tmp_path_factory.mktemp("grounded"))


@pytest.fixture(scope="module")
def teacher(folder):
    options = LoadOptions(str(folder), label_space="minilm-l6-v2", settings=CONFIG)
    return grounded_sam2.load(options)


@pytest.fixture(scope="module")
def processor():
    """Return the detector's own processor."""
    tokenizer = minilm_files.load_tokenizer()
    return transformers.GroundingDinoProcessor(
        GroundingDinoImageProcessorPil(size={"shortest_edge": 96, "longest_edge": 192}),
        transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer),
    )


def test_the_text_is_that_of_the_librarys_processor(processor):
    tokenizer = minilm_files.load_tokenizer()
    (mine,) = prompts_of(NAMES, tokenizer, 256)
    theirs = processor(text=[[name.upper() for name in NAMES]], return_tensors="pt")
    assert list(mine.ids) == theirs["input_ids"][0].tolist()
    said = [tokenizer.decode(list(mine.ids[a:b])) for a, b in mine.spans]
    assert said == list(mine.names) == list(NAMES)


def test_names_that_do_not_fit_into_a_text_are_asked_for_in_another():
    tokenizer = minilm_files.load_tokenizer()
    odd = [*NAMES, "what? is. this", "?", "a " * 50, "lamp"]
    prompts = prompts_of(odd, tokenizer, 10)
    assert [name for p in prompts for name in p.names] == odd
    dot = tokenizer.token_to_id(".")
    for prompt in prompts:
        assert len(prompt.ids) <= 10 and prompt.ids.count(dot) == len(prompt.names)
        assert all(b > a and dot not in prompt.ids[a:b] for a, b in prompt.spans)


def test_a_box_is_named_by_its_likeliest_token():
    probability = torch.tensor([[0.9, 0.1, 0.2, 0.3, 0.8], [0.0, 0.5, 0.1, 0.4, 0.9]])
    scores, best = spans_scored(probability, [(1, 2), (2, 4)])
    assert scores.tolist() == pytest.approx([0.3, 0.5]) and best == [1, 0]


@pytest.mark.parametrize("size", [(40, 60), (60, 40), (30, 100)])
def test_boxes_are_those_of_the_librarys_processor(teacher, processor, size):
    image = picture(*size)
    inputs = processor(images=image, text=[list(NAMES)], return_tensors="pt")
    with torch.no_grad():
        out = tiny_hub.grounding_dino()(**inputs)
    (theirs,) = processor.post_process_grounded_object_detection(
        out, inputs["input_ids"], threshold=-1, target_sizes=[size]
    )
    # the library's score may be that of a dot: tokens of names alone count here
    spans = [(1, 2), (3, 4), (5, 7), (8, 9)]
    probability = out.logits[0].sigmoid().numpy()
    each = np.stack([probability[:, a:b].max(1) for a, b in spans], 1)
    order = [i for i in np.argsort(-each.max(1), kind="stable") if each[i].max() > 0.25]
    assert len(order) > 3
    order = order[:12]
    with torch.no_grad():
        boxes, scores, labels = teacher.boxes(image, teacher.names_for(None))
    assert labels == [NAMES[each[i].argmax()] for i in order] and len(set(labels)) > 1
    np.testing.assert_allclose(scores, each[order].max(1), atol=1e-5)
    edge = np.array([*size[::-1]] * 2, np.float32)
    wanted = theirs["boxes"].numpy()[order].clip(0, edge)
    np.testing.assert_allclose(boxes, wanted, atol=2e-3)


def test_masks_are_those_that_sam_2_has_for_the_boxes(teacher):
    image = picture(40, 60)
    (found,) = teacher.segment([image])
    with torch.no_grad():
        boxes, scores, labels = teacher.boxes(image, teacher.names_for(None))
    ids, network = np.zeros((40, 60), int), tiny_sam.tiny_sam2()
    for i in reversed(range(len(boxes))):
        scaled = boxes[i] * torch.tensor([128 / 60, 128 / 40] * 2)
        with torch.no_grad():
            out = network(
                pixel_values=seen_by_sam2(image, 128),
                input_boxes=scaled[None, None],
                multimask_output=False,
            )
        mask = torch.nn.functional.interpolate(
            out.pred_masks[0], (40, 60), mode="bilinear"
        )
        ids[mask[0, 0].numpy() > 0] = i + 1
    left = [i for i in np.unique(ids) if i]
    assert found.labels == [labels[i - 1] for i in left] and len(left) > 1
    np.testing.assert_allclose(found.scores, [scores[i - 1] for i in left], atol=1e-6)
    table = np.array(
        [0, *(left.index(i + 1) + 1 if i + 1 in left else 0 for i in range(12))]
    )
    assert (found.ids == table[ids]).mean() > 0.999  # a logit may be 0 within 1e-6


def test_the_surer_mask_has_the_pixel():
    wide, small = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    wide[:] = True
    small[0, 0] = True
    found = painted(
        [wide, small, small], [0.5, 0.9, 0.1], ["wall", "tap", "tap"], (2, 4)
    )
    assert found.labels == ["tap", "wall"] and found.ids.tolist() == [
        [1, 2, 2, 2],
        [2] * 4,
    ]
    np.testing.assert_allclose(found.scores, [0.9, 0.5])


def test_without_sam_2_its_folder_is_named(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SAS_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("SAS_JAX_WEIGHTS", raising=False)
    alone = tmp_path / "alone"
    alone.mkdir()
    for path in pathlib.Path(folder).glob("*.*"):
        (alone / path.name).write_bytes(path.read_bytes())
    with pytest.raises(WeightsMissing, match=r"SAM 2 .*alone/sam2"):
        grounded_sam2.load(LoadOptions(str(alone), label_space="minilm-l6-v2"))
