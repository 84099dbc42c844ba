"""Colours that tell instances apart."""

import colorsys

import numpy as np
from jaxtyping import UInt8

from sas_jax.instances.masks import Instances

GREY = 120
_GOLDEN = 0.618033988749895  # steps of the circle of hues that never come close again


def instance_colors(instances: Instances) -> UInt8[np.ndarray, "P 3"]:
    """Return an sRGB colour for each point: that of its surest instance, grey without.

    Neighbours in the order of scores differ most.
    """
    colors = np.full((instances.num_points, 3), GREY, np.uint8)
    ordered = instances.by_score()
    for rank in range(len(ordered) - 1, -1, -1):  # the surest one is painted last
        rgb = colorsys.hsv_to_rgb(rank * _GOLDEN % 1.0, 0.65, 0.95)
        colors[ordered.mask(rank)] = np.round(255 * np.array(rgb))
    return colors
