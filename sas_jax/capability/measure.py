"""Capability: the overlap of each teacher's masks with the pseudo masks, per class.

For class j and teacher t, S_j^t = 1/m * sum_i IoU(pseudo_ij, teacher_ij) over the m
synthesized images (Eq. 3-4), and S_t = [S_1^t, ..., S_K^t] (Eq. 5). A dense teacher's
mask of a class is where that class has the largest similarity among the vocabulary's
text features; a mask teacher's label becomes text and then the nearest class.
m images of S x S pixels, K classes, D text feature.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from sas_jax.capability.config import CapabilityConfig, Compat
from sas_jax.classes import Vocabulary
from sas_jax.errors import ContractError, InputError
from sas_jax.teachers.contracts import (
    DenseTeacher,
    MaskTeacher,
    Segments,
    is_dense,
    is_mask,
)
from sas_jax.text.prompts import OTHER_NAMES, prompts

VOID = -1


def measured_classes(vocabulary: Vocabulary, compat: Compat) -> tuple[str, ...]:
    """Return the classes that images are made of.

    The collecting class is no thing that can be painted: `official` never makes it
    and gives it capability 0. `paper` makes it only where a model was trained on it
    under its full name (`other furniture`); the bare word `other` is left out and
    its capability is 0 too.
    """
    left_out = OTHER_NAMES if compat == "official" else {"other", "others"}
    return tuple(name for name in vocabulary.names if name not in left_out)


def intersection_union(
    first: Bool[np.ndarray, "m H W"], second: Bool[np.ndarray, "m H W"]
) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Count the pixels in both and in either mask, per image."""
    if first.shape != second.shape:
        raise ContractError(
            f"iou: masks must have one shape, got {first.shape} and {second.shape}. "
            "Resample one of them."
        )
    axes = tuple(range(1, first.ndim))
    return (first & second).sum(axes), (first | second).sum(axes)


def class_score(
    pseudo: Bool[np.ndarray, "m H W"],
    teacher: Bool[np.ndarray, "m H W"],
    compat: Compat,
) -> float:
    """Return S_j^t of one class and teacher.

    An image in which both masks are empty says nothing and is left out; where all
    are, the score is 0.

    Source: SAS Eq. 3-4; `official` is the authors' MCC/miou/cal_miou.py.
    """
    inter, union = intersection_union(pseudo, teacher)
    if not union.any():
        return 0.0
    if compat == "official":
        return float(inter.sum() / union.sum())
    told = union > 0
    return float((inter[told] / union[told]).mean())


def class_shares(
    pseudo: Bool[np.ndarray, "m H W"], said: Int[np.ndarray, "m H W"], num_classes: int
) -> Float[np.ndarray, " K"]:
    """Return the share of a class's pseudo masks that a teacher says is of each class.

    Args:
      pseudo: masks of the class.
      said: class of every pixel, -1 for none.
      num_classes: K.
    """
    within = said[pseudo]
    counts = np.bincount(within[within >= 0], minlength=num_classes)
    return counts / max(len(within), 1)


def alarmed_scores(shares: Float[np.ndarray, "K K"]) -> Float[np.ndarray, " K"]:
    """Return the IoU of each class where false alarms on other classes count too.

    Eq. 3 looks for a class on its own images, where a teacher that says it everywhere
    is never contradicted. Here every class has one mask of size 1: what is right of it,
    over all of it and what is said to be it within the masks of others.

    Args:
      shares: row i is `class_shares` of class i; zeros for one that was not painted.
    """
    right = np.diag(shares)
    return right / (1 + shares.sum(0) - right)


def resize_images(
    images: UInt8[np.ndarray, "m S S 3"], edge: int
) -> list[UInt8[np.ndarray, "H W 3"]]:
    """Enlarge images to `edge` pixels with cubic interpolation; 0 leaves them."""
    if edge in (0, images.shape[1]):
        return list(images)
    return [
        cv2.resize(image, (edge, edge), interpolation=cv2.INTER_CUBIC)
        for image in images
    ]


def dense_prediction(
    teacher: DenseTeacher,
    images: UInt8[np.ndarray, "m S S 3"],
    text: Float[np.ndarray, "K D"],
    edge: int = 0,
) -> Int[np.ndarray, "m S S"]:
    """Return the class of every pixel by a dense teacher.

    Args:
      teacher: features in the space of `text`.
      images: RGB.
      text: unit text features of the vocabulary.
      edge: size at which the teacher sees the images.

    Returns:
      int16 class index per pixel of the original images.
    """
    size = images.shape[1]
    rows = []
    for features in teacher.features(resize_images(images, edge)):
        similar = features.astype(np.float32) @ text.T
        rows.append(_argmax_at(similar, size))
    return np.stack(rows)


def _argmax_at(similar: np.ndarray, size: int) -> np.ndarray:
    """Enlarge similarities, not classes, so that borders fall between pixels."""
    height, width, count = similar.shape
    if (height, width) != (size, size):
        planes = [
            cv2.resize(similar[..., k], (size, size), interpolation=cv2.INTER_LINEAR)
            for k in range(count)
        ]
        similar = np.stack(planes, -1)
    return similar.argmax(-1).astype(np.int16)


def mask_prediction(
    teacher: MaskTeacher,
    images: UInt8[np.ndarray, "m S S 3"],
    text: Float[np.ndarray, "K D"],
    vocabulary: Sequence[str],
    edge: int = 0,
) -> Int[np.ndarray, "m S S"]:
    """Return the class of every pixel by a mask teacher, -1 where it has no mask.

    A label's text feature is compared with the vocabulary's; the nearest class wins.
    Only labels count here, captions do not.

    Args:
      teacher: masks with labels; its own tower encodes the labels.
      images: RGB.
      text: unit text features of the vocabulary, by the teacher's tower.
      vocabulary: class names, offered to teachers that can be asked.
      edge: size at which the teacher sees the images.
    """
    size = images.shape[1]
    found = teacher.segment(resize_images(images, edge), vocabulary)
    return np.stack([_class_map(teacher, part, text, size) for part in found])


def _class_map(teacher, segments: Segments, text, size: int) -> np.ndarray:
    table = np.full(len(segments.labels) + 1, VOID, np.int16)
    if segments.labels:
        encoded = teacher.encode_text(prompts(segments.labels))
        table[1:] = (encoded @ text.T).argmax(1)
    ids = segments.ids
    if ids.shape != (size, size):
        ids = cv2.resize(ids, (size, size), interpolation=cv2.INTER_NEAREST)
    return table[ids]


def teacher_prediction(
    teacher: DenseTeacher | MaskTeacher,
    images: UInt8[np.ndarray, "m S S 3"],
    vocabulary: Sequence[str],
    config: CapabilityConfig,
) -> Int[np.ndarray, "m S S"]:
    """Return the class of every pixel by any teacher, in the vocabulary's indices.

    Raises:
      InputError: for a teacher of another contract.
    """
    text = np.asarray(teacher.encode_text(prompts(vocabulary)), np.float32)
    if is_dense(teacher):
        return dense_prediction(teacher, images, text, config.teacher_px)
    if is_mask(teacher):
        return mask_prediction(teacher, images, text, vocabulary, config.teacher_px)
    raise InputError(
        f"capability: a teacher must be dense or mask, got {teacher.spec.contract} "
        f"({teacher.spec.name}). Choose another teacher."
    )
