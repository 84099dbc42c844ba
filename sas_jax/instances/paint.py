"""Colours that tell instances apart."""

import colorsys

import numpy as np
from jaxtyping import Int32, UInt8

from sas_jax.instances.masks import Instances

GREY = 120
_GOLDEN = 0.618033988749895  # steps of the circle of hues that never come close again


def surest(instances: Instances) -> Int32[np.ndarray, " P"]:
    """Return the instance with the highest score that each point is in, -1 for none.

    Of equal scores the first one counts.
    """
    found = np.full(instances.num_points, -1, np.int32)
    order = np.argsort(-instances.scores, kind="stable")
    for index in order[::-1]:  # the surest one is painted last
        found[instances.mask(index)] = index
    return found


def instance_colors(instances: Instances) -> UInt8[np.ndarray, "P 3"]:
    """Return an sRGB colour for each point: that of its surest instance, grey without.

    Neighbours in the order of scores differ most.
    """
    ordered = instances.by_score()
    hues = [rank * _GOLDEN % 1.0 for rank in range(len(ordered))]
    rgb = [colorsys.hsv_to_rgb(hue, 0.65, 0.95) for hue in hues]
    table = np.round(255 * np.array([*rgb, (GREY / 255,) * 3])).astype(np.uint8)
    return table[surest(ordered)]
