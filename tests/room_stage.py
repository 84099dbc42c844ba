"""A room whose geometry is known in closed form, for the tests of rooms.*."""

import numpy as np

from sas_jax.rooms.catalogue.base import Draft, finish
from sas_jax.rooms.geometry.mesh import PLAIN, Material, transform
from sas_jax.rooms.geometry.shapes import box
from sas_jax.rooms.layout import Light, PlacedObject, Room

SIZE_M = (4.0, 3.0, 2.4)
BLOCK_LOW = (2.5, 1.0, 0.0)
BLOCK_HIGH = (3.0, 1.6, 0.8)
CLASS = {"floor": 1, "wall": 0, "cabinet": 2}
THICK_M = 0.16


def _place(class_name, instance, low, high, color):
    low, high = np.asarray(low), np.asarray(high)
    material = Material(color, PLAIN, 1.0, instance)
    thing = finish(
        class_name, 0, Draft(class_name, [box(low, high, material)], "floor")
    )
    origin = np.array([*(0.5 * (low + high))[:2], low[2]])
    mesh = transform(thing.mesh, translate=origin)
    return PlacedObject(thing, instance, tuple(origin), 0.0, mesh)


def make_stage(seed: int = 3) -> Room:
    """Return a 4 x 3 m room with one 0.5 x 0.6 x 0.8 m block: instance 6, cabinet."""
    (w, d, h), t = SIZE_M, THICK_M
    gray = (0.7, 0.7, 0.7)
    objects = (
        _place("floor", 1, (-t, -t, -0.1), (w + t, d + t, 0.0), (0.5, 0.4, 0.3)),
        _place("wall", 2, (-t, -t, 0.0), (w + t, 0.0, h), gray),
        _place("wall", 3, (w, 0.0, 0.0), (w + t, d, h), gray),
        _place("wall", 4, (-t, d, 0.0), (w + t, d + t, h), gray),
        _place("wall", 5, (-t, 0.0, 0.0), (0.0, d, h), gray),
        _place("cabinet", 6, BLOCK_LOW, BLOCK_HIGH, (0.9, 0.1, 0.1)),
    )
    lights = (Light((1.0, 1.5, 2.2), (1.0, 1.0, 1.0), 1.0),)
    return Room(seed, "studio", SIZE_M, objects, lights, 0.4)


def pose_at(eye, forward) -> np.ndarray:
    """Return world_from_camera of a level-headed camera that looks along `forward`."""
    z = np.asarray(forward, float) / np.linalg.norm(forward)
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2] = x, np.cross(z, x), z
    pose[:3, 3] = eye
    return pose
