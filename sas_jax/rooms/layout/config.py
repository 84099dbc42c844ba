"""Settings of the room generator."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sas_jax.errors import InputError
from sas_jax.rooms.catalogue import CLASS_NAMES, DESIGNS

KINDS = ("bedroom", "living room", "kitchen", "bathroom", "office", "studio")


def _default_kinds() -> dict[str, float]:
    return dict(zip(KINDS, (0.08, 0.09, 0.08, 0.13, 0.07, 0.55), strict=True))


@dataclass(frozen=True)
class RoomConfig:
    """What rooms to make.

    Attributes:
      kind_weights: relative frequency of the room kinds.
      width_range_m: inner extent along x.
      depth_range_m: inner extent along y.
      height_range_m: height of the walls.
      max_objects: most furniture instances in a room.
      clutter: factor on the number of optional objects.
      min_walk_fraction: share of the floor that stays walkable at 20 cm clearance.
      designs: allowed design ids per class; absent classes and None allow all, an
        empty tuple bans the class.
      class_weights: factor on the chance of optional objects of a class; absent is 1,
        0 bans the class.
    """

    kind_weights: Mapping[str, float] = field(default_factory=_default_kinds)
    width_range_m: tuple[float, float] = (3.0, 4.8)
    depth_range_m: tuple[float, float] = (2.8, 4.2)
    height_range_m: tuple[float, float] = (2.3, 2.6)
    max_objects: int = 40
    clutter: float = 1.0
    min_walk_fraction: float = 0.12
    designs: Mapping[str, tuple[int, ...]] | None = None
    class_weights: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        """Check names and ranges.

        Raises:
          InputError: on unknown kinds, classes or designs and on bad ranges.
        """
        _require_known("kind_weights", self.kind_weights, KINDS)
        _require_known("designs", self.designs or {}, tuple(DESIGNS))
        _require_known("class_weights", self.class_weights or {}, CLASS_NAMES)
        for name, allowed in (self.designs or {}).items():
            if any(not 0 <= design < DESIGNS[name] for design in allowed):
                raise InputError(
                    f"RoomConfig.designs[{name!r}]: ids must be in [0, "
                    f"{DESIGNS[name]}), got {allowed}. See catalogue.DESIGNS."
                )
        if min(self.kind_weights.values(), default=0.0) < 0.0 or not any(
            self.kind_weights.values()
        ):
            raise InputError(
                "RoomConfig.kind_weights: must be >= 0 with one above 0, got "
                f"{dict(self.kind_weights)}. Give one kind a positive weight."
            )
        for name in ("width_range_m", "depth_range_m", "height_range_m"):
            low, high = getattr(self, name)
            if not 2.0 <= low <= high:
                raise InputError(
                    f"RoomConfig.{name}: must be (low, high) with 2 <= low <= high, "
                    f"got {(low, high)}. Widen the range."
                )

    def allowed_designs(self, class_name: str) -> tuple[int, ...]:
        """Return the design ids that may be used for a class."""
        if self.weight(class_name) <= 0.0:
            return ()
        every = tuple(range(DESIGNS[class_name]))
        return every if self.designs is None else self.designs.get(class_name, every)

    def weight(self, class_name: str) -> float:
        """Return the factor on the chance of optional objects of a class."""
        return (self.class_weights or {}).get(class_name, 1.0)


def _require_known(where: str, asked: Mapping, known: tuple[str, ...]) -> None:
    unknown = sorted(set(asked) - set(known))
    if unknown:
        raise InputError(
            f"RoomConfig.{where}: keys must be among {list(known)}, got {unknown}. "
            "Remove or rename them."
        )
