"""PlayCanvas' compressed PLY: 16 bytes a Gaussian, relative to bounds of 256 of them.

Elements `chunk` (bounds), `vertex` (four u32) and, above degree 0, `sh` (bytes).
Source: the format as splat-transform (MIT) writes it. Scales are logarithms, opacity
is none. Files of before 2024 have no bounds of colours: these are 0 and 1.
"""

import numpy as np
from jaxtyping import Float32, Int, Shaped, UInt32

from sas_jax.gaussians.files.activations import scale_of_log
from sas_jax.gaussians.files.columns import planar, side_by_side
from sas_jax.gaussians.splats import C0, COEFFICIENTS, Splats, checked_splats
from sas_jax.scenes.ply_elements import Columns

_CHUNK = 256
_BITS = (11, 10, 11)


def decode(elements: dict[str, Columns], where: str) -> Splats:
    """Return the Gaussians of a file's elements, in their (Morton) order.

    Raises:
      InputError: for bounds and codes that give no sensible numbers.
      ValueError: where properties or rows are missing; says which.
    """
    vertex, chunk = elements.get("vertex", {}), elements["chunk"]
    codes = {
        name: _column(vertex, f"packed_{name}").astype(np.uint32)
        for name in ("position", "rotation", "scale", "color")
    }
    num = len(codes["position"])
    chunks = len(_column(chunk, "min_x"))
    if chunks != -(-num // _CHUNK):
        raise ValueError(
            f"{chunks} chunks for {num} Gaussians where each is of {_CHUNK}"
        )
    of = np.arange(num) // _CHUNK
    colour = _unorm(codes["color"], (8, 8, 8, 8))
    rgb = colour[:, :3]
    if "min_r" in chunk:
        rgb = _between(chunk, ("min_r", "min_g", "min_b"), of, rgb)
    scale_bounds = ("min_scale_x", "min_scale_y", "min_scale_z")
    scales = _between(chunk, scale_bounds, of, _unorm(codes["scale"], _BITS))
    positions = _unorm(codes["position"], _BITS)
    rest = _rest(elements.get("sh", {}), num)
    dc = (rgb - np.float32(0.5)) / np.float32(C0)
    return checked_splats(
        _between(chunk, ("min_x", "min_y", "min_z"), of, positions),
        scale_of_log(scales),
        _rotations(codes["rotation"]),
        colour[:, 3],
        np.concatenate([dc[:, None], rest], axis=1),
        where,
    )


def _column(columns: Columns, name: str) -> Shaped[np.ndarray, " R"]:
    column = columns.get(name)
    if not isinstance(column, np.ndarray):
        raise ValueError(f"no property {name} of compressed Gaussians")
    return column


def _unorm(
    codes: UInt32[np.ndarray, " G"], bits: tuple[int, ...]
) -> Float32[np.ndarray, "G C"]:
    """Return whole numbers of some bits each, the first on top, as 0..1."""
    found = np.empty((len(codes), len(bits)), np.float32)
    for i, width in enumerate(bits):
        top = (1 << width) - 1
        found[:, i] = (codes >> np.uint32(sum(bits[i + 1 :]))) & np.uint32(top)
        found[:, i] /= np.float32(top)
    return found


def _between(
    chunk: Columns,
    names: tuple[str, ...],
    of: Int[np.ndarray, " G"],
    share: Float32[np.ndarray, "G C"],
) -> Float32[np.ndarray, "G C"]:
    """Return numbers between the bounds of their chunk."""
    low = np.stack([_column(chunk, n) for n in names], 1).astype(np.float32)
    other = [n.replace("min_", "max_") for n in names]
    high = np.stack([_column(chunk, n) for n in other], 1).astype(np.float32)
    return low[of] * (1 - share) + high[of] * share


def _rotations(codes: UInt32[np.ndarray, " G"]) -> Float32[np.ndarray, "G 4"]:
    """Return unit quaternions (w, x, y, z): the largest of the four was left out."""
    others = (_unorm(codes, (2, 10, 10, 10))[:, 1:] - np.float32(0.5)) * np.float32(
        2**0.5
    )
    return with_largest(others, (codes >> np.uint32(30)).astype(np.int64))


def with_largest(
    others: Float32[np.ndarray, "G 3"], largest: Int[np.ndarray, " G"]
) -> Float32[np.ndarray, "G 4"]:
    """Return unit quaternions from three components and the place of the fourth."""
    found = np.empty((len(others), 4), np.float32)
    place = np.arange(3)[None] + (np.arange(3)[None] >= largest[:, None])
    np.put_along_axis(found, place, others, axis=1)
    left = 1 - np.einsum("gi,gi->g", others, others)
    np.put_along_axis(
        found, largest[:, None], np.sqrt(np.maximum(left, 0))[:, None], axis=1
    )
    return found


def _rest(columns: Columns, num: int) -> Float32[np.ndarray, "G K 3"]:
    """Return coefficients above degree 0."""
    names = [f"f_rest_{i}" for i in range(len(columns))]
    if len(names) % 3 or len(names) // 3 + 1 not in COEFFICIENTS:
        raise ValueError(f"{len(names)} properties f_rest_* of compressed Gaussians")
    taken = {name: _column(columns, name) for name in names}
    for column in taken.values():
        if column.dtype != np.uint8 or len(column) != num:
            raise ValueError(
                f"{len(column)} rows of sh in {column.dtype} for {num} Gaussians, of "
                "which each has one in bytes"
            )
    codes = side_by_side(taken, {"sh": planar(names)}, np.uint8)["sh"]
    return _COEFFICIENT[codes].reshape(num, len(names) // 3, 3)


def _coefficients() -> Float32[np.ndarray, " 256"]:
    """Return what bytes stand for: the middles of steps from -4 to 4, and both ends."""
    share = (np.arange(256, dtype=np.float32) + np.float32(0.5)) / 256
    share[0], share[255] = 0, 1
    return (share - np.float32(0.5)) * 8


_COEFFICIENT = _coefficients()
