"""Proposals of a whole scene, from its superpoints and features."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int, Int32

from sas_jax.artefacts.features import Features
from sas_jax.artefacts.files import content_key
from sas_jax.artefacts.versions import decided_by
from sas_jax.instances.contacts import Contacts, contacts
from sas_jax.instances.masks import Instances
from sas_jax.instances.proposals import ProposalConfig, propose
from sas_jax.instances.votes import count_votes
from sas_jax.scenes.positions import distinct_positions
from sas_jax.scenes.scene import Scene
from sas_jax.superpoints.graph import (
    axis_weights,
    edge_weights,
    knn_edges,
    vertex_normals,
)
from sas_jax.superpoints.means import superpoint_rows
from sas_jax.superpoints.segment import position_axes


def propose_scene(
    scene: Scene,
    superpoints: Int[np.ndarray, " P"],
    features: Features,
    config: ProposalConfig | None = None,
    masks: Iterable[Int32[np.ndarray, " P"]] = (),
) -> Instances:
    """Return the proposals of a scene, surest first; see `proposals.propose`.

    Args:
      scene: P points, with faces or without.
      superpoints: id of each point, contiguous from 0.
      features: of the points, of any level.
      config: see `proposals`.
      masks: of every frame the mask of each point, from 1; these vote, see `votes`.

    Deterministic: yes.
    """
    config = config or ProposalConfig()
    near = near_superpoints(scene, superpoints, config.neighbors)
    agreed, votes = count_votes(superpoints, near.pairs, masks)
    if votes.any():
        near = dataclasses.replace(near, agreed=agreed, votes=votes)
    return propose(superpoints, superpoint_rows(features, superpoints), near, config)


def near_superpoints(
    scene: Scene, superpoints: Int[np.ndarray, " P"], neighbors: int
) -> Contacts:
    """Return which superpoints are near each other, and how the surface bends there.

    Neighbours in space count, not the mesh's edges: a scan falls into pieces. A mesh's
    normals say which side is convex, a cloud's do not (`superpoints.graph`).
    """
    if scene.faces is not None:
        edges = knn_edges(scene.points, neighbors)
        normals = vertex_normals(scene.points, scene.faces)
        weights = edge_weights(scene.points, normals, edges)
        return contacts(superpoints, edges, weights)
    positions = distinct_positions(scene.points)
    edges = knn_edges(positions.points, neighbors)
    weights = axis_weights(position_axes(positions, scene.normals), edges)
    return contacts(superpoints[positions.first_points()], edges, weights)


def proposals_key(
    geometry_key: str,
    superpoints: object,
    features: object,
    config: ProposalConfig,
    masks: Sequence[str] = (),
) -> str:
    """Return the content key of a scene's proposals.

    Args:
      geometry_key: of points, faces and normals.
      superpoints: what identifies these.
      features: what identifies these.
      config: as `propose_scene` gets it.
      masks: what identifies those that vote.
    """
    return content_key(
        {
            "stage": "proposals",
            "made_by": decided_by(__name__),
            "geometry": geometry_key,
            "superpoints": superpoints,
            "features": features,
            "config": config,
            "masks": masks,
        }
    )
