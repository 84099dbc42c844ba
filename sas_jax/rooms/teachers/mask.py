"""The mask teacher of the rooms: bottom-up panoptic segmentation with fixed labels.

The network gives, per pixel of half the working size, class probabilities, a heat map
of object centres and the offset to the own object's centre. Pixels of one object vote
for its class together. Walls and floor are one segment each.

Source: grouping as in Panoptic-DeepLab (arXiv 1911.10194) section 3.1, with one
  difference: the class vote sums probabilities instead of counting argmaxes.
"""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int32
from torch.nn import functional

from sas_jax.classes import vocabulary
from sas_jax.rooms.teachers.nets import (
    MEAN,
    SIZE_MULTIPLE,
    NetConfig,
    RoomsNet,
    to_input,
)
from sas_jax.teachers.batches import together
from sas_jax.teachers.contracts import Image, Segments, TeacherSpec, TorchTower
from sas_jax.teachers.text import load_torch_minilm
from sas_jax.text import minilm_files

LONG_SIDE = 192
CLASS_NAMES = vocabulary("scannet20").names
NUM_STUFF = 2
"""The first classes, wall and floor, have no objects."""

OFFSET_SCALE = 32.0
"""The offset head gives grid cells divided by this."""

MASK_NET = NetConfig(heads={"semantic": len(CLASS_NAMES), "centre": 1, "offset": 2})


@dataclasses.dataclass(frozen=True)
class GroupConfig:
    """Set how pixels become objects, in cells of the output grid.

    Attributes:
      min_heat: least height of a centre.
      window: a centre is the highest of a square with this side (odd).
      max_centres: most objects in an image.
      min_cells: smaller objects are dissolved into void.
    """

    min_heat: float = 0.15
    window: int = 9
    max_centres: int = 40
    min_cells: int = 12


class RoomsMask:
    """A `MaskTeacher` (see contracts.py) with the 20 ScanNet names."""

    def __init__(
        self,
        net: RoomsNet,
        weights_id: str,
        config: GroupConfig | None = None,
        tower: TorchTower | None = None,
    ):
        """Take a network in evaluation mode and the id of its weights.

        Without the tower of another text space, labels live in MiniLM's, which is read
        once it is asked: masks alone need none.
        """
        self._net = net
        self._tower = tower
        self.config = config or GroupConfig()
        space = tower.space if tower else minilm_files.SPACE
        self.spec = TeacherSpec(
            name="rooms-mask",
            contract="mask",
            text_space=space,
            feat_dim=space.dim,
            weights_id=weights_id,
            preprocess={
                "long_side": LONG_SIDE,
                "multiple_of": SIZE_MULTIPLE,
                "resize": "area when shrinking, linear when enlarging",
                "scale": "value / 255 - mean",
                "mean": MEAN,
                "group": dataclasses.asdict(self.config),
            },
        )

    @torch.no_grad()
    def segment(
        self, images: Sequence[Image], vocabulary: Sequence[str] | None = None
    ) -> list[Segments]:
        """Return the masks of every image, at the image's own size.

        Args:
          images: uint8 RGB of any sizes.
          vocabulary: not used; the teacher's names are fixed.

        Returns:
          Masks with labels, scores (mean probability of the label inside the mask)
          and the semantic argmax as `label_map`.

        Raises:
          InputError: when an image breaks the contract.
        """
        out: dict[int, Segments] = {}
        device = next(self._net.parameters()).device
        for members in together(images, device):
            batch = to_input([images[i] for i in members], LONG_SIDE).to(device)
            heads = {k: v.float().cpu() for k, v in self._net(batch).items()}
            for row, i in enumerate(members):
                one = {k: v[row] for k, v in heads.items()}
                out[i] = _segments(one, images[i].shape[:2], self.config)
        return [out[i] for i in range(len(images))]

    def encode_text(self, texts: Sequence[str]) -> Float[np.ndarray, "n C"]:
        """Return unit vectors in the shared text space that labels are aligned to."""
        return (self._tower or load_torch_minilm()).encode(texts)

    def to(self, device: str) -> "RoomsMask":
        """Move the weights to a device."""
        self._net = self._net.to(device)
        if self._tower:
            self._tower.to(device)
        return self

    def close(self) -> None:
        """Free the weights; the teacher cannot be used afterwards."""
        del self._net
        if self._tower:
            self._tower.close()


def group_pixels(
    probability: Float[torch.Tensor, "K h w"],
    heat: Float[torch.Tensor, "h w"],
    offset: Float[torch.Tensor, "2 h w"],
    config: GroupConfig,
) -> tuple[Int32[np.ndarray, "h w"], list[int], list[float]]:
    """Join pixels to objects and let each object vote for its class.

    Args:
      probability: per class; the first `NUM_STUFF` have no objects.
      heat: height of object centres, about 1 at a centre.
      offset: (row, column) from each cell to its object's centre, in cells.
      config: thresholds.

    Returns:
      ids (0 void, 1..N), the class index and the score of every id.
    """
    best = probability.argmax(0)
    owner = _nearest_centre(_centres(heat, config), offset)
    # Candidates: one per stuff class, then one per centre.
    candidate = torch.where(best < NUM_STUFF, best, owner + NUM_STUFF).numpy()
    size = np.bincount(candidate.ravel())
    ids = np.zeros(candidate.shape, np.int32)
    labels: list[int] = []
    scores: list[float] = []
    for value in np.flatnonzero(size >= config.min_cells):
        inside = candidate == value
        mean = probability[:, torch.from_numpy(inside)].mean(1)
        votes = mean.clone()
        if value < NUM_STUFF:
            label = int(value)
        else:
            votes[:NUM_STUFF] = -1.0
            label = int(votes.argmax())
        labels.append(label)
        scores.append(float(mean[label]))
        ids[inside] = len(labels)
    return ids, labels, scores


def _centres(
    heat: Float[torch.Tensor, "h w"], config: GroupConfig
) -> Float[torch.Tensor, "c 2"]:
    pooled = functional.max_pool2d(
        heat[None, None], config.window, stride=1, padding=config.window // 2
    )[0, 0]
    rows, columns = torch.nonzero(
        (heat == pooled) & (heat >= config.min_heat), as_tuple=True
    )
    strongest = torch.argsort(heat[rows, columns], descending=True, stable=True)
    keep = strongest[: config.max_centres]
    return torch.stack([rows[keep], columns[keep]], 1).float()


def _nearest_centre(
    centres: Float[torch.Tensor, "c 2"], offset: Float[torch.Tensor, "2 h w"]
) -> torch.Tensor:
    """Return the index of the centre nearest to where each cell points; 0 if none."""
    _, height, width = offset.shape
    if not len(centres):
        return torch.zeros((height, width), dtype=torch.int64)
    rows = torch.arange(height)[:, None] + offset[0]
    columns = torch.arange(width)[None, :] + offset[1]
    pointed = torch.stack([rows, columns], -1).reshape(-1, 2)
    return torch.cdist(pointed, centres).argmin(1).reshape(height, width)


def _segments(
    heads: dict[str, torch.Tensor], image_hw: tuple[int, int], config: GroupConfig
) -> Segments:
    probability = heads["semantic"].softmax(0)
    ids, labels, scores = group_pixels(
        probability, heads["centre"][0], heads["offset"] * OFFSET_SCALE, config
    )
    label_map = probability.argmax(0).numpy().astype(np.int32)
    size_wh = image_hw[::-1]
    return Segments(
        ids=cv2.resize(ids, size_wh, interpolation=cv2.INTER_NEAREST_EXACT),
        labels=[CLASS_NAMES[k] for k in labels],
        scores=np.array(scores, np.float32),
        label_map=cv2.resize(label_map, size_wh, interpolation=cv2.INTER_NEAREST_EXACT),
        label_names=CLASS_NAMES,
    )
