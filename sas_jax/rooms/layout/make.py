"""Make a furnished room from a seed."""

import numpy as np

from sas_jax.rooms.layout.config import RoomConfig
from sas_jax.rooms.layout.kinds import furnish
from sas_jax.rooms.layout.placer import Placer
from sas_jax.rooms.layout.room import Light, Room
from sas_jax.rooms.layout.shell import build_shell


def make_room(seed: int, config: RoomConfig | None = None) -> Room:
    """Make a furnished room.

    Args:
      seed: non-negative integer that decides everything.
      config: settings; None means the defaults.

    Returns:
      The room.

    Deterministic: bit for bit, for the same seed, config and numpy version.
    """
    config = config or RoomConfig()
    rng = np.random.default_rng([seed, 0x526F6F6D])
    kinds = tuple(config.kind_weights)
    odds = np.array([config.kind_weights[kind] for kind in kinds], np.float64)
    kind = kinds[int(rng.choice(len(kinds), p=odds / odds.sum()))]
    size = _size(rng, kind, config)
    placer = Placer(rng, config, size)
    furnish(placer, kind)
    shell = build_shell(placer, wet=kind == "bathroom")
    lights = _lights(rng, size)
    ambient = float(rng.uniform(0.35, 0.6))
    return Room(seed, kind, size, (*shell, *placer.placed), lights, ambient)


def _size(
    rng: np.random.Generator, kind: str, config: RoomConfig
) -> tuple[float, float, float]:
    """Draw the extents: studios are large and bathrooms small within the ranges."""
    shares = {"studio": (0.45, 1.0), "bathroom": (0.0, 0.5)}.get(kind, (0.0, 1.0))
    plan = []
    for low, high in (config.width_range_m, config.depth_range_m):
        plan.append(float(low + rng.uniform(*shares) * (high - low)))
    return plan[0], plan[1], float(rng.uniform(*config.height_range_m))


def _lights(
    rng: np.random.Generator, size_m: tuple[float, float, float]
) -> tuple[Light, ...]:
    """One to three warm or cool lamps near the top of the room."""
    lights = []
    count = int(rng.integers(1, 4))
    for _ in range(count):
        x, y = rng.uniform(0.2, 0.8, 2) * np.asarray(size_m[:2])
        z = size_m[2] * rng.uniform(0.9, 1.3)
        warmth = rng.uniform(-0.12, 0.15)
        color = (1.0 + warmth, 1.0, 1.0 - warmth)
        strength = float(rng.uniform(1.5, 3.0) / count)
        lights.append(Light((float(x), float(y), float(z)), color, strength))
    return tuple(lights)
