"""A heat teacher as a mask teacher: every pixel takes the prompt that is hottest there.

P prompts; H, W image; h, w the teacher's own grid.
"""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float

from sas_jax.errors import ContractError
from sas_jax.teachers.contracts import (
    HeatTeacher,
    Image,
    Segments,
    TeacherSpec,
    check_image,
)

THRESHOLD = 0.5
"""Probability below which a pixel is void, whatever is hottest there."""


class LabelledHeat:
    """Ask a heat teacher for the classes of a vocabulary, and give masks.

    Attributes:
      spec: of the teacher, as one of masks; vocabulary and threshold stand in it.
    """

    def __init__(
        self,
        teacher: HeatTeacher,
        vocabulary: Sequence[str],
        threshold: float = THRESHOLD,
    ):
        """Take a teacher and the class names that it is asked for."""
        if not vocabulary:
            raise ContractError("heat: at least one class name is required, got none.")
        self._teacher, self._names = teacher, tuple(vocabulary)
        self._threshold = threshold
        self.encode_text = teacher.encode_text
        self.spec: TeacherSpec = dataclasses.replace(
            teacher.spec,
            contract="mask",
            preprocess={
                **teacher.spec.preprocess,
                "vocabulary": list(self._names),
                "threshold": threshold,
            },
        )

    def segment(
        self, images: Sequence[Image], vocabulary: Sequence[str] | None = None
    ) -> list[Segments]:
        """Return one mask for every class that is hottest somewhere."""
        names = tuple(vocabulary or self._names)
        for image in images:
            check_image(image, "heat")
        heat = self._teacher.heat(images, names)
        return [
            hottest(maps, names, image.shape[:2], self._threshold)
            for image, maps in zip(images, heat, strict=True)
        ]

    def to(self, device: str) -> "LabelledHeat":
        """Move the teacher's weights."""
        self._teacher.to(device)
        return self

    def close(self) -> None:
        """Free the teacher's weights."""
        self._teacher.close()


def hottest(
    logits: Float[np.ndarray, "P h w"],
    names: Sequence[str],
    size_hw: tuple[int, int],
    threshold: float = THRESHOLD,
) -> Segments:
    """Return the masks where each prompt is the hottest and above a threshold.

    Args:
      logits: a map per prompt; enlarged bilinearly, before they are compared.
      names: P labels.
      size_hw: H and W.
      threshold: on the sigmoid of the logits.

    Returns:
      Masks in the order of `names`, those without pixels left out; a mask's score is
      the mean probability of its pixels. `label_map` has the hottest prompt of every
      pixel, void or not.

    Raises:
      ContractError: unless there is one map per prompt.
    """
    if logits.ndim != 3 or len(logits) != len(names) or 0 in logits.shape:
        raise ContractError(
            f"heat: {len(names)} maps [P, h, w] are required, got {logits.shape}."
        )
    height, width = size_hw
    maps = [
        cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
        for plane in logits.astype(np.float32)
    ]
    best = np.argmax(maps, axis=0).astype(np.int32)
    probability = 1 / (1 + np.exp(-np.max(maps, axis=0)))
    certain = probability >= threshold
    found = np.unique(best[certain])
    ids = np.zeros(size_hw, np.int32)
    for number, label in enumerate(found, 1):
        ids[certain & (best == label)] = number
    scores = [probability[ids == number].mean() for number in range(1, len(found) + 1)]
    return Segments(
        ids,
        [names[label] for label in found],
        np.array(scores, np.float32),
        label_map=best,
        label_names=tuple(names),
    )
