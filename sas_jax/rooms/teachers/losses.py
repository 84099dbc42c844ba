"""What the small teachers are trained to: text features, or labels and centres.

Dense: cross-entropy over cosine similarity / temperature against the texts of all
classes (as LSeg does), plus a smaller one against the captions of the instances in the
batch, so that the space holds colours and finer nouns too, not only the class names.
Mask: class cross-entropy, centre heat map, offsets. B batch, g grid side, K classes.
"""

import dataclasses

import numpy as np
import torch
from jaxtyping import Float, Int
from torch.nn import functional

from sas_jax.rooms.teachers.augment import Batch
from sas_jax.rooms.teachers.data import IGNORE, RoomFrames
from sas_jax.rooms.teachers.labels import Knowledge
from sas_jax.rooms.teachers.mask import NUM_STUFF, OFFSET_SCALE
from sas_jax.rooms.teachers.nets import RoomsNet
from sas_jax.text.prompts import OTHER_NAMES, PROMPT, prompt

SYNONYMS = {
    "cabinet": ("cupboard", "wardrobe", "dresser"),
    "chair": ("armchair", "seat", "stool"),
    "sofa": ("couch", "settee"),
    "table": ("coffee table", "dining table"),
    "bookshelf": ("bookcase", "shelf full of books"),
    "picture": ("painting", "poster"),
    "counter": ("countertop", "kitchen counter"),
    "desk": ("writing desk", "office desk"),
    "curtain": ("drapes",),
    "refrigerator": ("fridge",),
    "sink": ("washbasin", "basin"),
    "bathtub": ("bath tub", "tub"),
    "bed": ("double bed", "mattress"),
    "door": ("doorway",),
}


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Set the losses.

    Attributes:
      temperature: divisor of cosine similarities.
      pixels: pixels per crop that the dense losses look at, drawn so that rare
        classes are seen more often.
      caption_weight: weight of the caption loss.
      synonym_share: chance that a class is worded by a synonym in a step.
      centre_sigma: width of a centre in the heat map, in grid cells.
      centre_weight: weight of the heat map loss.
      offset_weight: weight of the offset loss.
      balance: pixel weight of a class is frequency ** -balance.
    """

    temperature: float = 0.05
    pixels: int = 320
    caption_weight: float = 0.15
    synonym_share: float = 0.3
    centre_sigma: float = 4.0
    centre_weight: float = 40.0
    offset_weight: float = 1.0
    balance: float = 0.3


class TextBank:
    """Text features of class prompts, their synonyms and all instance captions."""

    def __init__(
        self,
        encoder,
        class_names: tuple[str, ...],
        frames: RoomFrames,
        knowledge: Knowledge,
    ):
        """Encode everything once; instances with a coarse label have no caption."""
        variants = [self._variants(name) for name in class_names]
        self._variants_of = [
            torch.from_numpy(encoder.encode(texts)) for texts in variants
        ]
        captions = sorted(
            {i.caption for infos in frames.instances.values() for i in infos.values()}
        )
        row = {caption: k for k, caption in enumerate(captions)}
        self.captions = torch.from_numpy(
            encoder.encode([PROMPT.format(caption) for caption in captions])
        )
        self._tables = {}
        for seed, infos in frames.instances.items():
            table = np.full(256, -1, np.int64)
            for instance, info in infos.items():
                if instance < IGNORE and knowledge.is_fine(info, class_names):
                    table[instance] = row[info.caption]
            self._tables[seed] = table
        self._room = frames.room

    @staticmethod
    def _variants(name: str) -> list[str]:
        if name in OTHER_NAMES:
            return [prompt(name)]
        nouns = SYNONYMS.get(name, ())
        return [prompt(name), *(PROMPT.format(n) for n in nouns), f"a {name}", name]

    def classes(
        self, rng: np.random.Generator, synonym_share: float
    ) -> Float[torch.Tensor, "K C"]:
        """Return one text feature per class, mostly the canonical prompt's."""
        rows = []
        for variants in self._variants_of:
            other = rng.random() < synonym_share
            rows.append(variants[int(rng.integers(len(variants))) if other else 0])
        return torch.stack(rows)

    def caption_rows(self, batch: Batch) -> Int[torch.Tensor, "B g g"]:
        """Return the row of `captions` for every grid cell, -1 for none.

        What was repainted has none: its colour is another one.
        """
        rows = [
            self._tables[int(self._room[frame])][instance]
            for frame, instance in zip(batch.frame, batch.instance, strict=True)
        ]
        return torch.from_numpy(np.where(batch.repainted, -1, np.stack(rows)))


def class_weights(labels: np.ndarray, num_classes: int, balance: float) -> torch.Tensor:
    """Return frequency ** -balance per class, mean 1 over the labelled pixels."""
    count = np.bincount(labels[::4].ravel(), minlength=256)[:num_classes]
    share = np.maximum(count, 1) / max(count.sum(), 1)
    weight = share**-balance
    return torch.from_numpy((weight / (weight * share).sum()).astype(np.float32))


def dense_loss(
    net: RoomsNet,
    trunk: Float[torch.Tensor, "B F g g"],
    batch: Batch,
    bank: TextBank,
    weights: Float[torch.Tensor, " K"],
    config: LossConfig,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the dense teacher's loss and its terms.

    Args:
      net: whose embedding head is trained.
      trunk: output of `net.trunk` for the batch.
      batch: with the labels that the teacher is given.
      bank: text features.
      weights: chance of a pixel to be drawn, by class.
      config: temperature and weights of the terms.
      rng: draws pixels and words.

    Only some pixels of the grid are projected to the text space: neighbours say the
    same, and the projection would cost as much as the network.
    """
    label = torch.from_numpy(batch.label.astype(np.int64)).flatten()
    labelled = label != IGNORE
    chance = torch.where(labelled, weights[label.clamp(max=len(weights) - 1)], 0.0)
    count = min(config.pixels * len(batch.label), int(labelled.sum()))
    if count == 0:
        return trunk.float().sum() * 0.0, {}
    draw = torch.Generator().manual_seed(int(rng.integers(2**62)))
    picked = torch.multinomial(chance, count, generator=draw)
    weight, bias = net.head("embedding")
    cells = trunk.permute(0, 2, 3, 1).flatten(0, 2)[picked].float()
    feature = functional.linear(cells, weight, bias)
    feature = functional.normalize(feature, dim=-1)
    texts = bank.classes(rng, config.synonym_share)
    logits = feature @ texts.T / config.temperature
    by_class = functional.cross_entropy(logits, label[picked])
    caption = bank.caption_rows(batch).flatten()[picked]
    described = caption >= 0
    present, target = torch.unique(caption[described], return_inverse=True)
    logits = feature[described] @ bank.captions[present].T / config.temperature
    by_caption = functional.cross_entropy(logits, target, reduction="sum") / count
    loss = by_class + config.caption_weight * by_caption
    return loss, {
        "class": float(by_class.detach()),
        "caption": float(by_caption.detach()),
    }


def mask_loss(
    net: RoomsNet,
    trunk: Float[torch.Tensor, "B F g g"],
    batch: Batch,
    weights: Float[torch.Tensor, " K"],
    config: LossConfig,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the mask teacher's loss and its terms; unlabelled cells count nowhere.

    Args:
      net: whose three heads are trained.
      trunk: output of `net.trunk` for the batch.
      batch: with the labels that the teacher is given.
      weights: weight of a pixel, by class.
      config: weights of the terms.
    """
    names = ("semantic", "centre", "offset")
    heads = {name: net.heads[name](trunk).float() for name in names}
    label = torch.from_numpy(batch.label.astype(np.int64))
    labelled = label != IGNORE
    thing = labelled & (label >= NUM_STUFF)
    heat, offset = centre_targets(batch, config.centre_sigma)
    by_class = functional.cross_entropy(
        heads["semantic"], label, weights, ignore_index=IGNORE
    )
    error = (heads["centre"][:, 0] - heat).square()
    centre = (error * labelled).sum() / labelled.sum().clamp(min=1)
    error = (heads["offset"] - offset / OFFSET_SCALE).abs().sum(1)
    shift = (error * thing).sum() / thing.sum().clamp(min=1)
    loss = by_class + config.centre_weight * centre + config.offset_weight * shift
    terms = {"class": by_class, "centre": centre, "offset": shift}
    return loss, {name: float(value.detach()) for name, value in terms.items()}


def centre_targets(
    batch: Batch, sigma: float
) -> tuple[Float[torch.Tensor, "B g g"], Float[torch.Tensor, "B 2 g g"]]:
    """Return heat maps of object centres and each cell's offset to its centre.

    An object's centre is the mean of its visible cells in the crop.
    """
    size = batch.label.shape[1]
    axis = np.arange(size, dtype=np.float32)
    heat = np.zeros(batch.label.shape, np.float32)
    offset = np.zeros((len(batch.label), 2, size, size), np.float32)
    for b, (label, instance) in enumerate(
        zip(batch.label, batch.instance, strict=True)
    ):
        thing = (label != IGNORE) & (label >= NUM_STUFF)
        row, column = np.nonzero(thing)
        owner = instance[row, column]
        count = np.bincount(owner, minlength=256)
        mean = [
            np.bincount(owner, axis_of, 256) / np.maximum(count, 1)
            for axis_of in (row, column)
        ]
        offset[b, 0, row, column] = mean[0][owner] - row
        offset[b, 1, row, column] = mean[1][owner] - column
        for k in np.flatnonzero(count >= 8):
            bump = [np.exp(-((axis - m[k]) ** 2) / (2 * sigma**2)) for m in mean]
            np.maximum(heat[b], np.outer(*bump), out=heat[b])
    return torch.from_numpy(heat), torch.from_numpy(offset)
