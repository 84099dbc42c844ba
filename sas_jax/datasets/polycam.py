"""Polycam's raw data: images, LiDAR depth and optimised cameras of a phone.

    <scan>/keyframes/corrected_images/T.jpg   corrected_cameras/T.json
           or, where the session was too long to be optimised, images/ and cameras/
           keyframes/depth/T.png              16 bit, millimetres
           keyframes/confidence/T.png         0 low, 54 or 127 medium, 255 high
           raw.glb or another mesh, mesh_info.json

T is a time. A camera is `fx fy cx cy width height` and the rows `t_00` to `t_23` of
world_from_camera, OpenGL axes, in ARKit's world, whose y is up. Exported meshes stand
in axes of their own: `alignmentTransform` of mesh_info.json, by columns, led there.
They are the points where there is no depth.
"""

import dataclasses
import functools
import pathlib
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from sas_jax.datasets.capture import Capture, CaptureDataset
from sas_jax.errors import InputError
from sas_jax.scenes.camera_files import pinhole_of
from sas_jax.scenes.frames import list_frames
from sas_jax.scenes.image_files import depth_file, read_json
from sas_jax.scenes.mesh import Mesh, checked_mesh
from sas_jax.scenes.mesh_files import read_mesh
from sas_jax.scenes.scene import BadFrame
from sas_jax.scenes.views import Camera, View, ViewFrames

_MILLIMETRES = 1000.0
_MESHES = ("raw.glb", "*.glb", "mesh.obj", "*.obj", "*.ply")


@dataclasses.dataclass(frozen=True)
class Polycam(CaptureDataset):
    """Polycam's raw data exports; see the module and `CaptureDataset`."""

    name: ClassVar = "polycam"
    layout: ClassVar = "<scan>/ with keyframes/ of a Polycam raw data export"
    needs: ClassVar = (
        "keyframes/*images/*",
        "keyframes/*cameras/*",
        "keyframes/depth/*",
    )

    def is_scan(self, path: pathlib.Path) -> bool:
        """Tell whether there are keyframes with cameras."""
        folders = ("cameras", "corrected_cameras")
        return any((path / "keyframes" / name).is_dir() for name in folders)

    def capture(self, path: pathlib.Path) -> Capture:
        """Return the keyframes, optimised ones where there are any."""
        keyframes = path / "keyframes"
        kinds = [
            (list_frames(keyframes / f"{kind}images"), keyframes / f"{kind}cameras")
            for kind in ("corrected_", "")
        ]
        found = [(images, cameras) for images, cameras in kinds if images]
        if not found:
            raise InputError(
                "polycam: images are required, got none in corrected_images or images "
                f"({keyframes}). Export the raw data again."
            )
        images, cameras = found[0]
        scale = self.depth_scale or _MILLIMETRES
        views = [
            _view(name, color, cameras / f"{name}.json", keyframes, scale)
            for name, color in images.items()
        ]
        mesh, index = None, []
        if not any(view.depth for view in views):
            mesh = next((f for form in _MESHES for f in sorted(path.glob(form))), None)
            index = [path / "mesh_info.json", *([] if mesh is None else [mesh])]
        return Capture(
            ViewFrames(path, tuple(views), convention="opengl", depth_scale=scale),
            "y",
            tuple(index),
            None if mesh is None else functools.partial(_unaligned, mesh),
        )


def _view(
    name: str,
    color: pathlib.Path,
    camera_file: pathlib.Path,
    keyframes: pathlib.Path,
    depth_scale: float,
) -> View:
    depth, confidence = (
        keyframes / part / f"{name}.png" for part in ("depth", "confidence")
    )
    sure = confidence if confidence.is_file() else None
    read = depth_file(depth, depth_scale, sure) if depth.is_file() else None
    return View(
        name=name,
        pose=functools.partial(_pose, camera_file),
        camera=functools.partial(_camera, camera_file),
        color=color,
        depth=read,
        files=(color, depth, confidence, camera_file),
    )


def _camera(path: pathlib.Path) -> Camera:
    return Camera(*pinhole_of(read_json(path, "polycam"), path))


def _pose(path: pathlib.Path) -> Float[np.ndarray, "4 4"]:
    pose = np.eye(4)
    try:
        stated = read_json(path, "polycam")
        pose[:3] = [[float(stated[f"t_{i}{j}"]) for j in range(4)] for i in range(3)]
    except (KeyError, TypeError, ValueError) as error:
        raise BadFrame(
            "invalid pose",
            f"polycam: numbers t_00 to t_23 are required, got {error!r} ({path}). "
            "Export the raw data again.",
        ) from error
    return pose


def _unaligned(path: pathlib.Path) -> Mesh:
    """Return the exported mesh in the world of the cameras."""
    mesh, info = read_mesh(path), path.with_name("mesh_info.json")
    if not info.is_file():
        return mesh
    stated = read_json(info, "polycam").get("alignmentTransform", np.eye(4))
    try:
        aligned = np.array(stated, np.float64).reshape(4, 4).T
        back = np.linalg.inv(aligned)
    except (TypeError, ValueError, np.linalg.LinAlgError) as error:
        raise InputError(
            f"polycam: alignmentTransform must be 16 numbers of a motion, got {error} "
            f"({info}). Export the raw data again."
        ) from error
    points = (mesh.points + mesh.origin) @ back[:3, :3].T + back[:3, 3]
    normals = None if mesh.normals is None else mesh.normals @ back[:3, :3].T
    return checked_mesh(
        points,
        f"polycam ({path})",
        normals=normals,
        colors=mesh.colors,
        faces=mesh.faces,
    )
