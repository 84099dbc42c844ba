"""How teachers made of patches look at a picture. Imported without torch, for flags."""

import dataclasses

from sas_jax.checks import in_range


@dataclasses.dataclass(frozen=True)
class PatchConfig:
    """Set how large an image is seen.

    Attributes:
      short_side: pixels that an image's shorter side is brought to, and both sides then
        to whole patches: more give a finer grid, further from what the network was
        trained at, and attention takes the fourth power.
    """

    short_side: int = 448

    def __post_init__(self) -> None:
        in_range("patches", "short_side", self.short_side, 32, 2048)
