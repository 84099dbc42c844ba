"""Vocabularies and prompts: the lists' lengths, and which names become `other`."""

import pytest

from sas_jax.classes import per_class, vocabulary
from sas_jax.errors import ContractError, InputError
from sas_jax.text.prompts import image_prompt, prompt, prompts

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
