"""Superpoints of a whole scene: the mesh's where there is one, else the cloud's."""

import dataclasses

import numpy as np
from jaxtyping import Int32

from sas_jax.artefacts.files import content_key
from sas_jax.scenes.positions import joined_positions
from sas_jax.scenes.scene import Scene
from sas_jax.superpoints.segment import segment_mesh, segment_points

# Raised when the same input gives other superpoints than before. Kinds of scenes have
# versions of their own, so that a change to one does not make the others anew.
_MESH_VERSION = 1
_JOINED_MESH_VERSION = 2  # vertices share positions
_CLOUD_VERSION = 2


@dataclasses.dataclass(frozen=True)
class SuperpointConfig:
    """Choose how a scene is cut.

    Attributes:
      k_threshold: preference for large segments.
      min_vertices: least size; the paper's ScanNet value, for meshes with a vertex
        every 1 to 2 cm.
      neighbors: edges per point where there is no mesh.
    """

    k_threshold: float = 0.01
    min_vertices: int = 60
    neighbors: int = 8


def segment_scene(
    scene: Scene, config: SuperpointConfig = SuperpointConfig()
) -> Int32[np.ndarray, " P"]:
    """Return the superpoint id of each point, contiguous from 0; deterministic."""
    where = f"superpoints of {scene.name}"
    if scene.faces is not None:
        return segment_mesh(
            scene.points,
            scene.faces,
            k_threshold=config.k_threshold,
            min_vertices=config.min_vertices,
            where=where,
        )
    return segment_points(
        scene.points,
        scene.normals,
        neighbors=config.neighbors,
        k_threshold=config.k_threshold,
        min_vertices=config.min_vertices,
        where=where,
    )


def superpoint_key(scene: Scene, config: SuperpointConfig) -> str:
    """Return the content key of a scene's superpoints: geometry and settings."""
    normals = scene.normals if scene.faces is None else None
    return content_key(
        {
            "stage": "superpoints",
            "version": _version(scene),
            "geometry": (scene.points, scene.faces, normals),
            "config": config,
        }
    )


def _version(scene: Scene) -> int:
    """Return the version of the rule that cuts this kind of scene."""
    if scene.faces is None:
        return _CLOUD_VERSION
    joined = joined_positions(scene.points) is not None
    return _JOINED_MESH_VERSION if joined else _MESH_VERSION
