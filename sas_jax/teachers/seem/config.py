"""How SEEM looks at a picture. Imported without torch: flags are made of it."""

import dataclasses
from typing import get_args

from sas_jax.checks import in_range, one_of
from sas_jax.registry import Compat


@dataclasses.dataclass(frozen=True)
class SeemConfig:
    """Set what the network sees and which of its masks stay.

    Attributes:
      compat: "paper", or "official" where `sofa` is dropped as the void and `others`
        is kept, as the authors' code does by mistake.
      short_side: pixels that the shorter side of an image is resized to.
      min_score: probability of its class that a mask must exceed.
      min_overlap: share of its own pixels that a mask must win from the others.
    """

    compat: Compat = "paper"
    short_side: int = 512
    min_score: float = 0.4
    min_overlap: float = 0.8

    def __post_init__(self) -> None:
        one_of("seem", "compat", self.compat, get_args(Compat))
        in_range("seem", "seem_short_side", self.short_side, 32, 4096)
        in_range("seem", "seem_min_score", self.min_score, 0, 1)
        in_range("seem", "seem_min_overlap", self.min_overlap, 0, 1)
