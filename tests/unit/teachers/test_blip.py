"""BLIP: pixels of the library's processor, words by its forward pass alone."""

import numpy as np
import pytest

pytest.importorskip("torch")

import tiny_hub
import torch
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from sas_jax.registry import LoadOptions
from sas_jax.teachers import blip
from sas_jax.teachers.contracts import Segments
from sas_jax.teachers.pixels import BICUBIC, CLIP, pixels_of
from sas_jax.text import minilm_files

END = 102


@pytest.fixture(scope="module")
def captioner(tmp_path_factory):
    folder = tiny_hub.write_blip(tmp_path_factory.mktemp("blip"))
    return blip.load(LoadOptions(str(folder)))


def literal(network, pixels):
    """Return the likeliest next token, again and again."""
    ids = [network.config.text_config.bos_token_id]
    while ids[-1] != END and len(ids) <= 20:
        with torch.no_grad():
            out = network(pixel_values=pixels, input_ids=torch.tensor([ids]))
        ids.append(int(out.logits[0, -1].argmax()))
    words = [minilm_files.load_tokenizer().id_to_token(i) for i in ids[1:] if i < 30522]
    words = [
        w for w in words if w not in ("[SEP]", "[PAD]", "[CLS]", "[UNK]", "[MASK]")
    ]
    return " ".join(words).replace(" ##", "")


@pytest.mark.parametrize("size", [(32, 32), (50, 21), (7, 90)])
def test_pixels_are_those_of_the_librarys_processor(size):
    image = tiny_hub.picture(*size)
    processor = BlipImageProcessorPil(size={"height": 32, "width": 32})
    theirs = processor(image, return_tensors="pt")["pixel_values"]
    mine = pixels_of(image, (32, 32), CLIP, BICUBIC)
    np.testing.assert_allclose(mine, theirs, atol=2e-6)


def test_a_sentence_is_that_of_greedy_steps_on_the_cut_out(captioner):
    image = tiny_hub.picture(60, 80)
    ids = np.zeros((60, 80), np.int32)
    ids[10:30, 20:60] = 1
    ids[40:60, 70:80] = 2
    said = captioner.caption(image, Segments(ids, ["a", "b"], np.ones(2, np.float32)))
    views = [image[8:32, 16:64], image[38:60, 69:80]]
    network = tiny_hub.blip()
    letters = [sentence.replace(" ", "") for sentence in said]
    for view, mine in zip(views, letters, strict=True):
        pixels = pixels_of(view, (32, 32), CLIP, BICUBIC)
        assert mine == literal(network, pixels).replace(" ", "")
    assert letters[0] != letters[1] and all(letters)
