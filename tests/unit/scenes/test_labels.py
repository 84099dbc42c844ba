import dataclasses

import numpy as np
import pytest

from sas_jax.classes import Vocabulary, vocabulary
from sas_jax.errors import ContractError, InputError
from sas_jax.scenes.labels import (
    IGNORE,
    MATTERPORT21,
    SCANNET20,
    LabelSet,
    nyu40_lookup,
)


def test_scannet20_is_the_published_list():
    assert len(SCANNET20.classes.names) == 20
    assert SCANNET20.classes.names[0] == "wall"
    assert SCANNET20.classes.names[-1] == "other furniture"
    assert SCANNET20.classes.other_index == 19
    assert SCANNET20.palette.shape == (20, 3)
    assert len({tuple(c) for c in SCANNET20.palette}) == 20


def test_nyu40_map_keeps_exactly_the_twenty_ids():
    table = nyu40_lookup(SCANNET20)
    kept = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 28, 33, 34, 36, 39]
    assert table.shape == (41,)
    np.testing.assert_array_equal(table[kept], np.arange(20))
    rest = np.setdiff1d(np.arange(41), kept)
    assert (table[rest] == IGNORE).all()


def test_matterport_adds_ceiling():
    table = nyu40_lookup(MATTERPORT21)
    assert table[22] == 20
    assert MATTERPORT21.classes.names[20] == "ceiling"
    assert nyu40_lookup(SCANNET20)[22] == IGNORE


def test_the_indoor_list_is_that_of_matterport():
    indoor = vocabulary("indoor")
    assert indoor == dataclasses.replace(MATTERPORT21.classes, name="indoor")


def test_colors_of_ignored_and_unknown_labels():
    colors = SCANNET20.colors(np.array([1, IGNORE, -1, 20]), ignore_color=(9, 8, 7))
    np.testing.assert_array_equal(colors[0], SCANNET20.palette[1])
    np.testing.assert_array_equal(colors[1:], [(9, 8, 7)] * 3)


def test_a_missing_relation_is_named():
    bare = LabelSet(Vocabulary("bare", ("a",)), np.zeros((1, 3), np.uint8))
    with pytest.raises(InputError, match="NYU40"):
        nyu40_lookup(bare)
    with pytest.raises(ContractError, match="palette"):
        LabelSet(Vocabulary("short", ("a", "b")), np.zeros((1, 3), np.uint8))
