"""Superpoints of a whole scene: the mesh's where there is one, else the cloud's."""

import numpy as np
from jaxtyping import Int32

from sas_jax.artefacts.files import content_key
from sas_jax.artefacts.versions import decided_by
from sas_jax.scenes.scene import Scene
from sas_jax.superpoints.config import SuperpointConfig
from sas_jax.superpoints.segment import segment_mesh, segment_points


def segment_scene(
    scene: Scene, config: SuperpointConfig | None = None
) -> Int32[np.ndarray, " P"]:
    """Return the superpoint id of each point, contiguous from 0; deterministic."""
    config = config or SuperpointConfig()
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


def superpoint_key(geometry_key: str, config: SuperpointConfig) -> str:
    """Return the content key of a scene's superpoints.

    Args:
      geometry_key: key of the points, faces and normals that the scene is read from,
        so that it need not be read to see that nothing is to be done.
      config: as `segment_scene` gets it.
    """
    return content_key(
        {
            "stage": "superpoints",
            "made_by": decided_by(__name__),
            "geometry": geometry_key,
            "config": config,
        }
    )
