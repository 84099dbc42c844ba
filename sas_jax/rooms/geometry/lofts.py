"""Round and soft shapes: everything that is a stack of rings.

`loft` is the one idea behind cylinders, bars, ellipsoids, bowls, tubs and prisms. All
meshes have outward faces.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from sas_jax.rooms.geometry.grids import grid_faces, grid_uv
from sas_jax.rooms.geometry.mesh import Material, Mesh, build, with_vertices

Vector = Sequence[float]


def loft(
    rings: Float[np.ndarray, "R N 3"],
    material: Material,
    *,
    bottom: Vector | None = None,
    top: Vector | None = None,
    looped: bool = False,
) -> Mesh:
    """Make a closed surface through stacked rings of equally many points.

    The rings turn counter-clockwise seen from where the stack leads to. A stack may
    fold back into itself, as the inside of a bowl does.

    Args:
      rings: points of each ring in metres, R >= 2, N >= 3.
      material: appearance.
      bottom: tip of the fan that closes the first ring; None means its centre.
      top: tip of the fan that closes the last ring; None means its centre.
      looped: join the last ring to the first, as in a torus, instead of closing both.

    Returns:
      A mesh of 2 N R faces.
    """
    rings = np.asarray(rings, np.float64)
    if looped:
        return _looped(rings, material)
    rows, columns = rings.shape[:2]
    low = rings[0].mean(0) if bottom is None else np.asarray(bottom, np.float64)
    high = rings[-1].mean(0) if top is None else np.asarray(top, np.float64)
    points = np.concatenate([rings.reshape(-1, 3), low[None], high[None]])
    j = np.arange(columns)
    after = (j + 1) % columns
    last = (rows - 1) * columns
    tip = np.full(columns, rows * columns)
    faces = np.concatenate(
        [
            grid_faces(rows, columns, True),
            np.stack([after, j, tip], 1),
            np.stack([last + j, last + after, tip + 1], 1),
        ]
    )
    caps = points[faces[-2 * columns :]][..., :2]
    uv = np.concatenate([grid_uv(rings, True), caps])
    return build(points, faces, uv, material)


def _looped(rings: Float[np.ndarray, "R N 3"], material: Material) -> Mesh:
    """A torus: the stack of rings leads back to its first ring."""
    joined = np.concatenate([rings, rings[:1]])
    rows, columns = joined.shape[:2]
    faces = grid_faces(rows, columns, True) % (rings.shape[0] * rings.shape[1])
    return build(rings.reshape(-1, 3), faces, grid_uv(joined, True), material)


def ring(
    center: Vector, radii: Vector, *, segments: int = 16, power: float = 2.0
) -> Float[np.ndarray, "N 3"]:
    """Return a horizontal superellipse: power 2 is round, larger is boxier."""
    angle = (np.arange(segments) + 0.5) * (2 * np.pi / segments)
    wave = np.stack([np.cos(angle), np.sin(angle)], 1)
    unit = np.sign(wave) * np.abs(wave) ** (2.0 / power)
    flat = np.asarray(center[:2]) + unit * np.asarray(radii[:2])
    return np.column_stack([flat, np.full(segments, float(center[2]))])


def lathe(
    profile: Sequence[tuple[float, float]],
    material: Material,
    *,
    center: Vector = (0.0, 0.0),
    stretch: Vector = (1.0, 1.0),
    segments: int = 16,
    power: float = 2.0,
) -> Mesh:
    """Turn a profile about a vertical axis.

    Args:
      profile: (radius, height) pairs, walking with the outside on the right: up the
        outside, then down the inside of a hollow body.
      material: appearance.
      center: axis position (x, y).
      stretch: factors on the radius along x and y.
      segments: corners of a ring.
      power: superellipse power of a ring; 2 is round.

    Returns:
      The closed mesh.
    """
    rings = [
        ring(
            (center[0], center[1], z),
            (r * stretch[0], r * stretch[1]),
            segments=segments,
            power=power,
        )
        for r, z in profile
    ]
    return loft(np.stack(rings), material)


def cylinder(
    base: Vector,
    radius: float,
    height: float,
    material: Material,
    *,
    top_radius: float | None = None,
    segments: int = 16,
) -> Mesh:
    """Make an upright cylinder, or a frustum where `top_radius` differs."""
    upper = radius if top_radius is None else top_radius
    profile = [(radius, base[2]), (upper, base[2] + height)]
    return lathe(profile, material, center=base[:2], segments=segments)


def tube(
    start: Vector,
    end: Vector,
    radius: float,
    material: Material,
    *,
    end_radius: float | None = None,
    segments: int = 8,
) -> Mesh:
    """Make a round bar between two points in space."""
    a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
    length = float(np.linalg.norm(b - a))
    bar = cylinder(
        (0.0, 0.0, 0.0),
        radius,
        length,
        material,
        top_radius=end_radius,
        segments=segments,
    )
    along = (b - a) / length
    helper = np.eye(3)[np.argmin(np.abs(along))]
    side = np.cross(helper, along)
    side /= np.linalg.norm(side)
    frame = np.stack([side, np.cross(along, side), along])
    return with_vertices(bar, bar.vertices @ frame + a)


def ellipsoid(
    center: Vector,
    radii: Vector,
    material: Material,
    *,
    segments: int = 16,
    power: float = 2.0,
) -> Mesh:
    """Make an ellipsoid; a power above 2 gives a cushion with rounded edges."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 2)[1:-1]
    across = np.cos(angle) ** (2.0 / power)
    height = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2.0 / power)
    x, y, z = center
    rings = [
        ring(
            (x, y, z + radii[2] * h),
            (radii[0] * c, radii[1] * c),
            segments=segments,
            power=power,
        )
        for c, h in zip(across, height, strict=True)
    ]
    return loft(
        np.stack(rings),
        material,
        bottom=(x, y, z - radii[2]),
        top=(x, y, z + radii[2]),
    )


def prism(
    polygon: Float[np.ndarray, "N 2"],
    low: float,
    high: float,
    material: Material,
    *,
    axis: str = "z",
) -> Mesh:
    """Extrude a polygon that is star-shaped about the mean of its corners.

    Args:
      polygon: corners, counter-clockwise in the plane of the two axes that follow
        `axis` cyclically (x -> (y, z), y -> (z, x), z -> (x, y)).
      low: start of the extrusion along the axis.
      high: end of the extrusion.
      material: appearance.
      axis: x, y or z.

    Returns:
      The closed mesh.
    """
    flat = np.asarray(polygon, np.float64)
    rings = np.stack(
        [np.column_stack([flat, np.full(len(flat), value)]) for value in (low, high)]
    )
    solid = loft(rings, material)
    shift = "zxy".index(axis)
    return with_vertices(solid, np.roll(solid.vertices, shift, axis=1))
