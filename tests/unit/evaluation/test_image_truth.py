"""Pixels have the class of the labelled point that their depth meets."""

import numpy as np
import pytest

from sas_jax.errors import ContractError
from sas_jax.evaluation.image_truth import ImageTruth
from sas_jax.scenes.scene import Frame, Scene

K = np.array([[8.0, 0, 4.5], [0, 8.0, 3.5], [0, 0, 1]])


def test_each_pixel_takes_the_nearest_label_within_reach():
    rng = np.random.default_rng(0)
    points = rng.uniform([-1, -1, 1.8], [1, 1, 2.2], (60, 3)).astype(np.float32)
    labels = rng.integers(0, 5, 60).astype(np.int32)
    labels[:5] = 255
    depth = rng.uniform(1.9, 2.1, (8, 10)).astype(np.float32)
    depth[0, :4] = 0
    depth[1, 1] = 11
    pose = np.eye(4)
    pose[0, 3] = 0.3
    frame = Frame("a", np.zeros((8, 10, 3), np.uint8), depth, K, pose)
    scene = Scene("s", points, labels=labels)
    got = ImageTruth(scene, reach_m=0.2).of(frame)
    want = np.full((8, 10), 255)
    for row in range(8):
        for column in range(10):
            z = float(depth[row, column])
            if not 0 < z <= 10:
                continue
            ray = np.array([(column - 4.5) / 8, (row - 3.5) / 8, 1]) * z
            apart = np.linalg.norm(points - (ray + pose[:3, 3]), axis=1)
            if apart.min() < 0.2:
                want[row, column] = labels[apart.argmin()]
    assert len(np.unique(want)) == 6
    np.testing.assert_array_equal(got, want)


def test_a_scene_without_labels_is_refused():
    with pytest.raises(ContractError, match="labels"):
        ImageTruth(Scene("s", np.zeros((1, 3), np.float32)))
