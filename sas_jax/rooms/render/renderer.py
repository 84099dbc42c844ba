"""Render a furnished room: colour, depth, class and instance of every pixel.

Cameras have OpenCV axes (x right, y down, z forward) and integer pixel centres: the
ray of pixel (row, column) is ((column - cx) / fx, (row - cy) / fy, 1) in camera axes,
so the distance that the caster returns is depth along the optical axis. One ray a
pixel: labels and depth are exact at pixel centres. The room has no ceiling; a ray that
leaves meets a plain bright background.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from sas_jax.rooms.geometry.cast import Caster, Hits, camera_rays
from sas_jax.rooms.layout import Room
from sas_jax.rooms.render import light, shade
from sas_jax.scenes.labels import IGNORE

# A window's view shines by itself, with this strength.
_GLOW = np.float32(0.75)
_BACKGROUND = np.array([0.92, 0.94, 0.96], np.float32)


@dataclass(frozen=True)
class Rendered:
    """One view.

    Attributes:
      rgb: u8 [H, W, 3].
      depth_m: f32 [H, W], along the optical axis; 0 where nothing was hit.
      label: i32 [H, W], class index 0..19; 255 where nothing was hit.
      instance: i32 [H, W], instance id from 1; -1 where nothing was hit.
      cosine: f32 [H, W], |cos| between viewing ray and surface; 0 where nothing hit.
    """

    rgb: UInt8[np.ndarray, "H W 3"]
    depth_m: Float[np.ndarray, "H W"]
    label: Int[np.ndarray, "H W"]
    instance: Int[np.ndarray, "H W"]
    cosine: Float[np.ndarray, "H W"]


class Renderer:
    """Render views of one room; the same room and camera give the same bits.

    Args:
      room: what to look at.

    Raises:
      InputError: when the extra `[rooms]` is not installed.
    """

    def __init__(self, room: Room) -> None:
        """Build the search tree and gather the appearance of all faces."""
        joined = room.joined
        self._room = room
        self.caster = Caster(joined.mesh.vertices, joined.mesh.faces)
        self._surface = shade.surfaces(joined)
        self._normals = joined.mesh.normals()
        self.face_class = joined.face_class.astype(np.int32)
        self.face_instance = joined.face_instance.astype(np.int32)

    def render(
        self,
        world_from_camera: Float[np.ndarray, "4 4"],
        intrinsics: Float[np.ndarray, "3 3"],
        size_wh: tuple[int, int] = (320, 240),
    ) -> Rendered:
        """Render one view without sensor effects.

        Args:
          world_from_camera: f64, rigid, OpenCV axes.
          intrinsics: f64, for `size_wh`, integer pixel centres.
          size_wh: width and height in pixels.

        Returns:
          The view; deterministic.
        """
        width, height = size_wh
        origins, directions = camera_rays(world_from_camera, intrinsics, size_wh)
        hits = self.caster.first_hit(origins, directions)
        pixel = np.flatnonzero(hits.face >= 0)
        hits = Hits(*(v[pixel] for v in (hits.face, hits.t, hits.b, hits.c)))
        directions = directions[pixel]
        length = np.sqrt(light.dot(directions, directions))
        toward_eye = directions / -length[:, None]
        normal, cosine = self._facing(hits.face, toward_eye)
        position = origins[pixel] + hits.t[:, None] * directions
        patch = light.Patch(pixel, size_wh, position, normal, toward_eye)
        footprint = hits.t * np.float32(1.0 / intrinsics[0, 0])
        footprint /= np.sqrt(np.maximum(cosine, np.float32(0.05)))
        radiance = self.radiance(hits, *self.incoming(patch, patch.spread()), footprint)
        rgb = np.empty((height * width, 3), np.uint8)
        rgb[:] = light.develop(_BACKGROUND)
        rgb[pixel] = light.develop(radiance * light.exposure(radiance))

        def image(values: np.ndarray, empty: float) -> np.ndarray:
            full = np.full(height * width, empty, values.dtype)
            full[pixel] = values
            return full.reshape(height, width)

        return Rendered(
            rgb=rgb.reshape(height, width, 3),
            depth_m=image(hits.t, 0.0),
            label=image(self.face_class[hits.face], IGNORE),
            instance=image(self.face_instance[hits.face], -1),
            cosine=image(cosine, 0.0),
        )

    def incoming(
        self, patch: light.Patch, spread: Float[np.ndarray, "N 3"]
    ) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, "N 3"]]:
        """Return the light on points of the room and its highlights, linear RGB.

        Args:
          patch: the points.
          spread: f32 in [-1, 1], where the rays of each point aim at.
        """
        room = self._room
        return light.illuminate(self.caster, room.lights, room.ambient, patch, spread)

    def radiance(
        self,
        hits: Hits,
        incoming: Float[np.ndarray, "N 3"],
        shine: Float[np.ndarray, "N 3"] | float,
        footprint_m: Float[np.ndarray, " N"],
    ) -> Float[np.ndarray, "N 3"]:
        """Return linear RGB that leaves points of the room.

        Args:
          hits: where the points lie on their faces.
          incoming: f32, light on each point.
          shine: f32, highlights of each point, or 0.
          footprint_m: f32, size on the surface over which texture is averaged.

        Returns:
          f32 [N, 3].
        """
        surface = self._surface
        color = shade.albedo(surface, hits, footprint_m)
        radiance = color * incoming + surface.gloss[hits.face][:, None] * shine
        glow = surface.glow[hits.face]
        radiance[glow] = color[glow] * _GLOW
        return radiance

    def _facing(
        self, face: Int[np.ndarray, " N"], toward_eye: Float[np.ndarray, "N 3"]
    ) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, " N"]]:
        """Return normals turned to the viewer and |cos| of the viewing angle."""
        normals = self._normals[face]
        cosine = light.dot(normals, toward_eye)
        normals *= np.where(cosine < 0.0, np.float32(-1.0), np.float32(1.0))[:, None]
        return normals, np.abs(cosine)
