"""Photographs are chosen by what they see of an answer."""

import numpy as np
import pytest
from scene_files import write_scannet

from sas_jax.datasets import registry
from sas_jax.lifting.sightings import Sightings, sightings
from sas_jax.scenes.scene import BadFrame, Frame, Scene


def looks(*seen, num_points=20):
    visible = np.zeros((len(seen), num_points), bool)
    for row, points in zip(visible, seen, strict=True):
        row[points] = True
    names = tuple("abcdefg"[: len(seen)])
    return Sightings(names, np.packbits(visible, axis=1), num_points)


def test_bits_are_those_of_the_points_asked_for():
    found = looks([0, 9, 19], [3], [])
    points = np.array([19, 3, 9, 4])
    np.testing.assert_array_equal(found.of(points)[0], [True, False, True, False])
    assert found.shares(points) == {"a": 0.5, "b": 0.25}


def test_the_best_photographs_see_every_part_together():
    part, other = np.arange(8), np.arange(8, 12)
    found = looks(np.arange(4), np.arange(7), np.arange(4, 8), other, [19])
    # b sees the most; then d, which sees the other part; then what b lacks.
    assert found.best([part, other], 3) == ["b", "d", "c"]
    assert found.best([part], 1) == ["b"]
    assert found.best([np.array([15])], 3) == []
    assert found.best([], 3) == []


class Frames:
    """Photographs of what lies before the camera; each at another distance."""

    names = ("near", "bad", "far")

    def read(self, name):
        if name == "bad":
            raise BadFrame("no pose", "frame: no pose.")
        depth = np.full((20, 20), 1.0 if name == "near" else 2.0, np.float32)
        intrinsics = np.array([[20.0, 0, 10], [0, 20, 10], [0, 0, 1]])
        rgb = np.zeros((20, 20, 3), np.uint8)
        return Frame(name, rgb, depth, intrinsics, np.eye(4))


def test_a_scene_is_looked_at_once():
    """A point a tenth of its distance behind what was measured is not seen."""
    points = np.array([[0, 0, 1.0], [0.1, 0, 2.0], [0, 0, -1], [0, 0, 2.2]], np.float32)
    found = sightings(Scene("s", points, frame_source=Frames()))
    assert found.names == ("near", "far")
    np.testing.assert_array_equal(found.of(np.arange(4)), [[1, 0, 0, 0], [0, 1, 0, 0]])
    assert sightings(Scene("s", points, frame_source=Frames()), 2).names == found.names


def test_a_scene_without_photographs_has_none(tmp_path):
    scene = registry.open_folder(write_scannet(tmp_path, num_frames=0))
    found = sightings(scene)
    assert found.names == () and found.best([np.arange(4)], 3) == []
    assert found.shares(np.arange(4)) == {}


@pytest.mark.parametrize("num_points", [1, 8, 9])
def test_the_last_point_has_its_bit(num_points):
    found = looks([num_points - 1], num_points=num_points)
    assert found.of(np.array([num_points - 1])).all()
