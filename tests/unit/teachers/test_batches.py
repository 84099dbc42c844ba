"""Which images share a batch."""

import numpy as np

from sas_jax.teachers.batches import together

IMAGES = [np.zeros((h, 4, 3), np.uint8) for h in (2, 3, 2, 2)]


def test_on_a_cpu_each_image_goes_alone():
    assert together(IMAGES, "cpu") == [[0], [1], [2], [3]]
    assert together([], "cpu") == []


def test_on_a_gpu_images_of_one_size_go_together():
    assert together(IMAGES, "cuda:1") == [[0, 2, 3], [1]]
