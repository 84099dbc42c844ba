"""One procedural room, as pictures and as a mesh, and what is asked of it."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterable

import numpy as np
from one_room import Picture

from sas_jax import api
from sas_jax.artefacts.features import Features
from sas_jax.artefacts.space import TextFeatures
from sas_jax.datasets import registry
from sas_jax.evaluation import query
from sas_jax.rooms.layout import make_room
from sas_jax.rooms.scan.config import WriteConfig
from sas_jax.rooms.scan.scene import write_scene
from sas_jax.scenes.scene import Scene

# A bedroom with a desk.
SEED = 7
CELL_M = 0.1


def write_room(folder: pathlib.Path, frames: int = 16) -> Scene:
    """Write the room as ScanNet does; returns its labelled mesh."""
    write_scene(make_room(SEED), folder, WriteConfig(frames, size_wh=(160, 120)))
    return registry.scan_at(folder).open()


def pictures(scene: Scene) -> list[Picture]:
    """Return what the frames of a scene show."""
    return [
        Picture(f.rgb, f.depth_m.astype(np.float64), f.world_from_camera, f.intrinsics)
        for f in scene.frames()
    ]


@dataclasses.dataclass(frozen=True)
class Similarity:
    """What took one world to another: `scale * (x @ turn.T) + shift`."""

    scale: float
    turn: np.ndarray
    shift: np.ndarray

    def undone(self, points):
        return (points - self.shift) @ self.turn / self.scale


def similarity(found: list[np.ndarray], poses: list[np.ndarray]) -> Similarity:
    """Return what took the poses of the room to those that a reader gives."""
    found, poses = np.array(found), np.array(poses)
    turns = found[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1)
    np.testing.assert_allclose(turns, turns[:1].repeat(len(turns), 0), atol=1e-3)
    ours, theirs = (p[:, :3, 3] - p[:, :3, 3].mean(axis=0) for p in (found, poses))
    scale = np.linalg.norm(ours) / np.linalg.norm(theirs)
    shift = found[:, :3, 3] - scale * poses[:, :3, 3] @ turns[0].T
    np.testing.assert_allclose(shift, shift[:1].repeat(len(shift), 0), atol=1e-3)
    return Similarity(float(scale), turns[0], shift.mean(axis=0))


@dataclasses.dataclass(frozen=True)
class Answer:
    """The best region of a question, in the room's own world.

    Attributes:
      points: metres.
      score: its relevancy.
    """

    points: np.ndarray
    score: float

    @property
    def center_m(self) -> np.ndarray:
        """Middle of its bounding box."""
        return (self.points.min(axis=0) + self.points.max(axis=0)) / 2

    @functools.cached_property
    def cells(self) -> set[tuple[int, int, int]]:
        """The cells that it lies in."""
        return set(map(tuple, np.floor(self.points / CELL_M).astype(int).tolist()))

    def iou(self, other: "Answer") -> float:
        """Return the share of cells that both lie in."""
        return len(self.cells & other.cells) / len(self.cells | other.cells)

    def share_in(self, box: np.ndarray) -> float:
        """Return how much of it lies in a box of two corners, and 5 cm about it."""
        inside = (self.points >= box[0] - 0.05) & (self.points <= box[1] + 0.05)
        return float(inside.all(axis=1).mean())


def ask(
    scene: Scene,
    features: Features,
    texts: Iterable[str],
    world: Similarity | None = None,
) -> dict[str, Answer]:
    """Ask as query.py does: the best region of each text."""
    rows, texts = query.unit_features(features), list(texts)
    encoded = api.encode([*texts, *query.ANYTHING], rows.space)
    anything = TextFeatures(encoded.rows[len(texts) :], rows.space)
    config, answers = query.config_for(scene.points), {}
    for i, text in enumerate(texts):
        question = TextFeatures(encoded.rows[i : i + 1], rows.space)
        values = query.point_relevancy(rows, question, anything)
        best = query.regions(scene.points, values, config)[0]
        points = scene.points[best.points].astype(np.float64) + scene.origin
        answers[text] = Answer(
            points if world is None else world.undone(points), best.score
        )
    return answers


def box_of(scene: Scene, class_name: str) -> np.ndarray:
    """Return the corners of the only thing of a class, by the labels."""
    assert scene.labels is not None and scene.label_set is not None
    index = scene.label_set.classes.names.index(class_name)
    points = scene.points[scene.labels == index]
    return np.array([points.min(axis=0), points.max(axis=0)])
