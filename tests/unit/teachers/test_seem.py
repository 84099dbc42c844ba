"""SEEM's adapter at a tiny size: images of any size, any names, nothing found."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from tiny_teachers import SEEM as TINY
from tiny_teachers import Shared, tokenize
from tiny_teachers import seem as teacher

from sas_jax.errors import ContractError, InputError
from sas_jax.teachers.contracts import check_segments
from sas_jax.teachers.seem import names, panoptic, vocabulary
from sas_jax.teachers.seem import teacher as seem_teacher
from sas_jax.teachers.seem.architecture import Architecture
from sas_jax.teachers.seem.network import untrained
from sas_jax.teachers.seem.teacher import to_input


def picture(height, width, seed=0):
    random = np.random.default_rng(seed)
    image = random.integers(0, 60, (height, width, 3), np.uint8)
    image[height // 3 :, width // 2 :] += np.array([150, 20, 20], np.uint8)
    return image


SIZES = [(48, 64), (64, 64), (75, 101), (101, 75), (7, 5), (1, 1), (130, 33)]


@pytest.mark.parametrize("size_hw", SIZES)
def test_any_size_gives_masks_of_that_size(size_hw):
    segments = teacher().segment([picture(*size_hw)])[0]
    check_segments(segments, "test")
    assert segments.ids.shape == segments.label_map.shape == size_hw
    assert segments.ids.dtype == segments.label_map.dtype == np.int32
    assert segments.label_map.min() >= 0
    assert segments.label_map.max() < len(segments.label_names) == 138
    assert set(segments.ids.ravel()) - {0} == set(range(1, len(segments.labels) + 1))


def test_images_do_not_see_each_other():
    model, images = teacher(), [picture(48, 64), picture(75, 101, 1), picture(64, 48)]
    together = model.segment(images)
    assert any(segments.labels for segments in together)
    for image, segments in zip(images, together, strict=True):
        alone = model.segment([image])[0]
        np.testing.assert_array_equal(segments.ids, alone.ids)
        np.testing.assert_array_equal(segments.label_map, alone.label_map)
        assert segments.labels == alone.labels
    assert model.segment([]) == []


def test_nothing_found_is_an_empty_result():
    segments = teacher(sure=False).segment([picture(48, 64)])[0]
    assert segments.labels == [] and segments.scores.shape == (0,)
    assert not segments.ids.any()
    assert segments.label_map.shape == (48, 64)


@pytest.mark.parametrize("names", [("chair", "table-merged"), ("background", "wall")])
def test_other_names_are_asked_for_when_wanted(names):
    segments = teacher().segment([picture(48, 64)], names)[0]
    wanted = tuple(n.removesuffix("-merged") for n in names if n != "background")
    assert segments.label_names == wanted
    assert set(segments.labels) <= set(wanted)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], "got none"),
        (["background"], "got none"),
        (["sofa", " "], "got an empty one"),
        (["sofa", "bed", "sofa"], "sofa twice"),
    ],
)
def test_unusable_vocabularies_are_refused(names, told):
    with pytest.raises(InputError, match=f"masks: a vocabulary.*{told}"):
        teacher().segment([picture(48, 64)], names)


def test_an_image_that_is_none_is_refused():
    with pytest.raises(ContractError, match="seem: an image"):
        teacher().segment([np.zeros((4, 4), np.uint8)])


def test_the_network_sees_the_short_side_at_its_size():
    image = picture(240, 320)
    x, seen_hw = to_input(image, 512)
    assert seen_hw == (512, 682) and x.shape == (1, 3, 512, 704)
    assert not x[..., 682:].any()  # zeros after normalisation
    x, seen_hw = to_input(np.full((100, 60, 3), (123, 116, 103), np.uint8), 64)
    assert seen_hw == (106, 64) and x.shape == (1, 3, 128, 64)
    offset = torch.tensor([0.675 / 58.395, 0.28 / 57.12, 0.53 / 57.375])
    torch.testing.assert_close(x[0, :, 50, 50], -offset)


@pytest.mark.parametrize(
    ("size_hw", "seen_hw"),
    [((1, 8), (64, 512)), ((1, 9), (56, 512)), ((1, 2000), (1, 512))],
)
def test_strips_do_not_become_endless(size_hw, seen_hw):
    assert to_input(picture(*size_hw), 64)[1] == seen_hw
    x, turned = to_input(picture(*size_hw[::-1]), 64)
    assert turned == seen_hw[::-1] and x.shape[2] == 512


def test_a_text_tower_that_is_cut_is_refused():
    known = Architecture()
    seem_teacher.check_text(known, "a.pt")
    for cut in ({"text_vocabulary": 49407}, {"text_context": 76}):
        with pytest.raises(InputError, match=r"49408 tokens.*\(a\.pt\)"):
            seem_teacher.check_text(dataclasses.replace(known, **cut), "a.pt")


def test_both_recipes_of_the_void():
    paper = vocabulary.default_vocabulary("paper")
    official = vocabulary.default_vocabulary("official")
    assert paper.names == official.names and len(paper.names) == 139
    assert (paper.void, official.void) == ("others", "sofa")
    assert official.names.index("sofa") == 133
    assert len(official.things) == 80
    assert paper.things >= {"sofa", "desk", "chair"}
    assert not paper.things & {"wall", "table", "window-blind"}
    assert teacher().spec != teacher(compat="official").spec


def test_names_are_means_over_sentences_kept_on_disk(tmp_path):
    network, sentences = untrained(0, TINY), vocabulary.templates()
    assert len(sentences) == 81 and all(s.count("{}") == 1 for s in sentences)
    encoder = names.NameEncoder(network, tokenize, sentences, "random:0", tmp_path)
    got = encoder.encode(["shower curtain", "desk"])
    with torch.no_grad():
        filled = [sentence.format("desk") for sentence in sentences]
        wanted = network.encode_tokens(torch.from_numpy(tokenize(filled))).mean(0)
    wanted = (wanted / wanted.norm()).numpy()
    np.testing.assert_allclose(got[1], wanted, atol=1e-6)

    def fail(texts):
        raise AssertionError(texts)

    kept = names.NameEncoder(network, fail, sentences, "random:0", tmp_path)
    np.testing.assert_array_equal(kept.encode(["desk", "shower curtain"]), got[::-1])
    other = names.NameEncoder(network, fail, sentences, "random:1", tmp_path)
    with pytest.raises(AssertionError):
        other.encode(["desk"])


def test_labels_are_encoded_by_the_shared_tower():
    model = teacher()
    assert model.spec.text_space == Shared.space
    assert model.encode_text(["a desk in a scene"]).shape == (1, 8)
    assert model.to("cpu") is model
    model.close()


def test_random_weights_follow_from_their_seed():
    first, again, other = (untrained(seed, TINY).state_dict() for seed in (3, 3, 4))
    name = "mask_decoder.class_embed"
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], other[name])
    config = dataclasses.replace(TINY, decoder_layers=5)
    assert len(untrained(0, config).mask_decoder.layers) == 5


def strip(start, stop):
    """Return a mask f32 [1, 20] of a row of pixels."""
    mask = torch.zeros(1, 20)
    mask[0, start:stop] = 0.9
    return mask


@pytest.mark.parametrize(("start", "kept"), [(7, True), (6, True), (5, False)])
def test_masks_that_others_cover_are_dropped(start, kept):
    """The surer mask of pixels 0 to 7 takes 1, 2 or 3 of another's 10 pixels."""
    logits = torch.tensor([[9.0, 0, 0], [0, 5.0, 0]])
    masks = torch.stack([strip(0, 8), strip(start, start + 10)])
    found = panoptic.panoptic(logits, masks, things=[0, 1], void=2)
    assert found.classes == ([0, 1] if kept else [0])
    wanted = np.repeat([1, 2 * kept, 0], [8, start + 2, 10 - start])
    np.testing.assert_array_equal(found.ids[0], wanted)


def test_stuff_is_one_mask_and_things_are_many():
    logits = torch.tensor([[9.0, 0, 0], [8.0, 0, 0], [0, 0, 9.0]])
    masks = torch.stack([strip(0, 5), strip(10, 15), strip(15, 20)])
    many = panoptic.panoptic(logits, masks, things=[0], void=2)
    one = panoptic.panoptic(logits, masks, things=[], void=2)
    assert (many.classes, many.queries) == ([0, 0], [0, 1])
    assert (one.classes, one.queries) == ([0], [0])
    np.testing.assert_array_equal(many.ids > 0, one.ids > 0)
    sure = panoptic.panoptic(logits, masks, things=[0], void=2, min_score=0.9999)
    assert sure.queries == []


def test_masks_that_a_smaller_image_loses_leave_no_gap(monkeypatch):
    ids = np.ones((64, 64), np.int32)
    ids[1, 1], ids[32:] = 2, 3
    found = panoptic.Panoptic(ids, [0, 1, 2], [0, 1, 2], [0.9, 0.8, 0.7])
    monkeypatch.setattr(seem_teacher, "panoptic", lambda *args, **named: found)
    segments = teacher().segment([picture(32, 32)])[0]
    assert segments.labels == ["person", "car"]
    np.testing.assert_allclose(segments.scores, [0.9, 0.7])
    np.testing.assert_array_equal(segments.ids[:, 0], np.repeat([1, 2], 16))


def test_a_batch_is_its_images():
    """One mask per image and head hides pixels; none may be another image's."""
    network, random = untrained(2, TINY), torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 64, 96, generator=random)
    vectors = torch.randn(5, TINY.space_dim, generator=random)
    with torch.no_grad():
        both = network(images, vectors)
        for i in range(2):
            alone = network(images[i : i + 1], vectors)
            for got, wanted in zip(both, alone, strict=True):
                torch.testing.assert_close(got[i : i + 1], wanted, atol=1e-3, rtol=1e-4)
