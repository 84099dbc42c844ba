"""Florence-2: question, pixels and words as the library's own way has them."""

import numpy as np
import pytest

pytest.importorskip("torch")

import tiny_hub
import torch
import transformers
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from sas_jax.registry import LoadOptions
from sas_jax.teachers import florence2
from sas_jax.teachers.contracts import Segments
from sas_jax.teachers.florence2_words import PLACE, Letters

SIZES = [(40, 60), (64, 64), (90, 31)]


@pytest.fixture(scope="module")
def captioner(tmp_path_factory):
    folder = tiny_hub.write_florence2(tmp_path_factory.mktemp("florence2"))
    return florence2.load(LoadOptions(str(folder)))


@pytest.fixture(scope="module")
def processor():
    """Return the model's own processor; 4 cells and their mean are an image."""
    images = CLIPImageProcessorPil(
        size={"height": 64, "width": 64},
        do_center_crop=False,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    images.image_seq_length = 5
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tiny_hub.place_tokenizer(),
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
    )
    return transformers.Florence2Processor(images, tokenizer)


@pytest.mark.parametrize("size", SIZES)
def test_a_sentence_is_that_of_the_librarys_processor(captioner, processor, size):
    image = tiny_hub.picture(*size)
    height, width = size
    ids = np.zeros(size, np.int32)
    ids[3 : height // 2, 5 : width // 2] = 1
    ids[height // 2 :, width // 2 :] = 3
    labels = ["a", "absent", "b"]
    said = captioner.caption(image, Segments(ids, labels, np.ones(3, np.float32)))
    assert said[1] == "" and said[0] != said[2]
    boxes = [[5, 3, width // 2, height // 2], [width // 2, height // 2, width, height]]
    network = tiny_hub.florence2()
    for mine, box in zip((said[0], said[2]), boxes, strict=True):
        place = florence2.place_of(tuple(box), image)
        mine_bins = [int(number) for number in PLACE.findall(place)]
        # at edges of a bin the library's float32 falls to either side
        bins = processor.post_processor.quantize(torch.tensor([box]), (width, height))
        assert np.abs(np.array(mine_bins) - bins[0].numpy()).max() <= 1
        inputs = processor(
            images=image, text=f"<REGION_TO_DESCRIPTION>{place}", return_tensors="pt"
        )
        (out,) = network.generate(
            **inputs, max_new_tokens=40, num_beams=1, do_sample=False
        )
        words = processor.decode(out, skip_special_tokens=True)
        assert mine == PLACE.sub("", words).strip()


def test_the_stand_in_has_places_where_the_published_vocabulary_has_them():
    words = Letters()
    assert words.encode("a <loc_0><loc_999>?") == [101, 36, 50269, 51268, 67]
    assert words.decode([0, 7, 2]) == "token7"


def test_a_box_is_told_in_thousandths():
    image = np.zeros((50, 200, 3), np.uint8)
    assert florence2.place_of((0, 7, 200, 50), image) == (
        "<loc_0><loc_140><loc_999><loc_999>"
    )
