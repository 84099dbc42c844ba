"""What a room is: placed objects, lights and the space left to walk in.

World frame: the floor is the rectangle [0, width] x [0, depth] at z = 0, z up, walls
stand around it, there is no ceiling. Instance ids start at 1; the floor and the four
walls are instances too.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from sas_jax.errors import InputError
from sas_jax.rooms.catalogue import Object
from sas_jax.rooms.geometry.mesh import Mesh, concat

_CELL_M = 0.05


@dataclass(frozen=True)
class Light:
    """A point light.

    Attributes:
      position_m: world position.
      color: linear RGB factor, about 1.
      intensity: radiant strength; 1 lights a surface at 1 m fully.
    """

    position_m: tuple[float, float, float]
    color: tuple[float, float, float]
    intensity: float


@dataclass(frozen=True)
class PlacedObject:
    """An object with its place in the world.

    Attributes:
      object: what it is, in its own frame.
      instance_id: unique in the room, from 1.
      position_m: world position of the object's origin.
      yaw: turn about z in radians; the front faces (-sin yaw, cos yaw).
      mesh: geometry in world coordinates.
      parent_id: instance that carries or contains this one (a lamp's table, a sink's
        counter, the table of a tucked-in chair), or None.
    """

    object: Object
    instance_id: int
    position_m: tuple[float, float, float]
    yaw: float
    mesh: Mesh
    parent_id: int | None = None

    @property
    def class_name(self) -> str:
        """Return the class name."""
        return self.object.class_name

    @property
    def class_index(self) -> int:
        """Return the class index, 0 to 19."""
        return self.object.class_index

    @property
    def nyu40_id(self) -> int:
        """Return the NYU40 label."""
        return self.object.nyu40_id

    @cached_property
    def box(self) -> Float[np.ndarray, "2 3"]:
        """Return the axis-aligned world box as (lowest, highest) corner."""
        return self.mesh.bounds()


@dataclass(frozen=True)
class RoomMesh:
    """All triangles of a room with their owners.

    Attributes:
      mesh: the triangles in world coordinates.
      face_class: class index of each face.
      face_instance: instance id of each face.
    """

    mesh: Mesh
    face_class: Int[np.ndarray, " F"]
    face_instance: Int[np.ndarray, " F"]


@dataclass(frozen=True)
class Room:
    """A furnished room; see the module docstring for its frame.

    Attributes:
      seed: what it was made from.
      kind: bedroom, living room, kitchen, bathroom, office or studio.
      size_m: inner width (x), depth (y) and wall height (z).
      objects: floor, walls and furniture in order of instance id.
      lights: one to three point lights.
      ambient: strength of the light that comes from everywhere, 0 to 1.
    """

    seed: int
    kind: str
    size_m: tuple[float, float, float]
    objects: tuple[PlacedObject, ...]
    lights: tuple[Light, ...]
    ambient: float

    @cached_property
    def joined(self) -> RoomMesh:
        """Return the triangles of all objects in one mesh."""
        counts = [placed.mesh.num_faces for placed in self.objects]
        classes = [placed.class_index for placed in self.objects]
        instances = [placed.instance_id for placed in self.objects]
        return RoomMesh(
            mesh=concat([placed.mesh for placed in self.objects]),
            face_class=np.repeat(np.asarray(classes, np.int32), counts),
            face_instance=np.repeat(np.asarray(instances, np.int32), counts),
        )

    def furniture(self) -> tuple[PlacedObject, ...]:
        """Return every object but the floor and the walls."""
        shell = ("wall", "floor")
        return tuple(p for p in self.objects if p.class_name not in shell)

    def free_space(
        self, height_m: float, clearance_m: float = 0.25
    ) -> Bool[np.ndarray, "X Y"]:
        """Return where a person can stand and hold a camera.

        Args:
          height_m: eye height; lower objects block the way too, save flat ones.
          clearance_m: distance kept from objects and walls.

        Returns:
          Grid of 5 cm cells; entry (i, j) is the cell around
          ((i + 0.5) * 0.05, (j + 0.5) * 0.05) m.
        """
        boxes = np.array([p.box for p in self.furniture()]).reshape(-1, 2, 3)
        blocks = (boxes[:, 1, 2] > 0.06) & (boxes[:, 0, 2] < height_m + 0.15)
        return free_cells(self.size_m, boxes[blocks], clearance_m)

    def sample_free_position(
        self, rng: np.random.Generator, height_m: float, clearance_m: float = 0.25
    ) -> Float[np.ndarray, " 3"]:
        """Draw a camera position above walkable floor.

        Args:
          rng: source of the draw.
          height_m: eye height above the floor.
          clearance_m: wanted distance from objects and walls; halved until some
            floor is left.

        Returns:
          World position (x, y, height_m), float64.

        Raises:
          InputError: if no floor is free at all.
        """
        for _ in range(4):
            cells = np.argwhere(self.free_space(height_m, clearance_m))
            if len(cells):
                cell = cells[rng.integers(len(cells))] + rng.random(2)
                return np.array([*(cell * _CELL_M), height_m])
            clearance_m *= 0.5
        raise InputError(
            f"Room.sample_free_position: room {self.seed} must have free floor, got "
            "none. Lower RoomConfig.max_objects."
        )


def free_cells(
    size_m: tuple[float, float, float],
    boxes: Float[np.ndarray, "N 2 3"],
    clearance_m: float,
    cell_m: float = _CELL_M,
) -> Bool[np.ndarray, "X Y"]:
    """Return the floor cells farther than `clearance_m` from boxes and walls."""
    count = np.floor(np.asarray(size_m[:2]) / cell_m + 1e-6).astype(int)
    free = np.zeros(count, bool)
    margin = int(np.ceil(clearance_m / cell_m))
    free[margin : count[0] - margin, margin : count[1] - margin] = True
    low = np.floor((boxes[:, 0, :2] - clearance_m) / cell_m).astype(int)
    high = np.ceil((boxes[:, 1, :2] + clearance_m) / cell_m).astype(int)
    for (x0, y0), (x1, y1) in zip(np.maximum(low, 0), np.maximum(high, 0), strict=True):
        free[x0:x1, y0:y1] = False
    return free
