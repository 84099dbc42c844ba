"""From what SEEM's queries say to masks: panoptic and semantic segmentation.

Source: Cheng et al., MaskFormer (arXiv 2107.06278) section 3.4 and MaskFormer's
  panoptic rule, with the thresholds of SEEM's published configuration.
"""

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int32
from torch import Tensor
from torch.nn import functional

from sas_jax.teachers.contracts import Segments


@dataclasses.dataclass
class Panoptic:
    """Masks of an image.

    Attributes:
      ids: int32 [H, W]; 0 is void, 1..N are masks.
      classes: N numbers of names.
      queries: N numbers of the queries that each mask began with.
      scores: N probabilities of the classes.
    """

    ids: Int32[np.ndarray, "H W"]
    classes: list[int]
    queries: list[int]
    scores: list[float]


def full_size_masks(
    masks: Float[Tensor, "Q h w"],
    padded_hw: tuple[int, int],
    image_hw: tuple[int, int],
    output_hw: tuple[int, int] | None = None,
) -> Float[Tensor, "Q H W"]:
    """Return mask logits at an image's size.

    Args:
      masks: of `mask_decoder.Prediction`, of one image.
      padded_hw: size that the network was given.
      image_hw: the part of it that is the image.
      output_hw: size of the result; None is the image's. The last resampling is done
        for it too, as in the original.
    """
    padded = functional.interpolate(
        masks[None], padded_hw, mode="bilinear", align_corners=False
    )
    return functional.interpolate(
        padded[..., : image_hw[0], : image_hw[1]],
        output_hw or image_hw,
        mode="bicubic",
        align_corners=False,
        antialias=True,
    )[0]


def semantic(
    logits: Float[Tensor, "Q K"], masks: Float[Tensor, "Q H W"]
) -> Float[Tensor, "K-1 H W"]:
    """Return how much of every class but the last there is in every pixel.

    Args:
      logits: of every query for every class; the last class stands for all else.
      masks: probabilities.
    """
    return torch.einsum("qk,qhw->khw", logits.softmax(-1)[:, :-1], masks)


def panoptic(
    logits: Float[Tensor, "Q K"],
    masks: Float[Tensor, "Q H W"],
    *,
    things: Collection[int],
    void: int,
    min_score: float = 0.4,
    min_overlap: float = 0.8,
) -> Panoptic:
    """Return the masks that no better one covers, each pixel in one at most.

    Args:
      logits: of every query for every class.
      masks: probabilities.
      things: classes whose objects are masks of their own; all masks of another class
        are one.
      void: class whose masks are dropped before they compete.
      min_score: probability of its class that a mask must exceed.
      min_overlap: share of its own pixels that a mask must win from the others.
    """
    scores, classes = logits.softmax(-1).max(-1)
    kept = torch.nonzero((classes != void) & (scores > min_score))[:, 0]
    found = Panoptic(np.zeros(tuple(masks.shape[1:]), np.int32), [], [], [])
    if not len(kept):
        return found
    inside = masks[kept] >= 0.5
    owner = (scores[kept, None, None] * masks[kept]).argmax(0)
    stuff: dict[int, int] = {}
    for row, query in enumerate(kept.tolist()):
        number = int(classes[query])
        pixels = _won(owner == row, inside[row], min_overlap)
        if pixels is None:
            continue
        if number in stuff:
            found.ids[pixels] = stuff[number]
            continue
        found.classes.append(number)
        found.queries.append(query)
        found.scores.append(float(scores[query]))
        found.ids[pixels] = len(found.classes)
        if number not in things:
            stuff[number] = len(found.classes)
    return found


def _won(
    owned: Bool[Tensor, "H W"], inside: Bool[Tensor, "H W"], min_overlap: float
) -> Bool[np.ndarray, "H W"] | None:
    """Return the pixels of a mask, or None where too few are left of it."""
    pixels = owned & inside
    num_inside = int(inside.sum())
    if not pixels.any() or int(owned.sum()) / num_inside < min_overlap:
        return None
    return pixels.cpu().numpy()


def segments_of(
    found: Panoptic,
    labels: Int32[np.ndarray, "h w"],
    names: Sequence[str],
    image_hw: tuple[int, int],
) -> Segments:
    """Return masks at an image's size, with names.

    Args:
      found: masks at the size that the network saw.
      labels: the best class of every pixel there.
      names: of all classes; the last is the void.
      image_hw: of the image.

    Returns:
      Masks that have a pixel left: one of a few may be lost in a smaller image.
    """
    ids = _nearest(found.ids, image_hw)
    left = [number for number in np.unique(ids).tolist() if number]
    new = np.zeros(len(found.classes) + 1, np.int32)
    new[left] = np.arange(1, len(left) + 1)
    return Segments(
        ids=new[ids],
        labels=[names[found.classes[number - 1]] for number in left],
        scores=np.array([found.scores[number - 1] for number in left], np.float32),
        label_map=_nearest(labels, image_hw),
        label_names=tuple(names[:-1]),
    )


def _nearest(
    map_: Int32[np.ndarray, "h w"], size_hw: tuple[int, int]
) -> Int32[np.ndarray, "H W"]:
    """Return a map of numbers at another size, each pixel's upper left neighbour."""
    rows, columns = (
        np.arange(new) * old // new
        for new, old in zip(size_hw, map_.shape, strict=True)
    )
    return map_[rows[:, None], columns]
