import dataclasses

import numpy as np
import pytest

from sas_jax.classes import Vocabulary, vocabulary
from sas_jax.errors import ContractError, InputError
from sas_jax.scenes.labels import (
    IGNORE,
    MATTERPORT21,
    NUMBERINGS,
    SCANNET20,
    LabelSet,
    label_set,
)

SETS = (
    *("scannet20", "scannet200", "scannetpp100", "replica51", "nuscenes16"),
    *("matterport21", "matterport40", "matterport80", "matterport160"),
    "semantickitti19",
)


def test_scannet20_is_the_published_list():
    assert len(SCANNET20.classes.names) == 20
    assert SCANNET20.classes.names[0] == "wall"
    assert SCANNET20.classes.names[-1] == "other furniture"
    assert SCANNET20.classes.other_index == 19
    assert SCANNET20.palette.shape == (20, 3)
    assert len({tuple(c) for c in SCANNET20.palette}) == 20


def test_nyu40_map_keeps_exactly_the_twenty_ids():
    table = SCANNET20.table("nyu40")
    kept = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 28, 33, 34, 36, 39]
    assert table.shape == (41,)
    np.testing.assert_array_equal(table[kept], np.arange(20))
    rest = np.setdiff1d(np.arange(41), kept)
    assert (table[rest] == IGNORE).all()


def test_matterport_adds_ceiling():
    table = MATTERPORT21.table("nyu40")
    assert table[22] == 20
    assert MATTERPORT21.classes.names[20] == "ceiling"
    assert SCANNET20.table("nyu40")[22] == IGNORE


def test_the_indoor_list_is_that_of_matterport():
    indoor = vocabulary("indoor")
    assert indoor == dataclasses.replace(MATTERPORT21.classes, name="indoor")


def test_colors_of_ignored_and_unknown_labels():
    colors = SCANNET20.colors(np.array([1, IGNORE, -1, 20]), ignore_color=(9, 8, 7))
    np.testing.assert_array_equal(colors[0], SCANNET20.palette[1])
    np.testing.assert_array_equal(colors[1:], [(9, 8, 7)] * 3)


@pytest.mark.parametrize("name", SETS)
def test_every_id_belongs_to_one_class_and_every_class_has_one(name):
    found = label_set(name)
    count = len(found.classes.names)
    assert str(count) in name  # as published
    assert found.palette.shape == (count, 3)
    for numbering, ids in found.raw_ids.items():
        flat = np.concatenate([np.atleast_1d(c) for c in ids])
        assert len(set(flat.tolist())) == len(flat)
        table = found.table(numbering)
        assert table.shape == (NUMBERINGS[numbering] or flat.max() + 2,)
        assert sorted(set(table.tolist())) == [*range(count), IGNORE]
        for index, of_class in enumerate(ids):
            assert (table[np.atleast_1d(of_class)] == index).all()


@pytest.mark.parametrize(
    ("name", "numbering", "ids", "words"),
    [
        (
            "scannet200",
            "scannet",
            [1, 1191, 20, 9999],
            ["wall", "mattress", None, None],
        ),
        ("matterport21", "matterport", [0, 1, 3], [None, "wall", "ceiling"]),
        (
            "matterport40",
            "matterport",
            [0, 1, 3, 4],
            [None, "wall", "ceiling", "floor"],
        ),
        ("nuscenes16", "lidarseg", [0, 16, 24], [None, "bus", "drivable surface"]),
        ("semantickitti19", "semantickitti", [252, 1, 60], ["car", None, "road"]),
        ("replica51", "replica", [98, 0, 88], ["rug", None, "tv stand"]),
    ],
)
def test_raw_ids_lead_to_classes(name, numbering, ids, words):
    found = label_set(name)
    labels = found.from_raw(numbering, np.array(ids), "file")
    assert labels.dtype == np.int32
    names = {IGNORE: None, **dict(enumerate(found.classes.names))}
    assert [names[label] for label in labels.tolist()] == words


@pytest.mark.parametrize("ids", [[-1, 2], [2, 32]])
def test_ids_outside_of_the_numbering_name_the_file(ids):
    found = label_set("nuscenes16")
    with pytest.raises(InputError, match=r"lidarseg ids in 0\.\.31.*\(a/b\.bin\)"):
        found.from_raw("lidarseg", np.array(ids), "a/b.bin")
    assert len(found.from_raw("lidarseg", np.zeros(0, np.uint8), "a/b.bin")) == 0


def test_groups_of_scannet200_are_those_of_the_benchmark():
    groups = label_set("scannet200").groups
    assert [groups.count(g) for g in ("head", "common", "tail")] == [66, 68, 66]


def test_nuscenes_is_asked_by_43_words_for_16_classes():
    found = label_set("nuscenes16")
    assert len(found.questions) == len(found.answers) == 43
    assert set(found.answers) == set(range(16))
    assert found.answers[found.questions.index("bulldozer")] == 4
    assert label_set("replica51").questions == label_set("replica51").classes.names


def test_a_missing_relation_is_named():
    bare = LabelSet(Vocabulary("bare", ("a",)), np.zeros((1, 3), np.uint8))
    with pytest.raises(InputError, match="nyu40"):
        bare.table("nyu40")
    with pytest.raises(ContractError, match="palette"):
        LabelSet(Vocabulary("short", ("a", "b")), np.zeros((1, 3), np.uint8))
    wrong = Vocabulary("wrong", ("a",))
    for fields in ({"groups": ("head",) * 2}, {"asked": wrong, "answers": (0, 0)}):
        with pytest.raises(ContractError, match="one entry per class"):
            LabelSet(wrong, np.zeros((1, 3), np.uint8), **fields)
