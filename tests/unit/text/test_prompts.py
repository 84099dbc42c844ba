"""Vocabularies and prompts: the lists' lengths, and which names become `other`."""

import numpy as np
import pytest

from sas_jax.classes import per_class, vocabulary
from sas_jax.errors import ContractError, InputError
from sas_jax.text.prompts import ensemble, image_prompt, prompt, prompts

SIZES = {
    "scannet20": 20,
    "matterport21": 21,
    "matterport40": 40,
    "matterport80": 80,
    "matterport160": 160,
    "nuscenes16": 16,
    "nuscenes43": 43,
    "indoor": 21,
    "scannet200": 200,
    "scannetpp100": 100,
    "replica51": 51,
    "semantickitti19": 19,
    "outdoor": 23,
    "seem139": 139,
}


@pytest.mark.parametrize(("name", "size"), SIZES.items())
def test_every_list_is_complete_and_without_duplicates(name, size):
    names = vocabulary(name).names
    assert len(names) == size
    assert len(set(names)) == size


def test_a_class_name_stands_in_a_scene_and_other_alone():
    assert prompt("shower curtain") == "a shower curtain in a scene"
    for name in ("other", "others", "otherfurniture", "other furniture"):
        assert prompt(name) == "other"
    assert prompt("other flat") == "a other flat in a scene"


@pytest.mark.parametrize("name", SIZES)
def test_only_the_collecting_class_is_a_bare_word(name):
    known = vocabulary(name)
    bare = [i for i, text in enumerate(prompts(known.names)) if text == "other"]
    assert bare == ([] if known.other_index is None else [known.other_index])


def test_prompts_keep_order_and_template():
    assert prompts(["bed", "other"], "a photo of a {}") == ["a photo of a bed", "other"]


def test_nuscenes_details_map_onto_all_sixteen_classes():
    details, coarse = vocabulary("nuscenes43").names, vocabulary("nuscenes16").names
    merged = per_class("nuscenes43", "answers")
    assert len(merged) == 43
    assert {coarse[i] for i in merged} >= {"car", "manmade", "vegetation"}
    assert coarse[merged[details.index("bulldozer")]] == "construction vehicle"


def test_what_a_list_does_not_say_is_refused():
    with pytest.raises(ContractError, match="palette of seem139"):
        per_class("seem139", "palette")


def test_image_prompts_of_paper_and_code():
    assert image_prompt("bed") == "a good photo of a bed"
    assert image_prompt("bed", "official") == "a good photo of a bed in a room"
    with pytest.raises(InputError, match="compat must be paper or official"):
        image_prompt("bed", "other")


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(InputError, match="scannet20"):
        vocabulary("scannet21")


class Angles:
    """Texts to the unit circle, by their number of letters."""

    def encode(self, texts):
        angles = np.array([len(text) for text in texts], np.float32)
        return np.stack([np.cos(angles), np.sin(angles)], 1)


def test_an_ensemble_is_the_mean_of_unit_vectors_of_length_one():
    rows = ensemble(Angles(), ["bed", "chair", "other"], ["a {}", "{}", "two {}s!"])
    assert rows.shape == (3, 2) and rows.dtype == np.float32
    for row, lengths in zip(rows, ([5, 3, 9], [7, 5, 11], [5, 5, 5]), strict=True):
        mean = np.exp(1j * np.array(lengths)).mean()
        mean /= abs(mean)
        np.testing.assert_allclose(row, [mean.real, mean.imag], atol=1e-6)
    assert ensemble(Angles(), [], ["a {}"]).shape == (0, 2)


@pytest.mark.parametrize("templates", [[], ["a bed"], ["a {}", "{} and {}"]])
def test_templates_without_one_place_are_refused(templates):
    with pytest.raises(InputError, match=r"sentences with one \{\} each"):
        ensemble(Angles(), ["bed"], templates)
