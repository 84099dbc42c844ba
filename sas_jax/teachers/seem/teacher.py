"""SEEM as a mask teacher: photographs to labelled masks, any size, any names."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
import PIL.Image
import torch
from jaxtyping import Float
from torch.nn import functional

from sas_jax.artefacts.cache import cache_folder
from sas_jax.artefacts.files import content_key
from sas_jax.errors import InputError
from sas_jax.registry import LoadOptions
from sas_jax.teachers import towers
from sas_jax.teachers.contracts import Image, Segments, TeacherSpec, check_image
from sas_jax.teachers.seem.architecture import Architecture
from sas_jax.teachers.seem.config import SeemConfig
from sas_jax.teachers.seem.convert import read_network
from sas_jax.teachers.seem.names import NameEncoder, Tokenize
from sas_jax.teachers.seem.network import SIZE_MULTIPLE, Seem, untrained
from sas_jax.teachers.seem.panoptic import (
    full_size_masks,
    panoptic,
    segments_of,
    semantic,
)
from sas_jax.teachers.seem.vocabulary import (
    Vocabulary,
    default_vocabulary,
    templates,
    vocabulary_of,
)
from sas_jax.teachers.towers import TorchTower
from sas_jax.teachers.weights_id import weights_id
from sas_jax.text.clip_tokens import MAX_TOKENS, NUM_TOKENS, tokenize
from sas_jax.weights.find import find_file, seed_of

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
"""Of red, green and blue in 0..255."""

_LONGEST = 8
"""Shorter sides: a strip of one pixel and 2000 would become half a million."""

FILE = "seem_focall_v0.pt"
TEXT_SPACE = "clip-vit-b32"


class SeemTeacher:
    """A `MaskTeacher` (see contracts.py) of any names.

    SEEM compares its masks with names in a text space of its own, which nothing else
    shares. So labels leave it as words, and `encode_text` is the shared tower's.
    """

    def __init__(
        self,
        network: Seem,
        shared: TorchTower,
        network_id: str,
        *,
        config: SeemConfig | None = None,
        tokenize: Tokenize = tokenize,
        sentences: Sequence[str] | None = None,
        folder: pathlib.Path | None = None,
    ):
        """Take a network in evaluation mode.

        Args:
          network: filled.
          shared: text tower of the space that labels are aligned to.
          network_id: of the network's weights.
          config: of images and masks.
          tokenize: sentences to tokens of SEEM's own text tower.
          sentences: that a name is asked for in; None are those of `templates`.
          folder: where vectors of names are kept between runs; None forgets them.
        """
        self._network, self._shared = network, shared
        self.config = config = config or SeemConfig()
        sentences = sentences or templates()
        self._names = NameEncoder(network, tokenize, sentences, network_id, folder)
        self._default = default_vocabulary(config.compat)
        self.spec = TeacherSpec(
            name="seem",
            contract="mask",
            text_space=shared.space,
            feat_dim=shared.space.dim,
            weights_id=network_id,
            preprocess={
                "config": dataclasses.asdict(config),
                "network": dataclasses.asdict(network.sizes),
                "resize": "PIL bicubic, the longer side cut to whole pixels",
                "longest": _LONGEST,
                "mean": MEAN,
                "std": STD,
                "pad": f"zeros after normalisation to multiples of {SIZE_MULTIPLE}",
                "back": "nearest",
                "names": content_key([self._default.names, sentences]),
            },
        )

    @torch.no_grad()
    def segment(
        self, images: Sequence[Image], vocabulary: Sequence[str] | None = None
    ) -> list[Segments]:
        """Return the masks of every image, at the image's own size.

        Args:
          images: uint8 RGB of any sizes.
          vocabulary: class names; None asks for COCO's panoptic ones and those that
            SAS adds for rooms.

        Returns:
          Masks with labels and scores (probability of the label), the semantic argmax
          over all names but the one for all else as `label_map`. Both are found at
          the size that the network sees, and resampled.

        Raises:
          ContractError: when an image breaks the contract.
          InputError: for a vocabulary without names, or with one twice.
        """
        names = self._default if vocabulary is None else vocabulary_of(vocabulary)
        for image in images:
            check_image(image, "seem")
        vectors = torch.from_numpy(self._names.encode(names.names))
        return [self._segment_one(image, names, vectors) for image in images]

    def encode_text(self, texts: Sequence[str]) -> Float[np.ndarray, "n C"]:
        """Return unit vectors in the shared text space that labels are aligned to."""
        return self._shared.encode(texts)

    def to(self, device: str) -> "SeemTeacher":
        """Move the weights to a device."""
        self._network.to(device)
        self._shared.to(device)
        return self

    def close(self) -> None:
        """Free the weights; the teacher cannot be used afterwards."""
        del self._network, self._names
        self._shared.close()

    def _segment_one(
        self, image: Image, names: Vocabulary, vectors: Float[torch.Tensor, "K P"]
    ) -> Segments:
        device = self._network.logit_scale.device
        padded, seen_hw = to_input(image, self.config.short_side)
        said = self._network(padded.to(device), vectors.to(device))
        logits = said.logits[0].float()
        padded_hw = padded.shape[2], padded.shape[3]
        masks = full_size_masks(said.masks[0].float(), padded_hw, seen_hw).sigmoid_()
        found = panoptic(
            logits,
            masks,
            things={i for i, name in enumerate(names.names) if name in names.things},
            void=names.names.index(names.void),
            min_score=self.config.min_score,
            min_overlap=self.config.min_overlap,
        )
        labels = semantic(logits, masks).argmax(0).to(torch.int32).cpu().numpy()
        return segments_of(found, labels, names.names, image.shape[:2])


def load(options: LoadOptions) -> SeemTeacher:
    """Load the teacher for the registry, with the shared text tower.

    Raises:
      WeightsMissing: when there is no such file.
      InputError: for a file that is not of this network.
    """
    seed = seed_of(options.weights)
    if seed is None:
        path = find_file("seem", FILE, options.weights, download=options.download)
        network = read_network(path)
        check_text(network.sizes, path)
        network_id = weights_id(seem=network)
    else:
        network, network_id = untrained(seed), f"random:{seed}"
    teacher = SeemTeacher(
        network,
        towers.load(
            options.label_space or TEXT_SPACE,
            weights=None if seed is None else network_id,
            download=options.download,
        ),
        network_id,
        config=options.settings,
        # All sentences tell an untrained tower as little as one.
        sentences=None if seed is None else templates()[:1],
        folder=cache_folder() / "text",
    )
    return teacher.to(options.device)


def check_text(sizes: Architecture, path: pathlib.Path) -> None:
    """Raise InputError unless a text tower takes all that CLIP's tokenizer gives."""
    found = sizes.text_vocabulary, sizes.text_context
    if found != (NUM_TOKENS, MAX_TOKENS):
        raise InputError(
            f"seem: a text tower of {NUM_TOKENS} tokens and {MAX_TOKENS} places is "
            f"required, got {found[0]} and {found[1]} ({path}). Give {FILE}."
        )


def to_input(
    image: Image, short_side: int
) -> tuple[Float[torch.Tensor, "1 3 H W"], tuple[int, int]]:
    """Return what the network sees of an image, and how much of it is the image.

    Args:
      image: uint8 RGB [h, w, 3].
      short_side: pixels that the shorter side is brought to; of a strip that is more
        than eight times as long as it is wide, an eighth of the longer side.

    Returns:
      Normalised pixels, right and below padded with zeros to multiples of 32, and the
      (rows, columns) before padding.
    """
    height, width = image.shape[:2]
    shorter, longer = min(height, width), max(height, width)
    if longer > _LONGEST * shorter:
        seen = max(1, _LONGEST * short_side * shorter // longer), _LONGEST * short_side
    else:
        seen = short_side, short_side * longer // shorter
    seen_hw = seen if height <= width else seen[::-1]
    resized = PIL.Image.fromarray(image).resize(
        seen_hw[::-1], PIL.Image.Resampling.BICUBIC
    )
    pixels = torch.from_numpy(np.array(resized, np.float32)).permute(2, 0, 1)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    below, right = (-edge % SIZE_MULTIPLE for edge in seen_hw)
    normal = (pixels - mean) / std
    return functional.pad(normal, (0, right, 0, below))[None], seen_hw
