"""What mask teachers of transformers share: images in, masks with names out.

Those of a closed vocabulary know the names of their checkpoint and no others; what is
said of them lands where it belongs by its words, as SEEM's labels do, and capability
measures what they do not know. Others are asked for the names of a vocabulary.
"""

import abc
import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float

from sas_jax.errors import InputError
from sas_jax.registry import LoadOptions
from sas_jax.teachers import towers
from sas_jax.teachers.contracts import Image, Segments, TeacherSpec, check_image
from sas_jax.teachers.seem.panoptic import panoptic, segments_of, semantic
from sas_jax.teachers.seem.vocabulary import default_vocabulary, vocabulary_of
from sas_jax.teachers.towers import TorchTower
from sas_jax.teachers.weights_id import settings_of
from sas_jax.text.wording import clean_label

TEXT_SPACE = "clip-vit-b32"
"""That labels are encoded in where nobody says another one."""

Network = Any
"""A `PreTrainedModel` of transformers."""

Said = tuple[Float[torch.Tensor, "Q K"], Float[torch.Tensor, "Q H W"]]
"""Logits of classes, the last one's for none, and masks' probabilities."""

Names = TypeVar("Names")


class NamedMasks(abc.ABC, Generic[Names]):
    """A `MaskTeacher` (see contracts.py); what it does with an image is a subclass's.

    Attributes:
      networks: by what they are for.
      device: that they are on.
    """

    def __init__(
        self,
        name: str,
        networks: Mapping[str, Network],
        shared: TorchTower,
        weights: str,
        preprocess: Mapping[str, Any],
    ):
        """Take networks in evaluation mode.

        Args:
          name: in the registry.
          networks: filled.
          shared: text tower of the space that labels are aligned to.
          weights: names the weights, in keys.
          preprocess: whatever else decides numbers, as JSON values.
        """
        self.networks, self._shared, self.device = dict(networks), shared, "cpu"
        settings = {k: settings_of(n.config.to_dict()) for k, n in networks.items()}
        self.spec = TeacherSpec(
            name=name,
            contract="mask",
            text_space=shared.space,
            feat_dim=shared.space.dim,
            weights_id=weights,
            preprocess={**preprocess, "networks": settings},
        )

    @torch.no_grad()
    def segment(
        self, images: Sequence[Image], vocabulary: Sequence[str] | None = None
    ) -> list[Segments]:
        """Return the masks of every image, at the image's own size.

        Args:
          images: uint8 RGB of any sizes; each is seen alone.
          vocabulary: class names; a teacher of a closed vocabulary does not use them.

        Raises:
          ContractError: when an image breaks the contract.
          InputError: for a vocabulary without names, or with one twice.
        """
        for image in images:
            check_image(image, self.spec.name)
        names = self.names_for(vocabulary)
        return [self.segment_one(image, names) for image in images]

    @abc.abstractmethod
    def names_for(self, vocabulary: Sequence[str] | None) -> Names:
        """Return what is asked for, ready for `segment_one`."""

    @abc.abstractmethod
    def segment_one(self, image: Image, names: Names) -> Segments:
        """Return the masks of one image."""

    def encode_text(self, texts: Sequence[str]) -> Float[np.ndarray, "n C"]:
        """Return unit vectors in the shared text space that labels are aligned to."""
        return self._shared.encode(texts)

    def to(self, device: str) -> "NamedMasks":
        """Move the weights to a device."""
        for network in self.networks.values():
            network.to(device)
        self._shared.to(device)
        self.device = device
        return self

    def close(self) -> None:
        """Free the weights; the teacher cannot be used afterwards."""
        self.networks.clear()
        self._shared.close()


@dataclasses.dataclass(frozen=True)
class ClosedConfig:
    """Set which masks of a closed vocabulary stay.

    Attributes:
      min_score: probability of its class that a mask must exceed.
      min_overlap: share of its own pixels that a mask must win from the others.
    """

    min_score: float
    min_overlap: float = 0.8


class ClosedMasks(NamedMasks[None]):
    """Masks of a network that was trained on some names.

    Attributes:
      names: of its classes.
      config: which masks stay.
    """

    def __init__(
        self,
        name: str,
        network: Network,
        shared: TorchTower,
        weights: str,
        config: ClosedConfig,
        preprocess: Mapping[str, Any],
    ):
        """See `NamedMasks`; the network's configuration names its classes."""
        self.config, self.names = config, class_names(network, name)
        self._things = set(range(len(self.names)))
        self._things -= {i for i, n in enumerate(self.names) if n in _stuff()}
        how = {**preprocess, "masks": dataclasses.asdict(config), "names": self.names}
        super().__init__(name, {"network": network}, shared, weights, how)

    def names_for(self, vocabulary: Sequence[str] | None) -> None:
        """Return nothing: the names are fixed."""

    @abc.abstractmethod
    def said(self, image: Image) -> Said:
        """Return what the network says of an image, masks at the image's size."""

    def segment_one(self, image: Image, names: None) -> Segments:
        """Return the masks that no better one covers, and the semantic argmax.

        What COCO calls stuff is one mask a class, all else one a thing.
        """
        logits, masks = (each.float() for each in self.said(image))
        found = panoptic(
            logits,
            masks,
            things=self._things,
            void=len(self.names),
            min_score=self.config.min_score,
            min_overlap=self.config.min_overlap,
        )
        best = semantic(logits, masks).argmax(0).to(torch.int32).cpu().numpy()
        return segments_of(found, best, [*self.names, "void"], image.shape[:2])


def shared_tower(options: LoadOptions, weights: str) -> TorchTower:
    """Return the text tower of labels; random where the teacher's weights are."""
    return towers.load(
        options.label_space or TEXT_SPACE,
        weights=weights if weights.startswith("random:") else None,
        download=options.download,
    )


def class_names(network: Network, what: str) -> tuple[str, ...]:
    """Return the names of a checkpoint's classes, in words: the first of synonyms.

    Raises:
      InputError: for a configuration without names.
    """
    given = [name for _, name in sorted(network.config.id2label.items())]
    if given and all(re.fullmatch(r"LABEL_\d+", name) for name in given):
        raise InputError(
            f"{what}: names of the classes are required in id2label of config.json, "
            f"got {given[0]}. Download the folder again."
        )
    return tuple(clean_label(re.split("[,;]", name)[0].strip()) for name in given)


def coco_classes() -> dict[str, dict]:
    """Return COCO's panoptic classes as transformers' configurations take them."""
    names = default_vocabulary().names[:NUM_COCO]
    return {
        "id2label": dict(enumerate(names)),
        "label2id": {name: i for i, name in enumerate(names)},
    }


NUM_COCO = 133


def _stuff() -> frozenset[str]:
    vocabulary = default_vocabulary()
    return frozenset(vocabulary.names) - vocabulary.things


@dataclasses.dataclass(frozen=True)
class AskedConfig:
    """Set what a teacher of any names is asked for, and which masks stay.

    Attributes:
      min_score: probability that a mask must exceed.
      most: masks of an image at most, the surest ones.
      names: class names; none asks for COCO's panoptic ones and those that SAS adds
        for rooms. Each costs time.
    """

    min_score: float
    most: int = 100
    names: tuple[str, ...] = ()


def asked_config(options: LoadOptions, usual: AskedConfig) -> AskedConfig:
    """Return the settings of a teacher: those given, or the usual and what is asked."""
    return options.settings or dataclasses.replace(usual, names=options.vocabulary)


def asked_for(vocabulary: Sequence[str] | None, config: AskedConfig) -> tuple[str, ...]:
    """Return the names that an open teacher is asked for.

    Args:
      vocabulary: of one call; None stands for the configuration's names, and those
        for COCO's and the ones that SAS adds for rooms.
      config: of the teacher.

    Raises:
      InputError: for an empty name, or one that stands twice.
    """
    names = vocabulary or config.names
    found = vocabulary_of(names) if names else default_vocabulary()
    return found.names[:-1]


def painted(
    masks: Sequence[Bool[np.ndarray, "H W"]],
    scores: Sequence[float],
    labels: Sequence[str],
    size_hw: tuple[int, int],
) -> Segments:
    """Return masks that overlap as segments: a pixel is its surest mask's.

    Args:
      masks: N in any order.
      scores: of the masks.
      labels: of the masks.
      size_hw: H and W.

    Returns:
      Segments in falling order of scores, those without a pixel left out.
    """
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    ids = np.zeros(size_hw, np.int32)
    for i in reversed(order):
        ids[masks[i]] = i + 1
    left = [i for i in order if (ids == i + 1).any()]
    new = np.zeros(len(scores) + 1, np.int32)
    new[[i + 1 for i in left]] = np.arange(1, len(left) + 1)
    kept = np.array([scores[i] for i in left], np.float32)
    return Segments(new[ids], [labels[i] for i in left], kept)
