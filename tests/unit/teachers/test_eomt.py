"""EoMT: images and masks as transformers' own processor has them."""

import numpy as np
import pytest

pytest.importorskip("torch")

import tiny_hub
import torch
from transformers.models.eomt.image_processing_pil_eomt import EomtImageProcessorPil

from sas_jax.registry import LoadOptions
from sas_jax.teachers import eomt
from sas_jax.teachers.contracts import check_segments
from sas_jax.teachers.named_masks import ClosedConfig

CONFIG = ClosedConfig(min_score=0.4, min_overlap=0.5)
SIZES = [(48, 64), (80, 40), (64, 64), (33, 121)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_hub.write(tiny_hub.eomt(), tmp_path_factory.mktemp("eomt"))


def load(folder):
    options = LoadOptions(str(folder), label_space="minilm-l6-v2", settings=CONFIG)
    return eomt.load(options)


@pytest.fixture(scope="module")
def teacher(folder):
    return load(folder)


def by_the_library(image):
    """Return the panoptic and the semantic map of an image."""
    size = {"shortest_edge": 64, "longest_edge": 64}
    processor = EomtImageProcessorPil(size=size, do_pad=True)
    pixels = processor(image, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        out = tiny_hub.eomt()(pixel_values=pixels)
    (best,) = processor.post_process_semantic_segmentation(out, [image.shape[:2]], size)
    (found,) = processor.post_process_panoptic_segmentation(
        out,
        [image.shape[:2]],
        threshold=CONFIG.min_score,
        overlap_mask_area_threshold=CONFIG.min_overlap,
        stuff_classes=[0, 4],
        size=size,
    )
    return found, best


@pytest.mark.parametrize("size", SIZES)
def test_masks_are_those_of_the_librarys_processor(teacher, size):
    many = 0
    for seed in range(3):
        image = tiny_hub.picture(*size, seed)
        (mine,), (theirs, best) = teacher.segment([image]), by_the_library(image)
        check_segments(mine, "eomt")
        assert (mine.ids == theirs["segmentation"].numpy() + 1).all()
        names = ("wall", "chair", "table", "sofa", "door")
        info = theirs["segments_info"]
        assert mine.labels == [names[each["label_id"]] for each in info]
        np.testing.assert_allclose(mine.scores, [e["score"] for e in info], atol=1e-5)
        assert mine.label_names == names and mine.label_map.max() < len(names)
        if size == (64, 64):  # elsewhere the library counts the padding in
            assert (mine.label_map == best.numpy()).all()
        many += len(info)
    assert many >= 3


def test_stuff_is_one_mask_and_things_are_their_own(folder, monkeypatch):
    teacher = load(folder)
    classes = torch.full((5, 6), -9.0)  # four corners, and nothing
    classes[range(5), [0, 1, 0, 1, 5]] = 9
    masks = torch.zeros((5, 8, 8))
    for k, (row, column) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4)]):
        masks[k, row : row + 4, column : column + 3] = 0.9
    monkeypatch.setattr(teacher, "said", lambda image: (classes, masks))
    (found,) = teacher.segment([tiny_hub.picture(8, 8)])
    assert found.labels == ["wall", "chair", "chair"]  # `wall` is stuff of COCO
    assert found.ids[[0, 4, 0, 4, 0], [0, 0, 4, 4, 3]].tolist() == [1, 1, 2, 3, 0]
    assert found.label_map[:, 0].tolist() == [0] * 8
