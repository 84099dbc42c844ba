"""What a scene of 3-D Gaussians is, in the units that formulas use."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32

from sas_jax.errors import ContractError, InputError

C0 = 0.28209479177387814
"""The constant basis function; colour = C0 sh[0] + 0.5."""
COEFFICIENTS = (1, 4, 9, 16, 25)
"""Of spherical harmonics up to degree 0 .. 4."""


@dataclasses.dataclass(frozen=True)
class Splats:
    """G Gaussians, none of them a logarithm or a logit.

    Attributes:
      means: [G, 3] f32 metres.
      scales: [G, 3] f32 metres, standard deviations along the Gaussian's own axes.
      rotations: [G, 4] f32 unit quaternions (w, x, y, z), own axes to world.
      opacities: [G] f32 in 0..1.
      sh: [G, (d+1)^2, 3] f32, spherical harmonics of red, green, blue, degree d <= 4.
      labels: [G] i32 class index or None.
      features: [G, F] f32 or f16, of any kind; or None.
      antialiased: whether it was trained with opacities that `project` compensates.
    """

    means: Float32[np.ndarray, "G 3"]
    scales: Float32[np.ndarray, "G 3"]
    rotations: Float32[np.ndarray, "G 4"]
    opacities: Float32[np.ndarray, " G"]
    sh: Float32[np.ndarray, "G K 3"]
    labels: Int32[np.ndarray, " G"] | None = None
    features: Float[np.ndarray, "G F"] | None = None
    antialiased: bool = False

    def __post_init__(self) -> None:
        num, coefficients = len(self.means), self.sh.shape[1]
        want = {
            "means": (num, 3),
            "scales": (num, 3),
            "rotations": (num, 4),
            "opacities": (num,),
            "sh": (num, coefficients, 3),
        }
        for name, shape in want.items():
            got = getattr(self, name)
            if got.shape != shape or got.dtype != np.float32:
                raise ContractError(
                    f"splats: {name} f32 {list(shape)} is required, got {got.dtype} "
                    f"{list(got.shape)}. Build them with checked_splats."
                )
        for name in ("labels", "features"):
            rows = getattr(self, name)
            if rows is not None and len(rows) != num:
                raise ContractError(
                    f"splats: {name} of {num} Gaussians are required, got {len(rows)}. "
                    "Take both from the same scene."
                )

    def __len__(self) -> int:
        return len(self.means)

    @property
    def degree(self) -> int:
        """Of the spherical harmonics."""
        return COEFFICIENTS.index(self.sh.shape[1])

    def take(self, which: Bool[np.ndarray, " G"] | Int[np.ndarray, " M"]) -> "Splats":
        """Return some of the Gaussians with all that they carry, in the order asked."""
        rows = {
            field.name: value[which]
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), np.ndarray)
        }
        return dataclasses.replace(self, **rows)


def half_turn(splats: Splats) -> Splats:
    """Return Gaussians after half a turn about x, which changes y and z in sign.

    It leads from right, up, back (the axes of .spz) to right, down, forward (those of
    PLY files and of cameras), and back. Of a harmonic of degree l and order m it
    changes the sign by -1 for m < 0, where y stands once too often, and by
    (-1)^(l + m) for z.
    """
    flip = np.array([1, -1, -1], np.float32)
    signs = [
        (-1 if m < 0 else 1) * (-1) ** (degree + m)
        for degree in range(splats.degree + 1)
        for m in range(-degree, degree + 1)
    ]
    return dataclasses.replace(
        splats,
        means=splats.means * flip,
        rotations=splats.rotations * np.array([1, 1, -1, -1], np.float32),
        sh=splats.sh * np.array(signs, np.float32)[:, None],
    )


def checked_splats(
    means: Float[np.ndarray, "G 3"],
    scales: Float[np.ndarray, "G 3"],
    rotations: Float[np.ndarray, "G 4"],
    opacities: Float[np.ndarray, " G"],
    sh: Float[np.ndarray, "G K 3"],
    where: str,
    **more: Any,
) -> Splats:
    """Return Gaussians of a stranger's file, quaternions scaled to unit length.

    Args:
      means: metres.
      scales: linear, zero allowed.
      rotations: (w, x, y, z) of any length but zero.
      opacities: in 0..1.
      sh: K of `COEFFICIENTS`.
      where: reader and file, for messages.
      **more: the other fields of `Splats`.

    Raises:
      InputError: without Gaussians, for NaN and infinity, negative scales, quaternions
        of no length, opacities out of range and another K; the first bad row is named.
    """
    if not len(means):
        raise InputError(f"{where}: Gaussians are required, got none. Export it again.")
    if sh.shape[1] not in COEFFICIENTS:
        raise InputError(
            f"{where}: {', '.join(map(str, COEFFICIENTS))} spherical harmonics of each "
            f"colour are required, got {sh.shape[1]}. Export whole degrees."
        )
    length = np.sqrt(np.einsum("gi,gi->g", rotations, rotations))[:, None]
    for name, numbers, good in (
        ("finite positions", means, None),
        ("finite scales >= 0", scales, scales >= 0),
        ("finite quaternions longer than 0", rotations, length > 0),
        ("opacities in 0..1", opacities, (opacities >= 0) & (opacities <= 1)),
        ("finite colours", sh, None),
    ):
        # A sum tells of NaN and infinity in a fifth of the time, overflow aside.
        with np.errstate(all="ignore"):
            finite = bool(np.isfinite(np.sum(numbers)))
        if not finite or not (good is None or good.all()):
            _refuse_rows(name, numbers, good, where)
    return Splats(
        means=np.ascontiguousarray(means, np.float32),
        scales=np.ascontiguousarray(scales, np.float32),
        rotations=np.ascontiguousarray(rotations / length, np.float32),
        opacities=np.ascontiguousarray(opacities, np.float32),
        sh=np.ascontiguousarray(sh, np.float32),
        **more,
    )


def _refuse_rows(
    name: str,
    numbers: Float[np.ndarray, "G ..."],
    good: Bool[np.ndarray, "G ..."] | None,
    where: str,
) -> None:
    """Raise for rows that are not finite or not good; return where there are none."""
    ok = np.isfinite(numbers).reshape(len(numbers), -1).all(1)
    if good is not None:
        ok &= good.reshape(len(good), -1).all(1)
    bad = np.flatnonzero(~ok)
    if len(bad):
        raise InputError(
            f"{where}: {name} are required, got {numbers[bad[0]].ravel()[:4].tolist()} "
            f"in row {bad[0]} and {len(bad) - 1} more. Delete these Gaussians and "
            "export the file again."
        )
