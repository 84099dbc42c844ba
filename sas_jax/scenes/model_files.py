"""Files of 3-D programs: OBJ, GLB, glTF, OFF and STL."""

import contextlib
import dataclasses
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from sas_jax.artefacts.plain_files import plain
from sas_jax.errors import InputError
from sas_jax.scenes.gltf_sizes import check_sizes
from sas_jax.scenes.mesh import Mesh, byte_colors, checked_mesh

# What has no colour in a file where something else has.
_GREY = 128
_MOST_PIXELS = 1 << 26
# Formats that state their axes and their unit.
_STATED = {".glb": (1.0, "y"), ".gltf": (1.0, "y")}
# A trimesh geometry with vertices, whose class depends on the file.
Part = Any


def read_model(path: pathlib.Path) -> Mesh:
    """Read a mesh or a cloud; the suffix tells the format.

    Args:
      path: OBJ, GLB, glTF, OFF or STL. Colours are those of vertices and faces, of
        materials, or of a texture at its vertices.

    Raises:
      InputError: for a missing, damaged or empty file, and points or faces that make no
        sense; the file is named.
    """
    suffix = path.suffix.lower()
    parts, colors = _load(path, suffix)
    if not parts:
        raise InputError(
            f"mesh: at least one point is required, got none ({path}). "
            "Copy or export the file again."
        )
    sizes = np.array([len(part.vertices) for part in parts])
    first = np.cumsum(sizes) - sizes
    faces = [
        part.faces + start
        for part, start in zip(parts, first, strict=True)
        if len(getattr(part, "faces", ()))
    ]
    mesh = checked_mesh(
        np.concatenate([part.vertices for part in parts]),
        f"mesh ({path})",
        colors=_joined(colors, sizes),
        faces=np.concatenate(faces) if faces else None,
    )
    unit_m, up = _STATED.get(suffix, (None, None))
    return dataclasses.replace(mesh, unit_m=unit_m, up=up)


def _load(
    path: pathlib.Path, suffix: str
) -> tuple[list[Part], list[UInt8[np.ndarray, "P 3"] | None]]:
    """Return the parts of a file in its world, and their colours."""
    import trimesh

    try:
        if suffix in (".glb", ".gltf"):
            check_sizes(plain(path))
        with _small_images():
            scene = trimesh.load_scene(
                path,
                file_type=suffix[1:],
                process=False,
                resolver=_resolver(path),
            )
        parts = [part for part in scene.dump() if hasattr(part, "vertices")]
        colors = [_colors(part) for part in parts]
        if suffix == ".off" and len(parts) == 1:
            colors = [_off_colors(path, len(parts[0].vertices))]
    # Each format's reader fails in its own ways on damaged files.
    except Exception as error:
        got = f"{type(error).__name__}: {str(error)[:200]}"
        raise InputError(
            f"mesh: a complete {suffix[1:].upper()} file is required, got {got} "
            f"({path}). Copy or export the file again."
        ) from error
    return parts, colors


def _resolver(path: pathlib.Path) -> Any:
    """Return what finds materials, textures and buffers beside a file."""
    import trimesh

    class OfFiles(trimesh.resolvers.FilePathResolver):
        def get(self, name: str) -> bytes:
            plain(self.absolute(name))
            return super().get(name)

    return OfFiles(str(path))


@contextlib.contextmanager
def _small_images() -> Iterator[None]:
    """Let no texture be decoded that has more pixels than any texture needs."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = _MOST_PIXELS // 2  # Pillow refuses twice as many
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _colors(part: Part) -> UInt8[np.ndarray, "P 3"] | None:
    """Return a part's colours at its vertices, or None."""
    import trimesh

    visual = part.visual
    if visual.kind == "texture":
        rgba = visual.material.to_color(visual.uv)
        if rgba is None:
            rgba = getattr(visual.material, "diffuse", None)
            default = trimesh.visual.color.to_rgba(None)  # the library's
            if rgba is None or np.array_equal(rgba, default):
                return None
    else:
        rgba = visual.vertex_colors if visual.kind else None
    if rgba is None or not np.size(rgba):
        return None
    return np.broadcast_to(rgba, (len(part.vertices), 4))[:, :3].astype(np.uint8)


def _off_colors(path: pathlib.Path, num_points: int) -> UInt8[np.ndarray, "P 3"] | None:
    """Return the vertex colours of a COFF file, which trimesh leaves out."""
    text = re.sub(r"#.*", "", path.read_text(encoding="utf-8", errors="replace"))
    if not text.lstrip().startswith("COFF"):
        return None
    lines = [line for line in text.split("COFF", 1)[1].splitlines() if line.strip()]
    rows = [line.split()[3:6] for line in lines[1 : num_points + 1]]
    is_share = any("." in number for row in rows for number in row)
    return byte_colors(np.array(rows, np.float64 if is_share else np.int64))


def _joined(
    colors: list[UInt8[np.ndarray, "P 3"] | None], sizes: np.ndarray
) -> UInt8[np.ndarray, "P 3"] | None:
    if all(part is None for part in colors):
        return None
    grey = [np.full((size, 3), _GREY, np.uint8) for size in sizes]
    return np.concatenate(
        [g if part is None else part for part, g in zip(colors, grey, strict=True)]
    )
