"""A mesh or a cloud alone: one file, or a folder that holds nothing else.

    <root>/<scan>.ply|obj|glb|gltf|off|stl|pcd|las|laz|xyz|pts|asc
    <root>/<scan>/<any name>.ply|...    with its materials and textures

All scans are in every split. A student answers from geometry alone. Which way is up and
what the unit is says the format (glTF, LAS), else the surfaces and the size, and a line
of the log says what was found and by what; flags override it.

A student sees points, not triangles: a mesh with large ones gets more points on them.
"""

import dataclasses
import logging
import math
import pathlib
from typing import ClassVar, get_args

import numpy as np
from jaxtyping import Float64

from sas_jax import memory
from sas_jax.artefacts.stamps import Memo
from sas_jax.checks import one_of
from sas_jax.datasets.contracts import Dataset, Part
from sas_jax.errors import InputError
from sas_jax.scenes.labels import MATTERPORT21, SCANNET20, LabelSet
from sas_jax.scenes.mesh import Mesh, scene_of_mesh
from sas_jax.scenes.mesh_files import READERS, read_mesh
from sas_jax.scenes.placement import placed
from sas_jax.scenes.scene import Scene
from sas_jax.scenes.split_edges import refined
from sas_jax.scenes.surface_sample import robust_range, surface_sample
from sas_jax.scenes.units import MAP, METRES, Units, likely_unit
from sas_jax.scenes.up_axis import likely_up
from sas_jax.scenes.upright import AXES, Up, turn_up
from sas_jax.sparse.voxelize import voxelize

# Text may be anything; in a folder it is a scan only under names of its own.
_ANY_TEXT = (".txt", ".csv")
_SUFFIXES = tuple(suffix for suffix in READERS if suffix not in _ANY_TEXT)
# Folders that belong to a mesh.
_PARTS = ("tex", "mat", "map")
# Bytes that reading takes per byte of a file, and what helps where there are fewer.
_READING = 5
_THINNER = (
    "Cut the scan into parts, or thin it, with the program that wrote it: a point in "
    "every 2 cm is enough."
)
_Sample = tuple[Float64[np.ndarray, "S 3"], Float64[np.ndarray, "S 3"]]


@dataclasses.dataclass(frozen=True)
class Geometry(Dataset):
    """Files of points; see the module.

    Attributes:
      up: axis of the file that points up; "auto" believes the format, then floors and
        walls, and levels a world that is tilted by more than 5 degrees; "surfaces"
        believes floors and walls alone.
      units: of the file; "auto" believes the format, then the size.
      scale: metres per unit of the file, where none of `units` fits.
      max_edge_m: coarse meshes are cut until no edge is longer, metres: a student sees
        points, and those of a scan lie closer than its voxels.
      thin_m: keep one point per cell of this edge, metres, and no faces; for scans that
        are denser than they need be. None keeps all.
    """

    up: Up = "auto"
    units: Units = "auto"
    scale: float | None = None
    max_edge_m: float = 0.08
    thin_m: float | None = None

    name: ClassVar = "geometry"
    layout: ClassVar = f"a file of {' '.join(_SUFFIXES)}, or a folder with just one"
    label_sets: ClassVar = (SCANNET20, MATTERPORT21)
    gives_way: ClassVar = True

    def __post_init__(self) -> None:
        one_of("geometry", "up", self.up, get_args(Up))
        one_of("geometry", "units", self.units, get_args(Units))
        for name in ("scale", "max_edge_m", "thin_m"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(
                    f"geometry: {name} must be > 0, got {value}. Correct --{name}."
                )

    def is_root(self, root: pathlib.Path) -> bool:
        """Tell whether there are scans in a folder that is none."""
        return root.is_dir() and not self.is_scan(root) and bool(_scans(root))

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether it is a file of points, or a folder with just one."""
        if path.is_dir():
            return _only_file(path) is not None
        return path.is_file() and path.suffix.lower() in READERS

    def scan_names(self, root: pathlib.Path, split: str) -> list[str]:
        """Return the names of all scans."""
        names = sorted(_name(path) for path in _scans(root))
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise InputError(
                f"geometry: scans must have names of their own, got {twice[0]} twice "
                f"({root}). Rename or move one."
            )
        return names

    def scan_path(self, root: pathlib.Path, name: str) -> pathlib.Path:
        """Return the file or folder of a scan."""
        found = [path for path in _scans(root) if _name(path) == name]
        return found[0] if found else root / name

    def files(
        self, path: pathlib.Path, part: Part, frame_stride: int, memo: Memo
    ) -> list[pathlib.Path]:
        """Return the file, and for glTF what it points to."""
        file = _file(path)
        beside = file.parent.glob("*.bin") if file.suffix.lower() == ".gltf" else ()
        return [file, *sorted(beside)]

    def open(
        self,
        path: pathlib.Path,
        *,
        image_size_wh: tuple[int, int] | None = None,
        label_set: LabelSet | None = None,
        annotations: bool = True,
    ) -> Scene:
        """Read a file, turn it upright and scale it to metres; see `Dataset.open`.

        Logs a line on what is up and one on the unit.

        Raises:
          InputError: for a damaged file, and without cameras for `up` of "camera".
        """
        if self.up == "camera":
            raise InputError(
                "geometry: up must be an axis, auto or surfaces, got camera, which a "
                f"file of points has none of ({path}). Correct --up."
            )
        file = _file(path)
        if file.is_file():
            size = _READING * file.stat().st_size
            memory.require(size, f"reading {file.name}", remedy=_THINNER)
        mesh = read_mesh(file)
        sample = surface_sample(mesh)
        turn = _turn(self.up, mesh, sample, file)
        scale = self.scale or _metres(self.units, mesh, sample, turn, file)
        mesh = _without_gaps(placed(mesh, turn, scale), self.max_edge_m, file)
        if self.thin_m is not None:
            mesh = _thinned(mesh, self.thin_m)
        undone = np.eye(4)
        undone[:3, :3] = turn.T / scale
        return scene_of_mesh(mesh, _name(path), input_from_world=undone)

    def has_labels(self, path: pathlib.Path) -> bool:
        """Tell that there are none."""
        return False


def _name(path: pathlib.Path) -> str:
    return path.name if path.is_dir() else path.stem


def _scans(root: pathlib.Path) -> list[pathlib.Path]:
    """Return files of points in a folder, and folders that hold just one."""
    if not root.is_dir():
        return []
    found = [*root.iterdir()]
    return sorted(
        path
        for path in found
        if not path.name.startswith(".")
        and (_only_file(path) if path.is_dir() else path.suffix.lower() in _SUFFIXES)
    )


def _only_file(folder: pathlib.Path) -> pathlib.Path | None:
    """Return the file of points of a folder that holds one and no other data."""
    files = []
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.name.lower().startswith(_PARTS):
            return None
        if path.suffix.lower() in _SUFFIXES and path.is_file():
            files.append(path)
    return files[0] if len(files) == 1 else None


def _file(path: pathlib.Path) -> pathlib.Path:
    if not path.is_dir():
        return path
    file = _only_file(path)
    if file is None:
        raise InputError(
            f"geometry: a folder with one file of points is required, got none or "
            f"several, or folders of other data ({path}). Give the file itself."
        )
    return file


def _turn(
    up: Up, mesh: Mesh, sample: _Sample, file: pathlib.Path
) -> Float64[np.ndarray, "3 3"]:
    """Return the rotation that makes z up, and say by what it is known."""
    if up == "auto" and mesh.up is not None:
        axis, why, direction = mesh.up, "as its format states", AXES[mesh.up]
    elif up in ("auto", "surfaces"):
        guess = likely_up(*sample)
        axis, why, direction = guess.axis, "by its floor and walls", AXES[guess.axis]
        if not guess.sure:
            why = "though its surfaces do not clearly tell"
        if guess.tilt_deg > 0:
            direction = guess.direction
            why += f", which are tilted by {guess.tilt_deg:.1f} degrees and levelled"
    else:
        axis, why, direction = up, "as asked", AXES[up]
    _say(file, f"{axis} is up, {why}; if it is not, --up=x|y|z|-x|-y|-z")
    return turn_up(direction)[:3, :3]


def _metres(
    units: Units,
    mesh: Mesh,
    sample: _Sample,
    turn: Float64[np.ndarray, "3 3"],
    file: pathlib.Path,
) -> float:
    """Return metres per unit of the file, and say by what they are known."""
    low, high = robust_range(sample[0] @ turn.T)
    edges = high - low
    remedy = "if that is wrong, --units=m|cm|mm|inch|foot or --scale"
    if units != "auto":
        metres, why = METRES[units], f"the unit is {units}, as asked"
    elif mesh.unit_m is not None:
        metres = mesh.unit_m
        why = f"the unit is {metres:g} m, as its format states"
    else:
        on_map = bool(np.abs(mesh.origin).max() > MAP)
        guess = likely_unit(edges.tolist(), float(edges[2]), on_map=on_map)
        metres = METRES[guess.name]
        why = f"the unit is taken for {guess.name}, by its size"
        if guess.other is not None:
            other = _size(edges * METRES[guess.other])
            why += f", but could be {guess.other} ({other})"
        if not guess.plausible:
            why += ", small for a scan"
    _say(file, f"{_size(edges * metres)}: {why}; {remedy}")
    return metres


def _size(edges: Float64[np.ndarray, " 3"]) -> str:
    return " x ".join(f"{edge:.3g}" for edge in edges) + " m"


def _say(file: pathlib.Path, what: str) -> None:
    logging.warning("%s: %s", file.name, what)


def _without_gaps(mesh: Mesh, edge_m: float, file: pathlib.Path) -> Mesh:
    """Return the mesh with points all over large triangles, and say how many."""
    more, edge_m = refined(mesh, edge_m)
    if edge_m:
        _say(
            file,
            f"{len(mesh.points)} points on large triangles, cut to edges of at most "
            f"{edge_m:.2g} m: {len(more.points)} points; --max_edge_m for others",
        )
    return more


def _thinned(mesh: Mesh, edge_m: float) -> Mesh:
    """Return the first point of every cell."""
    kept = np.sort(voxelize(mesh.points, edge_m).first_point)
    logging.info("thinned from %d to %d points", len(mesh.points), len(kept))

    def of(rows: np.ndarray | None) -> np.ndarray | None:
        return None if rows is None else rows[kept]

    return dataclasses.replace(
        mesh,
        points=mesh.points[kept],
        normals=of(mesh.normals),
        colors=of(mesh.colors),
        label=of(mesh.label),
        faces=None,
        face_label=None,
    )
