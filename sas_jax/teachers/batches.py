"""Which images a network sees at once, so that company changes no image's result."""

from collections.abc import Sequence

import numpy as np

from sas_jax.teachers.contracts import Image


def together(images: Sequence[Image], device: object) -> list[list[int]]:
    """Return the positions of images that share a batch.

    On a GPU images of one size do. On a CPU each goes alone: products of matrices of
    other sizes add in another order, so last bits would follow from the company, and
    processors have enough to do with one image.

    Args:
      images: of any sizes.
      device: `torch.device`, or its name.

    Returns:
      Batches, those of the first image first; positions in a batch ascend.
    """
    if str(device).partition(":")[0] == "cpu":
        return [[i] for i in range(len(images))]
    by_size: dict[tuple[int, ...], list[int]] = {}
    for i, image in enumerate(images):
        by_size.setdefault(np.shape(image), []).append(i)
    return list(by_size.values())
