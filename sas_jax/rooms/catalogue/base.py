"""What a catalogue object is, and how a draft of parts becomes one.

Object frame: x to the right seen from behind, the front faces +y, z up, z = 0 at the
object's own lowest point. Standing objects have their origin in the middle of the
footprint. Mounted objects have the wall plane at y = 0 and their origin in the middle
of their width; what lies at y < 0 is set into the wall.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sas_jax.classes import per_class
from sas_jax.rooms.catalogue.colors import color_name
from sas_jax.rooms.geometry.mesh import Mesh, concat, transform
from sas_jax.scenes.labels import SCANNET20

CLASS_NAMES = SCANNET20.classes.names
NYU40_IDS = per_class("scannet20", "nyu40_ids")

Placement = Literal["floor", "wall", "mounted", "top", "inset", "hung"]


@dataclass(frozen=True)
class Fit:
    """Wishes of the layout that some designs heed; None leaves the size to chance.

    Attributes:
      width_m: wanted width (counter, wall cabinet, curtain, shower curtain).
      height_m: wanted height (curtain, shower curtain).
      depth_m: distance from a shower curtain's rod to the wall behind it.
      slot_m: (width, depth) of a hole in a counter's worktop for an inset sink.
    """

    width_m: float | None = None
    height_m: float | None = None
    depth_m: float | None = None
    slot_m: tuple[float, float] | None = None


@dataclass(frozen=True)
class Draft:
    """The parts of an object before they are joined.

    Attributes:
      noun: what a person would call it ("armchair").
      parts: meshes in the object frame; x and y may still be off-centre.
      placement: where it belongs. floor: free in the room; wall: back to a wall;
        mounted: on or in a wall; top: stands on a surface; inset: in a worktop;
        hung: from a rod above y = 0.
      base_z_m: usual height of its lowest point above the floor.
      top_z_m: height of a surface that carries small things, above z = 0.
      top_back_m: depth of that surface that is taken at the back.
      slot_xy_m: centre of the worktop's hole, relative to the draft's origin.
      opening_m: width, height and lower edge of the hole it needs in the wall.
    """

    noun: str
    parts: list[Mesh]
    placement: Placement
    base_z_m: float = 0.0
    top_z_m: float | None = None
    top_back_m: float = 0.0
    slot_xy_m: tuple[float, float] | None = None
    opening_m: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Object:
    """A furnished thing in its own frame (see the module docstring).

    Attributes:
      class_name: one of `CLASS_NAMES`.
      design: index of the parametric design within its class.
      noun: what a person would call it.
      mesh: geometry and appearance.
      size_m: extent along x, y, z.
      placement: see `Draft`.
      base_z_m: see `Draft`.
      color: area-weighted dominant albedo, sRGB in [0, 1].
      color_name: everyday name of that colour.
      top_z_m: see `Draft`.
      top_back_m: see `Draft`.
      slot_xy_m: hole centre in the object frame.
      opening_m: see `Draft`; the lower edge is relative to its lowest point.
    """

    class_name: str
    design: int
    noun: str
    mesh: Mesh
    size_m: tuple[float, float, float]
    placement: Placement
    base_z_m: float
    color: tuple[float, float, float]
    color_name: str
    top_z_m: float | None = None
    top_back_m: float = 0.0
    slot_xy_m: tuple[float, float] | None = None
    opening_m: tuple[float, float, float] | None = None

    @property
    def class_index(self) -> int:
        """Return the index of the class in `CLASS_NAMES`."""
        return CLASS_NAMES.index(self.class_name)

    @property
    def nyu40_id(self) -> int:
        """Return the label that ScanNet writes for this class."""
        return NYU40_IDS[self.class_index]

    @property
    def caption(self) -> str:
        """Return colour and noun, as in "red armchair"."""
        return f"{self.color_name} {self.noun}"


Builder = Callable[[np.random.Generator, Fit], Draft]


def dominant_color(mesh: Mesh) -> tuple[float, float, float]:
    """Return the albedo that covers the largest area."""
    key = np.round(mesh.color * 255).astype(np.int64) @ np.array([65536, 256, 1])
    values, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    area = np.bincount(inverse, mesh.areas(), minlength=len(values))
    red, green, blue = mesh.color[first[np.argmax(area)]]
    return float(red), float(green), float(blue)


def finish(class_name: str, design: int, draft: Draft) -> Object:
    """Join a draft's parts and move them into the object frame.

    Args:
      class_name: one of `CLASS_NAMES`.
      design: index of the design.
      draft: what the builder made.

    Returns:
      The object; its mesh follows the conventions of the module docstring.
    """
    mesh = concat(draft.parts)
    low, high = mesh.bounds().astype(np.float64)
    shift = -0.5 * (low + high)
    shift[2] = -low[2]
    if draft.placement in ("mounted", "hung"):
        shift[1] = 0.0
    slot, hole = draft.slot_xy_m, draft.opening_m
    color = dominant_color(mesh)
    width, depth, height = (float(v) for v in high - low)
    return Object(
        class_name=class_name,
        design=design,
        noun=draft.noun,
        mesh=transform(mesh, translate=shift),
        size_m=(width, depth, height),
        placement=draft.placement,
        base_z_m=draft.base_z_m,
        color=color,
        color_name=color_name(color),
        top_z_m=None if draft.top_z_m is None else float(draft.top_z_m - low[2]),
        top_back_m=draft.top_back_m,
        slot_xy_m=None if slot is None else (slot[0] + shift[0], slot[1] + shift[1]),
        opening_m=None if hole is None else (hole[0], hole[1], hole[2] - float(low[2])),
    )
