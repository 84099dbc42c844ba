"""The dense teacher LSeg: adapter of the network to `DenseTeacher`.

Checkpoint: `demo_e200.ckpt` of the authors, which holds CLIP's tower too.
"""

import dataclasses
import functools
import logging
import pathlib
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float16, UInt8

from sas_jax.errors import InputError
from sas_jax.registry import LoadOptions
from sas_jax.teachers import clip_text
from sas_jax.teachers.batches import together
from sas_jax.teachers.checkpoint import (
    built,
    fill,
    read_state,
    sized,
    without_prefix,
)
from sas_jax.teachers.contracts import Image, TeacherSpec, check_image
from sas_jax.teachers.lseg.config import SIDE_MULTIPLE, LSegConfig
from sas_jax.teachers.lseg.evaluate import evaluate
from sas_jax.teachers.lseg.network import Architecture, LSegNet, architecture_of
from sas_jax.teachers.weights_id import weights_id
from sas_jax.weights.find import find_file, seed_of

FILE = "demo_e200.ckpt"
TOWER = "clip-vit-b32"

_ANCHOR = "pretrained.model.pos_embed"
_CLIP = "clip_pretrained."
_UNUSED = ("pretrained.model.head.",)


@functools.cache
def _misplaced(longer: int, base_size: int) -> None:
    logging.warning(
        "lseg: the authors' crop fits images of half of base_size, got %d pixels for "
        "%d: features lie in wrong places. Take --compat=paper, or "
        "--lseg_base_size=%d --lseg_crop_size=%d.",
        longer,
        base_size,
        2 * longer,
        -(-2 * longer // SIDE_MULTIPLE) * SIDE_MULTIPLE,
    )


class LSeg:
    """A `DenseTeacher` (see contracts.py)."""

    def __init__(
        self,
        network: LSegNet,
        text: clip_text.TorchClipText,
        identity: str,
        config: LSegConfig | None = None,
    ):
        """Take a network in evaluation mode and the tower of its text space.

        Args:
          network: of as many features as the tower's vectors have numbers.
          text: of the space that it was trained in.
          identity: of its weights, see `TeacherSpec.weights_id`.
          config: scales and windows.

        Raises:
          InputError: for vectors of other lengths.
        """
        self.config = config or LSegConfig()
        self._network, self._text = network, text
        length = network.head.out_channels
        if length != text.space.dim:
            raise InputError(
                f"lseg: vectors of {text.space} are required, got {length} numbers. "
                "Give weights that were trained with that tower."
            )
        self.spec = TeacherSpec(
            name="lseg",
            contract="dense",
            text_space=text.space,
            feat_dim=length,
            weights_id=identity,
            preprocess={
                **dataclasses.asdict(self.config),
                "pixels": "(value / 255 - 0.5) / 0.5",
                "resize": "longer side, bilinear, corners aligned",
                "pad": "black, right and bottom",
                "taps": network.taps,
                "heads": network.heads,
            },
        )

    @torch.no_grad()
    def features(self, images: Sequence[Image]) -> list[Float16[np.ndarray, "h w C"]]:
        """Return vectors on the grid of half the working size.

        Args:
          images: uint8 RGB of any sizes.

        Returns:
          Per image float16 [h, w, C]; row i, column j covers the image's share
          [i/h, (i+1)/h] x [j/w, (j+1)/w]; see `LSegConfig` for their length.

        Raises:
          ContractError: when an image breaks the contract.

        Deterministic: on one device with one number of threads, and whatever the
          company that an image is in.
        """
        for image in images:
            check_image(image, "lseg")
            self._check_place(image)
        out: dict[int, np.ndarray] = {}
        for members in together(images, self._network.head.weight.device):
            batch = np.stack([images[i] for i in members])
            out |= zip(members, self._features(batch), strict=True)
        return [out[i] for i in range(len(images))]

    def _features(
        self, images: UInt8[np.ndarray, "B H W 3"]
    ) -> Float16[np.ndarray, "B h w C"]:
        pixels = torch.from_numpy(images).to(self._network.head.weight.device)
        pixels = pixels.permute(0, 3, 1, 2).float()
        pixels = pixels.div_(255).sub_(0.5).div_(0.5)
        found = evaluate(self._network, pixels, self.config)
        return found.half().permute(0, 2, 3, 1).contiguous().cpu().numpy()

    def _check_place(self, image: Image) -> None:
        """Say once that the authors' crop is not the image's."""
        longer = max(image.shape[:2])
        if self.config.compat == "official" and 2 * longer != self.config.base_size:
            _misplaced(longer, self.config.base_size)

    def encode_text(self, texts: Sequence[str]) -> Float[np.ndarray, "n C"]:
        """Return unit vectors of texts in the same space."""
        return self._text.encode(texts)

    def to(self, device: str) -> "LSeg":
        """Move the weights to a device."""
        self._network.to(device)
        self._text.to(device)
        return self

    def close(self) -> None:
        """Free the weights; the teacher cannot be used afterwards."""
        self._text.close()
        del self._network, self._text


def load(options: LoadOptions) -> LSeg:
    """Load the teacher for the registry.

    Args:
      options: `random:<seed>` builds ViT-L/16 and a text tower without training.

    Raises:
      WeightsMissing: when there is no checkpoint.
      InputError: for one that is damaged or of another network.
    """
    config = options.settings or LSegConfig(compat=options.compat)
    if (seed := seed_of(options.weights)) is not None:
        network = built(lambda: LSegNet(Architecture()), seed)
        text = clip_text.load(TOWER, weights=options.weights)
        return LSeg(network, text, f"random:{seed}", config).to(options.device)
    path = find_file("lseg", FILE, options.weights, download=options.download)
    return from_checkpoint(path, options, config)


def from_checkpoint(
    path: pathlib.Path, options: LoadOptions, config: LSegConfig
) -> LSeg:
    """Load the teacher from a checkpoint of any size.

    The text tower is the one in the file, which the network was trained with, and
    CLIP's own where the file has none. Where the two hold the same weights, as the
    published one does, their spaces are the same.

    Raises:
      InputError: for a damaged file, and for one of another network, naming tensors.
    """
    state = without_prefix(read_state(path), _ANCHOR)
    tower = {name: state.pop(name) for name in list(state) if name.startswith(_CLIP)}
    with sized("lseg", path), torch.device("meta"):
        network = LSegNet(architecture_of(state, where=path))
    network.to_empty(device="cpu").eval()
    fill(network, state, what="lseg", path=path, unused=_UNUSED)
    text = (
        clip_text.from_state(TOWER, tower, path)
        if tower
        else clip_text.load(TOWER, download=options.download)
    )
    identity = weights_id(network=network)
    return LSeg(network, text, identity, config).to(options.device)
