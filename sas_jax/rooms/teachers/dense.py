"""The dense teacher of the rooms: a vector in MiniLM's text space for every pixel.

An image of any size is resized to a long side of 192 (a 320x240 frame to 192x144, the
scale of training); the output grid is half of that, [72, 96] for such a frame. Each
vector has unit norm, so a pixel is what its nearest prompt says.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float16
from torch.nn import functional

from sas_jax.registry import LoadOptions
from sas_jax.rooms.teachers.nets import (
    MEAN,
    SIZE_MULTIPLE,
    NetConfig,
    RoomsNet,
    build,
    to_input,
)
from sas_jax.teachers.batches import together
from sas_jax.teachers.contracts import Image, TeacherSpec
from sas_jax.teachers.text import load_torch_minilm
from sas_jax.text import minilm_files

LONG_SIDE = 192
DENSE_NET = NetConfig(heads={"embedding": minilm_files.DIM})


class RoomsDense:
    """A `DenseTeacher` (see contracts.py)."""

    def __init__(self, net: RoomsNet, weights_id: str):
        """Take a network in evaluation mode and the id of its weights."""
        self._net = net
        self.spec = TeacherSpec(
            name="rooms-dense",
            contract="dense",
            text_space=minilm_files.SPACE,
            feat_dim=minilm_files.DIM,
            weights_id=weights_id,
            preprocess={
                "long_side": LONG_SIDE,
                "multiple_of": SIZE_MULTIPLE,
                "resize": "area when shrinking, linear when enlarging",
                "scale": "value / 255 - mean",
                "mean": MEAN,
            },
        )

    @torch.no_grad()
    def features(self, images: Sequence[Image]) -> list[Float16[np.ndarray, "h w 384"]]:
        """Return unit vectors on the grid of half the working size.

        Args:
          images: uint8 RGB of any sizes.

        Returns:
          Per image float16 [h, w, 384]; row i, column j covers the image's share
          [i/h, (i+1)/h] x [j/w, (j+1)/w].

        Raises:
          InputError: when an image breaks the contract.
        """
        out: list[np.ndarray] = [np.zeros(0, np.float16)] * len(images)
        device = next(self._net.parameters()).device
        for members in together(images, device):
            batch = to_input([images[i] for i in members], LONG_SIDE).to(device)
            unit = unit_embedding(self._net, batch).half().cpu().numpy()
            for i, feature in zip(members, unit, strict=True):
                out[i] = feature
        return out

    def encode_text(self, texts: Sequence[str]) -> Float[np.ndarray, "n 384"]:
        """Return unit vectors of texts in the same space."""
        return load_torch_minilm().encode(texts)

    def to(self, device: str) -> "RoomsDense":
        """Move the weights to a device."""
        self._net = self._net.to(device)
        return self

    def close(self) -> None:
        """Free the weights; the teacher cannot be used afterwards."""
        del self._net


def unit_embedding(
    net: RoomsNet, images: Float[torch.Tensor, "B 3 h w"]
) -> Float[torch.Tensor, "B h2 w2 384"]:
    """Return the normalised output of the embedding head, channels last.

    With y = A z (bias in A's last column), |y|^2 = z^T (A^T A) z: the norm is taken of
    the short z, so the long vectors are written once, already of unit length.
    """
    weight, bias = net.head("embedding")
    matrix = torch.cat([weight, bias[:, None]], 1)
    cells = functional.pad(net.trunk(images).permute(0, 2, 3, 1), (0, 1), value=1.0)
    squared = ((cells @ (matrix.T @ matrix)) * cells).sum(-1, keepdim=True)
    return (cells * squared.clamp(min=1e-12).rsqrt()) @ matrix.T


def load(options: LoadOptions) -> RoomsDense:
    """Load the teacher for the registry; the shipped weights unless told otherwise.

    Raises:
      WeightsMissing: when there is no such file.
    """
    return RoomsDense(*build(DENSE_NET, options, "rooms_dense"))
