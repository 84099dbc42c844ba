"""Whether a capture confirms itself: its depth is of a room, its frames agree.

A few frames, spread over the capture, tell. Where one frame sees a surface, another
frame with a view of the same place must not look through it: points that lie *before*
what the other one measures speak against the poses, points behind may be hidden. With
poses of another convention half of the points disagree, and nothing else would say so.
"""

import contextlib
import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from sas_jax.errors import InputError
from sas_jax.scenes.frames import FolderFrames
from sas_jax.scenes.poses import CONVENTIONS, PoseConvention, inverse
from sas_jax.scenes.scene import BadFrame, Frame, usable_frames
from sas_jax.scenes.views import ViewFrames

Frames = FolderFrames | ViewFrames

_COMMON_SCALES = (1000.0, 4000.0, 5000.0, 6553.5)
_FRAMES_READ = 12
_PIXEL_STEP = 8
# Cameras that have moved by less see the same in any convention.
_ROTATION_DEG, _TRANSLATION_M = 15.0, 0.3
# What depth cameras and poses may be off by, as a share of the depth and in metres.
_TOLERANCE, _TOLERANCE_M = 0.05, 0.03
# Below, frames are too few, or too far apart, to tell.
_LEAST_JUDGED = 0.02
_LOW_AGREEMENT, _GOOD_SHARE = 0.8, 0.9
# Another convention is named where it fits, and the one in use has more contradictions
# than noise has and several times as many.
_LEAST_SHARE, _NOISE, _WORSE = 0.7, 0.05, 2.5


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How well frames confirm each other, in pixels.

    Attributes:
      agreeing: points of one frame that another one sees where they are.
      before: points that another one looks through.
      sampled: all points that were projected.
    """

    agreeing: int
    before: int
    sampled: int

    @property
    def share(self) -> float:
        """Confirmed points of those that are confirmed or contradicted; 0..1."""
        return self.agreeing / max(self.agreeing + self.before, 1)

    @property
    def judged(self) -> float:
        """Confirmed and contradicted points of all; low without overlap; 0..1."""
        return (self.agreeing + self.before) / max(self.sampled, 1)

    @property
    def certainty(self) -> float:
        """Orders conventions: confirmed points less contradicted ones, of all."""
        return (self.agreeing - self.before) / max(self.sampled, 1)


def check_depth(
    source: Frames,
    plausible_m: tuple[float, float],
    skipped: dict[str, str],
) -> None:
    """Raise InputError for a median depth over many frames that no room has.

    Args:
      source: the capture.
      plausible_m: least and largest median, metres.
      skipped: see `usable_frames`.
    """
    depths = []
    for frame in usable_frames(source, list(_spread(source.names)), skipped):
        valid = frame.known_depth_m[frame.known_depth_m > 0]
        if len(valid):
            depths.append(valid[:: _PIXEL_STEP - 1])
        if len(depths) == _FRAMES_READ:
            break
    if not depths:
        return  # nothing to be wrong; that there is none is an error of its own
    median = float(np.median(np.concatenate(depths)))
    low, high = plausible_m
    if low <= median <= high:
        return
    raw = median * source.depth_scale
    fitting = [s for s in _COMMON_SCALES if low <= raw / s <= high]
    guesses = ", ".join(f"{s:g} ({raw / s:.2f} m)" for s in fitting) or "another one"
    raise InputError(
        f"capture: the median depth must be within {low:g}..{high:g} m, got "
        f"{median:.2f} m over {len(depths)} frames with depth_scale="
        f"{source.depth_scale:g} ({source.folder}). Give the units per metre, "
        f"--depth_scale: {guesses}; or --nocheck_depth where that is the true depth."
    )


def check_poses(
    source: Frames, asked: PoseConvention | None, skipped: dict[str, str]
) -> str | None:
    """Check that frames confirm each other, and which convention of poses fits.

    Args:
      source: the capture, read in the convention `asked` or else in "opencv".
      asked: the convention of the settings; None leaves it to be checked.
      skipped: see `usable_frames`.

    Returns:
      What is to be said of poses that are not refused, None for good ones.

    Raises:
      InputError: where no convention was asked for and another one than "opencv" fits.
    """
    pairs = list(_pairs(source, skipped))
    if not pairs:
        return None
    found = {
        convention: _agreement(
            pairs, dataclasses.replace(source, convention=convention)
        )
        for convention in CONVENTIONS
    }
    own = found.pop(source.convention)
    best = max(found, key=lambda convention: found[convention].certainty)
    message = (
        "capture: frames must confirm each other's depth, got an agreement of "
        f"{own.share:.2f} over {own.judged:.0%} of the pixels with poses read as "
        f"{source.convention}, and {found[best].share:.2f} over "
        f"{found[best].judged:.0%} as {best} ({source.folder})."
    )
    if _is_contradicted(own, found[best]):
        message += f" Give --pose_convention={best}."
        if asked is None:
            raise InputError(message)
        return message
    if _is_torn_apart(own, found[best]):
        return f"{message} If they should overlap, try --pose_convention={best}."
    if own.judged >= _LEAST_JUDGED and own.share < _LOW_AGREEMENT:
        return f"{message} Do poses, depth scale and images belong together?"
    return None


def _is_contradicted(own: Agreement, other: Agreement) -> bool:
    """Tell whether frames speak against a convention, and far less against another."""
    fits = other.share >= _LEAST_SHARE and other.judged >= _LEAST_JUDGED
    wrong, better = 1 - own.share, 1 - other.share
    return fits and own.judged >= _LEAST_JUDGED and wrong > max(_NOISE, _WORSE * better)


def _is_torn_apart(own: Agreement, other: Agreement) -> bool:
    """Tell whether frames do not overlap in one convention, and agree in another."""
    fits = other.share >= _GOOD_SHARE and other.judged >= _LEAST_JUDGED
    return fits and own.judged < min(_LEAST_JUDGED, other.judged / 5)


def _spread(names: tuple[str, ...]) -> Iterator[str]:
    """Yield all names, first some that are spread over them."""
    yield from dict.fromkeys(
        [*names[:: max(1, -(-len(names) // _FRAMES_READ))], *names]
    )


def _pairs(source: Frames, skipped: dict[str, str]) -> Iterator[tuple[Frame, Frame]]:
    """Yield frames from all over the capture with the next one that has moved."""
    poses = {}
    for name in source.names:
        with contextlib.suppress(BadFrame):
            poses[name] = source.read_pose(name)
    names, stacked = list(poses), np.array(list(poses.values())).reshape(-1, 4, 4)
    count = min(_FRAMES_READ // 2, len(names))
    for first in np.unique(np.linspace(0, len(names) - 1, count).astype(int)):
        second = _partner(first, stacked)
        if second is None:
            continue
        pair = [names[first], names[second]]
        frames = list(usable_frames(source, pair, skipped))
        if len(frames) == 2:
            yield frames[0], frames[1]


def _partner(first: int, poses: Float[np.ndarray, "N 4 4"]) -> int | None:
    """Return the next frame that has moved enough, or else the one that moved most."""
    turns = np.einsum("nij,ij->n", poses[:, :3, :3], poses[first, :3, :3])
    turned_rad = np.arccos(np.clip((turns - 1) / 2, -1, 1))
    moved_m = np.linalg.norm(poses[:, :3, 3] - poses[first, :3, 3], axis=1)
    moved = turned_rad / np.radians(_ROTATION_DEG) + moved_m / _TRANSLATION_M
    later = np.flatnonzero(moved[first:] >= 1)
    if len(later):
        return first + int(later[0])
    most = int(np.argmax(moved))
    return most if moved[most] > 0 else None


def _agreement(pairs: list[tuple[Frame, Frame]], source: Frames) -> Agreement:
    """Return how well pairs agree with the poses that a source reads for them."""
    total = np.zeros(3, int)
    for pair in pairs:
        # Read anew: what turns a frame comes after the convention.
        one, other = (
            dataclasses.replace(frame, world_from_camera=source.read_pose(frame.name))
            for frame in pair
        )
        total += _compare(one, other) + _compare(other, one)
    return Agreement(*map(int, total))


def _compare(seen: Frame, seeing: Frame) -> Int[np.ndarray, " 3"]:
    """Count points of a frame: confirmed by another one, before what it sees, all."""
    row, column = np.mgrid[
        : seen.size_hw[0] : _PIXEL_STEP, : seen.size_hw[1] : _PIXEL_STEP
    ]
    z = seen.known_depth_m[row, column].ravel().astype(np.float64)
    pixels = np.stack([column.ravel(), row.ravel(), np.ones(z.size)])[:, z > 0]
    local = np.linalg.solve(seen.intrinsics, pixels) * z[z > 0]
    motion = inverse(seeing.world_from_camera) @ seen.world_from_camera
    x, y, z = motion[:3, :3] @ local + motion[:3, 3:]
    front = z > _TOLERANCE_M
    u, v, w = seeing.intrinsics @ np.stack([x, y, z])[:, front]
    column, row = np.round(u / w), np.round(v / w)
    height, width = seeing.size_hw
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    column, row = column[inside].astype(int), row[inside].astype(int)
    there = seeing.known_depth_m[row, column].astype(np.float64)
    off = (z[front][inside] - there)[there > 0]
    allowed = np.maximum(_TOLERANCE * there[there > 0], _TOLERANCE_M)
    agreeing, before = np.abs(off) <= allowed, off < -allowed
    return np.array([agreeing.sum(), before.sum(), local.shape[1]])
