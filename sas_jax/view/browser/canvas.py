"""What viser draws of a scene: copies of it side by side, boxes, photographs.

Several sources that answer the same question are compared by a copy of the scene for
each, in a row. What is drawn is thinned, what is answered is not.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from scipy.spatial import cKDTree

from sas_jax.view.browser.flights import fly, fly_to_pose, quaternion
from sas_jax.view.browser.glb import mesh_glb
from sas_jax.view.browser.paint import Colors
from sas_jax.view.browser.shape import Part, Shape, part_of
from sas_jax.view.pictures import outside_view

MOST_DRAWN = 600_000
"""Points of all copies together."""

_EDGES = [(a, a | b) for a in range(8) for b in (1, 2, 4) if not a & b]
_SAMPLE = 2000
_BACKGROUND = (232, 234, 238)  # white walls stand out against it
_IN_A_ROW = 3
# What a first look has to show, percentiles: captures have strays far away.
_MOST, _MARGIN = (2, 98), 0.04
_LABEL = 0.05  # of the scene's diagonal, that two labels of a few letters need


@dataclasses.dataclass(frozen=True)
class Box:
    """A box along the axes, with words at its upper end.

    Attributes:
      center_m: its centre.
      size_m: its edges.
      label: what stands at it; may be empty.
      color: sRGB.
    """

    center_m: Float[np.ndarray, " 3"]
    size_m: Float[np.ndarray, " 3"]
    label: str = ""
    color: tuple[int, int, int] = (220, 20, 60)


@dataclasses.dataclass(frozen=True)
class Photograph:
    """A posed picture.

    Attributes:
      name: of the frame.
      rgb: small.
      fov: vertical field of view, radians.
      world_from_camera: pose, OpenCV's axes.
    """

    name: str
    rgb: UInt8[np.ndarray, "H W 3"]
    fov: float
    world_from_camera: Float[np.ndarray, "4 4"]


class Canvas:
    """Draws a scene into a viser server, and changes what is drawn.

    Attributes:
      shape: what is drawn.
      low: [3] and
      high: [3] its corners, stray points aside, metres.
      top_m: what is higher is hidden.
    """

    def __init__(self, server: Any, shape: Shape, most: int = MOST_DRAWN) -> None:
        """Remember a scene; nothing is drawn before `show`.

        Args:
          server: `viser.ViserServer`.
          shape: what is drawn.
          most: points of all copies.
        """
        self.shape = shape
        low, high = np.percentile(shape.points, _MOST, axis=0)
        margin = _MARGIN * (high - low)
        self.low, self.high = low - margin, high + margin
        self.top_m = np.inf
        self._scene, self._server, self._most = server.scene, server, most
        self._titles: tuple[str, ...] = ()
        self._part = Part(np.zeros(0, np.int64))
        self._nodes: list[Any] = []
        self._scene.set_up_direction("+z")
        self._scene.set_background_image(np.full((2, 2, 3), _BACKGROUND, np.uint8))

    @property
    def thinned(self) -> str:
        """What is left out, in words; empty where all is drawn."""
        return self._part.told

    def show(self, titles: Sequence[str], colors: Sequence[Colors]) -> None:
        """Draw a copy of the scene for each title.

        Args:
          titles: what stands above each copy, one or more.
          colors: of all points, for each copy.
        """
        if tuple(titles) != self._titles:
            self._begin(tuple(titles))
        for index, (node, each) in enumerate(zip(self._nodes, colors, strict=True)):
            self._nodes[index] = self._painted(index, node, each)

    def cut(self, top_m: float, colors: Sequence[Colors]) -> None:
        """Hide what is higher than `top_m`, in metres; colours as those of `show`."""
        self.top_m = top_m
        self._begin(self._titles)
        self.show(self._titles, colors)

    def offset(self, index: int) -> Float[np.ndarray, " 3"]:
        """Return where a copy stands, metres from the first; three in a row."""
        extent = self.high - self.low
        columns = max(_IN_A_ROW, math.ceil(math.sqrt(len(self._titles))))
        if len(self._titles) == 4:
            columns = 2
        row, column = divmod(index, columns)
        step = [1.1, 1.3, 0] * extent + [0.4, 0.8, 0]
        return np.array([column * step[0], -row * step[1], 0])

    def boxes(self, layer: str, index: int, boxes: Sequence[Box]) -> None:
        """Draw boxes at a copy of the scene, instead of those of the layer before."""
        name = f"{self._place(index)}/{layer}"
        self._scene.remove_by_name(name)
        self._scene.add_frame(name, show_axes=False)
        if not boxes:
            return
        lines, colors = [], []
        places = _apart(boxes, _LABEL * float(np.linalg.norm(self.high - self.low)))
        for number, box in enumerate(boxes):
            corners = box.center_m + box.size_m * _CORNERS
            lines.append(corners[_EDGES])
            colors.append(np.full((len(_EDGES), 2, 3), box.color, np.uint8))
            if box.label:
                self._scene.add_label(
                    f"{name}/{number + 1}",
                    box.label,
                    position=places[number],
                    anchor="bottom-center",
                )
        self._scene.add_line_segments(
            f"{name}/lines",
            np.concatenate(lines).astype(np.float32),
            np.concatenate(colors),
            thickness=3.0,
            thickness_units="screen",
        )

    def photographs(self, photographs: Sequence[Photograph], scale_m: float) -> None:
        """Draw cameras with their pictures at the first copy; a click flies there."""
        self._scene.add_frame("/photographs", show_axes=False)
        for each in photographs:
            pose = each.world_from_camera
            height, width = each.rgb.shape[:2]
            node = self._scene.add_camera_frustum(
                f"/photographs/{each.name}",
                each.fov,
                width / height,
                scale=scale_m,
                thickness=1.5,
                thickness_units="screen",
                color=(60, 60, 60),
                image=each.rgb,
                wxyz=quaternion(pose[:3, :3]),
                position=pose[:3, 3],
            )
            node.on_click(lambda event, pose=pose: fly_to_pose(event.client, pose))

    def layer(self, name: str, shown: bool) -> None:
        """Show or hide a layer of every copy, or one below the root: `/photographs`."""
        names = [name] if name.startswith("/") else []
        names = names or [f"{self._place(i)}/{name}" for i in range(len(self._titles))]
        for each in names:
            node = self._scene.get_handle_by_name(each)
            if node is not None:
                node.visible = shown

    def overview(self, clients: Sequence[Any] = ()) -> None:
        """Let browsers see all copies from above: new ones begin there, others fly."""
        offsets = np.array([self.offset(i) for i in range(len(self._titles))])
        corners = np.array([self.low + offsets.min(0), self.high + offsets.max(0)])
        pose, _ = outside_view(
            np.array(list(itertools.product(*corners.T))),
            azimuth_deg=250 if len(offsets) == 1 else 265,
            elevation_deg=55,
            size_wh=(840, 800),
        )
        position, centre = pose[:3, 3], corners.mean(axis=0)
        camera = self._server.initial_camera
        camera.position, camera.look_at = position, centre
        camera.fov = np.deg2rad(45)
        for client in clients:
            fly(client, position, centre)

    def fly_to_box(
        self,
        client: Any,
        index: int,
        center_m: Float[np.ndarray, " 3"],
        size_m: Float[np.ndarray, " 3"],
    ) -> None:
        """Move a browser's camera to a box of a copy, inside of the room.

        Args:
          client: `viser.ClientHandle`.
          index: of the copy.
          center_m: of the box.
          size_m: its edges.
        """
        inward = ((self.low + self.high) / 2 - center_m) * [1, 1, 0]
        far = float(np.linalg.norm(inward))
        inward = inward / far if far > 0.3 else np.array([0.6, -0.8, 0])
        direction = inward + np.array([0, 0, 0.75])
        direction /= np.linalg.norm(direction)
        distance = 1.5 * float(np.linalg.norm(size_m)) + 0.8
        target = center_m + self.offset(index)
        fly(client, target + distance * direction, target)

    def _place(self, index: int) -> str:
        return f"/{index + 1} {self._titles[index].replace('/', ' ')}"

    def _begin(self, titles: tuple[str, ...]) -> None:
        """Draw grey copies; what stood before is taken away."""
        for index in range(len(self._titles)):
            self._scene.remove_by_name(self._place(index))
        self._part = part_of(self.shape, self.top_m, self._most // len(titles))
        self._titles, self._nodes = titles, [None] * len(titles)
        for index, title in enumerate(titles):
            place = self._place(index)
            self._scene.add_frame(place, show_axes=False, position=self.offset(index))
            if len(titles) > 1:
                low, high = self.low, self.high
                self._scene.add_label(
                    f"{place}/title",
                    title,
                    position=((low[0] + high[0]) / 2, low[1], low[2]),
                    anchor="top-center",
                    font_screen_scale=1.2,
                )

    def _painted(self, index: int, node: Any, colors: Colors) -> Any:
        """Return the node of a copy in its colours, a new one where there is none."""
        shape, part, name = self.shape, self._part, f"{self._place(index)}/scan"
        points, colors = shape.points[part.which], colors[part.which]
        if part.faces is not None:
            glb = mesh_glb(points, colors, part.faces)
            if node is None:
                return self._scene.add_glb(name, glb)
            node.glb_data = glb
        elif shape.covariances is not None and shape.opacities is not None:
            if node is None:
                return self._scene.add_gaussian_splats(
                    name,
                    points,
                    shape.covariances[part.which],
                    colors,
                    shape.opacities[part.which, None],
                )
            node.rgbs = colors
        elif node is None:
            return self._scene.add_point_cloud(
                name,
                points,
                colors,
                point_size=self._point_size_m(),
                point_shape="circle",
                point_shading="flat",
                precision="float32",
            )
        else:
            node.colors = colors
        return node

    def _point_size_m(self) -> float:
        points = self.shape.points
        if self._part.edge_m:
            return self._part.edge_m
        few = points[:: max(len(points) // _SAMPLE, 1)]
        apart = cKDTree(points).query(few, k=min(2, len(points)))[0][..., -1]
        return float(np.clip(np.median(apart), 0.002, 0.5))


def _apart(boxes: Sequence[Box], apart_m: float) -> list[Float[np.ndarray, " 3"]]:
    """Return a place above each box for its label; no two are nearer than `apart_m`.

    Labels do not know of each other, and are as large from afar as from nearby.
    """
    places: list[Float[np.ndarray, " 3"]] = []
    for box in boxes:
        place = box.center_m + np.array([0, 0, box.size_m[2] / 2])
        while any(np.linalg.norm(place - other) < 0.999 * apart_m for other in places):
            place = place + np.array([0, 0, apart_m / 2])
        places.append(place)
    return places


_CORNERS = np.array([[a & 1, a >> 1 & 1, a >> 2] for a in range(8)]) - 0.5
