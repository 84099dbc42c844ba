"""What teachers of one network and one text tower have in common."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from jaxtyping import Float
from torch import nn

from sas_jax.teachers.contracts import TeacherSpec
from sas_jax.teachers.towers import TorchTower


class Adapter:
    """A `Teacher` (see contracts.py) but for what it makes of images.

    Attributes:
      spec: see `TeacherSpec`.
    """

    spec: TeacherSpec

    def __init__(self, network: nn.Module, text: TorchTower):
        """Take a network in evaluation mode, and the tower of its text space."""
        self._network: Any = network
        self._text = text

    def encode_text(self, texts: Sequence[str]) -> Float[np.ndarray, "n C"]:
        """Return unit vectors of texts in the teacher's text space."""
        return self._text.encode(texts)

    def to(self, device: str) -> Self:
        """Move the weights to a device and return the teacher."""
        self._network.to(device)
        self._text.to(device)
        return self

    def close(self) -> None:
        """Free the weights; the teacher cannot be used afterwards."""
        self._text.close()
        del self._network
