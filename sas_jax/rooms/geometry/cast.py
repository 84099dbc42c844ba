"""Ray casting against a triangle mesh: nearest hits and blocked segments (Embree).

A ray is `origin + t * direction`. Directions need not have unit length: a camera ray
whose direction has optical-axis component 1 therefore returns depth as `t`.
Results are bitwise reproducible for one machine and one mesh.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from sas_jax.errors import InputError
from sas_jax.extras import install_command


@dataclass(frozen=True)
class Hits:
    """Nearest hits; only `face` means something where a ray leaves the room.

    Attributes:
      face: i32, -1 where nothing was hit.
      t: f32, distance in units of the direction's length.
      b: f32, barycentric weight of the face's second corner.
      c: f32, barycentric weight of the face's third corner.
    """

    face: Int[np.ndarray, " N"]
    t: Float[np.ndarray, " N"]
    b: Float[np.ndarray, " N"]
    c: Float[np.ndarray, " N"]


def _embree() -> tuple[Any, Any]:
    try:
        from embreex import mesh_construction, rtcore_scene
    except ImportError as error:
        raise InputError(
            "rooms: ray casting needs the package embreex, got none. "
            f"Run: {install_command('rooms')}"
        ) from error
    return mesh_construction, rtcore_scene


def camera_rays(
    world_from_camera: Float[np.ndarray, "4 4"],
    intrinsics: Float[np.ndarray, "3 3"],
    size_wh: tuple[int, int],
) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, "N 3"]]:
    """Return origin and direction of every pixel's ray, row by row.

    Returns:
      f32 [H * W, 3] each, world axes; a direction has component 1 along the optical
      axis.
    """
    width, height = size_wh
    x = (np.arange(width) - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (np.arange(height) - intrinsics[1, 2]) / intrinsics[1, 1]
    right, down, forward = world_from_camera[:3, :3].T
    rows = forward + y[:, None] * down
    directions = (rows[:, None] + x[:, None] * right).astype(np.float32).reshape(-1, 3)
    origins = np.empty_like(directions)
    origins[:] = world_from_camera[:3, 3]
    return origins, directions


class Caster:
    """Answer ray queries about one fixed triangle mesh.

    Args:
      vertices: f32 [V, 3], metres.
      faces: i32 [F, 3], indices into `vertices`.

    Raises:
      InputError: when the extra `[rooms]` is not installed or the mesh is empty.
    """

    def __init__(
        self, vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]
    ) -> None:
        """Build the search tree."""
        mesh_construction, rtcore_scene = _embree()
        if not len(faces):
            raise InputError(
                "rooms: a mesh to cast rays at must have faces, got 0. "
                "Give a room with at least a floor."
            )
        self._scene = rtcore_scene.EmbreeScene(robust=True)
        mesh_construction.TriangleMesh(
            self._scene,
            np.ascontiguousarray(vertices, np.float32),
            np.ascontiguousarray(faces, np.int32),
        )

    def first_hit(
        self, origins: Float[np.ndarray, "N 3"], directions: Float[np.ndarray, "N 3"]
    ) -> Hits:
        """Find the nearest triangle along each ray.

        Args:
          origins: f32, metres.
          directions: f32, any length.

        Returns:
          One hit a ray.
        """
        hits = self._scene.run(
            np.ascontiguousarray(origins, np.float32),
            np.ascontiguousarray(directions, np.float32),
            output=1,
        )
        return Hits(hits["primID"], hits["tfar"], hits["u"], hits["v"])

    def blocked(
        self,
        origins: Float[np.ndarray, "N 3"],
        directions: Float[np.ndarray, "N 3"],
        far: float = 1.0,
    ) -> Bool[np.ndarray, " N"]:
        """Tell whether anything lies on `origin + t * direction`, 0 < t < far."""
        hit = self._scene.run(
            np.ascontiguousarray(origins, np.float32),
            np.ascontiguousarray(directions, np.float32),
            np.full(len(origins), far, np.float32),
            query="OCCLUDED",
        )
        return hit >= 0
