"""How image towers look at a picture. Imported without torch: flags are made of it."""

import dataclasses

from sas_jax.checks import in_range
from sas_jax.errors import InputError


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
        in_range("patches", "short_side", self.short_side, 8, 2048)


@dataclasses.dataclass(frozen=True)
class ClipSegConfig:
    """Set how CLIPSeg looks at a picture.

    Attributes:
      side: pixels of the square that an image is squeezed to; its maps have as many.
      prompt: what a name is asked for in, with {} for it.
    """

    side: int = 352
    prompt: str = "a photo of a {}."

    def __post_init__(self) -> None:
        in_range("clipseg", "side", self.side, 32, 2048)
        if "{}" not in self.prompt:
            raise InputError(
                "clipseg: a prompt with {} for the name is required, got "
                f"{self.prompt!r}. Correct --clipseg_prompt."
            )
