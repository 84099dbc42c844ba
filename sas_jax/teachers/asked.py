"""What open mask teachers are asked for. Imported without torch, for flags."""

import dataclasses

from sas_jax.checks import in_range


@dataclasses.dataclass(frozen=True)
class AskedConfig:
    """Set what a teacher of any names is asked for, and which masks stay.

    Attributes:
      names: class names; none asks for COCO's panoptic ones and those that SAS adds
        for rooms. Each costs time.
      min_score: probability that a mask must exceed.
      most: masks of an image at most, the surest ones.
    """

    names: tuple[str, ...] = ()
    min_score: float = 0.5
    most: int = 100

    def __post_init__(self) -> None:
        in_range("masks", "min_score", self.min_score, 0, 1)
        in_range("masks", "most", self.most, 1, 10_000)
