"""What a format says of a capture, and the scene of one that has its own geometry."""

import dataclasses
import functools
import logging
import pathlib
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, Float32, Int

from sas_jax.scenes.capture_checks import Frames
from sas_jax.scenes.capture_world import (
    camera_positions,
    input_from_world,
    likely_scale,
    rotated,
    turned_by_cameras,
)
from sas_jax.scenes.cloud import estimate_normals
from sas_jax.scenes.mesh import Mesh
from sas_jax.scenes.origin import moved_by
from sas_jax.scenes.rendered_depth import (
    WithRenderedDepth,
    surface_of_cloud,
    surface_of_mesh,
)
from sas_jax.scenes.scene import FrameSource, Scene
from sas_jax.scenes.upright import Up, surface_up, turn_up

# Which way floors face is clear from a part of a large cloud.
_MOST_NORMALS = 200_000
Tracks = Mapping[str, Int[np.ndarray, " N"]]


@dataclasses.dataclass(frozen=True, eq=False)
class Capture:
    """What a folder of one format holds.

    Attributes:
      frames: its images, in the world of its poses.
      up: which way is up there, as the format states it: an axis; "surfaces" where the
        world is turned at random; "auto" where z should be up and cameras tell.
      index: files that the list of frames follows from.
      geometry: reads the mesh or cloud that comes with the images, in the same world;
        None where depth makes the points.
      tracks: reads the rows of its points that were matched in images, by their name;
        these are seen there, whatever lies before them.
      scale: metres per unit of poses and geometry; None where nothing tells.
      assumed: which camera was taken where the capture states none, and what to do if
        it is another one; said when it is opened.
    """

    frames: Frames
    up: Up = "auto"
    index: tuple[pathlib.Path, ...] = ()
    geometry: Callable[[], Mesh] | None = None
    tracks: Callable[[], Tracks] | None = None
    scale: float | None = 1.0
    assumed: str | None = None


def scene_of_geometry(
    name: str, capture: Capture, image_size_wh: tuple[int, int] | None
) -> Scene:
    """Return the scene of a mesh or cloud with images.

    Args:
      name: of the scene.
      capture: with geometry, in its own units. Frames without depth get it rendered.
      image_size_wh: see `ViewFrames`.

    Raises:
      InputError: as reading the geometry does.
    """
    assert capture.geometry is not None
    mesh = capture.geometry()
    frames, camera_up, up, said = turned_by_cameras(capture.frames, capture.up)
    turn = frames.turn
    if up == "surfaces":
        facing = _facing(mesh, capture.frames)
        turn = turn_up(surface_up(rotated(facing, turn), camera_up)) @ turn
        frames = dataclasses.replace(frames, turn=turn)
    points, origin = rotated(mesh.points, turn), turn[:3, :3] @ mesh.origin
    scale, guessed = capture.scale, None
    if scale is None:
        scale, guessed = likely_scale(points + origin, frames, name)
    if scale != 1:
        points, origin = points * np.float32(scale), origin * scale
    frames = dataclasses.replace(frames, scale=scale)
    for note in filter(None, (said, guessed)):
        logging.warning("%s", note)
    source: FrameSource = frames.handed_out(moved_by(-origin) @ turn, image_size_wh)
    if not frames.has_depth:
        tracks = None if capture.tracks is None else capture.tracks()
        source = WithRenderedDepth(source, points, _surface(points, mesh), tracks)
    return Scene(
        name=name,
        points=points,
        normals=None if mesh.normals is None else rotated(mesh.normals, turn),
        colors=mesh.colors,
        faces=mesh.faces,
        frame_source=source,
        origin=origin,
        input_from_world=input_from_world(turn, scale),
    )


def _surface(points: Float32[np.ndarray, "P 3"], mesh: Mesh):
    if mesh.faces is None:
        return functools.partial(surface_of_cloud, points)
    return functools.partial(surface_of_mesh, points, mesh.faces)


def _facing(mesh: Mesh, frames: Frames) -> Float32[np.ndarray, "N 3"]:
    """Return directions that the surface faces: of its normals, faces or neighbours.

    Neighbours leave the sign open; surfaces face the middle of the cameras.
    """
    if mesh.normals is not None:
        return mesh.normals
    if mesh.faces is None:
        points = mesh.points[:: -(-len(mesh.points) // _MOST_NORMALS)]
        middle = camera_positions(frames).mean(axis=0) - mesh.origin
        return estimate_normals(points, (middle - points).astype(np.float32))
    a, b, c = (mesh.points[mesh.faces[:, i]] for i in range(3))
    across: Float[np.ndarray, "F 3"] = np.cross(b - a, c - a)
    length = np.linalg.norm(across, axis=1, keepdims=True)
    return across / np.maximum(length, np.float32(1e-20))
