"""The folder of an answer: a sheet, the list, the heat map, the things cut out.

answer.json     regions with scores, boxes and the frames that see them
sheet.png       photographs with outlines, the scan with boxes, scales, the list
heat.ply        the scan with the heat as a scalar, in the input's coordinates
object<n>.ply   region n cut out; of Gaussians with everything that their file says
object<n>.glb   the same of a mesh, in metres with y up as glTF wants it
"""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import scene_parts
import stage_flags
from answer_files import slug
from PIL import Image
from sources import Source

from sas_jax.artefacts.files import atomic_path, atomic_write
from sas_jax.evaluation.asked import Question
from sas_jax.evaluation.asker import Asker
from sas_jax.evaluation.query import Region
from sas_jax.lifting.project import camera_points
from sas_jax.lifting.sightings import Sightings, pixels, sightings
from sas_jax.scenes.scene import BadFrame, Scene
from sas_jax.sparse.extent import spacing
from sas_jax.view import sheet as paper
from sas_jax.view.cutaway import Cutaway, cutaway
from sas_jax.view.pictures import heat_colors
from sas_jax.view.sheet_marks import DPI, on_paper
from sas_jax.view.sheet_pictures import photograph, scan_views

_PHOTOGRAPHS = 3
_FRAMES = 12  # of a region that are named
_CLOSEST_M = 0.01
_UNSEEN = (150, 150, 150)
_DARKEST = 0.6  # what is black in the scan, on paper
_COORDINATES = (
    "center_m and size_m: metres, z up; box_min and box_max: axes and unit of the "
    "scan's own files, as are the PLY files; GLB files: metres, y up"
)


@dataclasses.dataclass(frozen=True)
class Writer:
    """Writes the answers of one source.

    Attributes:
      source: who answers.
      asker: how.
      folder: of all answers.
      most: regions that are listed and cut out.
    """

    source: Source
    asker: Asker
    folder: pathlib.Path
    most: int

    def write(
        self, question: Question, values: np.ndarray, found: Sequence[Region]
    ) -> pathlib.Path:
        """Write one answer; files of an older one to the same question are replaced.

        Args:
          question: that was asked.
          values: [P] heat, NaN where unseen.
          found: best first.

        Returns:
          The folder of the answer.
        """
        folder = self.folder / slug(question.title)
        shown, scene = found[: self.most], self.source.scene
        looks = self._sightings if shown else None
        atomic_write(folder / "answer.json", self._note(question, found, looks))
        written = {"answer.json"}
        if found:
            heat = self._heat(question, values)
            self._write_cloud(folder / "heat.ply", values, heat, question)
            pages = paper.drawn(self._sheet(question, values, shown, looks))
            with atomic_path(folder / "sheet.png") as temporary:
                Image.fromarray(pages).save(temporary, "PNG", dpi=(DPI, DPI))
            written |= {"heat.ply", "sheet.png"}
        for index, region in enumerate(shown, 1):
            written.add(f"object{index}.ply")
            self._cut(folder / f"object{index}.ply", region)
            if (mesh := scene_parts.part_of_mesh(scene, region.points)) is not None:
                atomic_write(folder / f"object{index}.glb", mesh)
                written.add(f"object{index}.glb")
        for old in folder.iterdir():
            if old.suffix in (".ply", ".glb", ".png") and old.name not in written:
                old.unlink()
        return folder

    @functools.cached_property
    def _sightings(self) -> Sightings:
        return sightings(self.source.scene, stage_flags.EXTRACT.make().frame_stride)

    @functools.cached_property
    def _opened(self) -> Cutaway:
        scene = self.source.scene
        return cutaway(scene.points, scene.normals, scene.faces)

    def _scale(self, question: Question, values: np.ndarray) -> tuple:
        low, high = self.asker.scale(question)
        return low, max(high, float(np.nanmax(values, initial=high)))

    def _printed(self, question: Question, values: np.ndarray) -> np.ndarray:
        """Return heat on paper, [P, 3] u8: darker where the scan itself is."""
        low, high = self._scale(question, values)
        known = np.nan_to_num(values, nan=low)
        colors = on_paper(np.clip((known - low) / (high - low), 0, 1))
        if (own := self.source.scene.colors) is not None:
            light = own.mean(axis=1, keepdims=True) / 255
            colors = (colors * (_DARKEST + (1 - _DARKEST) * light)).astype(np.uint8)
        return colors

    def _heat(self, question: Question, values: np.ndarray) -> np.ndarray:
        low, high = self._scale(question, values)
        colors = heat_colors(np.nan_to_num(values, nan=low), low=low, high=high)
        colors[np.isnan(values)] = _UNSEEN
        return colors

    def _write_cloud(self, path, values, heat, question) -> None:
        """Write the whole scan, coloured by its heat, which is a scalar too."""
        name = self.asker.measure(question)
        scalar = {name: np.nan_to_num(values, nan=0.0).astype(np.float32)}
        if self.source.splats is not None:
            self.source.splats.write(path, colors=heat, properties=scalar)
        else:
            scene = self.source.scene
            scene_parts.write_scene(
                path, scene, colors=heat, properties=scalar, faces=scene.faces
            )

    def _cut(self, path: pathlib.Path, region: Region) -> None:
        scene, which = self.source.scene, np.sort(region.points)
        if self.source.splats is not None:
            self.source.splats.write(path, which=which)
            return
        colors = None if scene.colors is None else scene.colors[which]
        scene_parts.write_scene(
            path, scene, which, colors=colors, faces=scene_parts.faces_of(scene, which)
        )

    def _note(
        self,
        question: Question,
        found: Sequence[Region],
        looks: Sightings | None,
    ) -> bytes:
        """Return the list, best first, as JSON."""
        scene, score, regions = self.source.scene, self.asker.scores(question), []
        for index, region in enumerate(found, 1):
            inside = scene.in_input(scene.points[region.points])
            row: dict[str, object] = {
                "number": index,
                score: round(region.score, 4),
                "center_m": np.round(region.center_m + scene.origin, 4).tolist(),
                "size_m": np.round(region.size_m, 4).tolist(),
                "box_min": np.round(inside.min(axis=0), 4).tolist(),
                "box_max": np.round(inside.max(axis=0), 4).tolist(),
                "points": len(region.points),
            }
            if looks is not None and looks.names and index <= self.most:
                shares = list(looks.shares(region.points).items())[:_FRAMES]
                row["frames"] = {name: round(share, 3) for name, share in shares}
            regions.append(row)
        answer = {
            **question.stated(),
            "scan": str(self.source.scan.path.absolute()),
            "answered_by": self.source.who,
            "heat": self.asker.measure(question),
            "coordinates": _COORDINATES,
            "regions": regions,
        }
        return json.dumps(answer, indent=1, ensure_ascii=False).encode()

    def _sheet(
        self,
        question: Question,
        values: np.ndarray,
        shown: Sequence[Region],
        looks: Sightings | None,
    ) -> paper.Sheet:
        scene, source = self.source.scene, self.source
        half = [(region.center_m, region.size_m / 2) for region in shown]
        views = scan_views(
            scene.points,
            self._printed(question, values),
            self._opened,
            [(centre - edge, centre + edge) for centre, edge in half],
            paper.VIEW_WH,
        )
        photographs = self._photographs(shown, looks) if looks is not None else []
        lines = [
            f"{source.scan.path.name}, {len(scene.points):,} points; answered by "
            f"{source.who}"
        ]
        if not photographs:
            lines.append(
                "No photograph sees the answer."
                if scene.frame_source.names
                else "The scan has no photographs."
            )
        return paper.Sheet(
            f"“{question.title}”",
            lines,
            photographs,
            views,
            (*self._scale(question, values), self.asker.measure(question, words=True)),
            ("", self.asker.scores(question), "centre x y z [m]", "size [m]", "points"),
            [_row(index, region, scene) for index, region in enumerate(shown, 1)],
        )

    def _photographs(
        self, shown: Sequence[Region], looks: Sightings
    ) -> list[tuple[np.ndarray, str]]:
        """Return the photographs that see the answer best, with what each sees."""
        scene, parts = self.source.scene, [region.points for region in shown]
        names, pictures = looks.best(parts, _PHOTOGRAPHS), []
        room = paper.photograph_room(len(names))
        apart = max(spacing(scene.points, _CLOSEST_M), _CLOSEST_M)
        for name in names:
            try:
                frame = scene.frame_source.read(name)
            except BadFrame:  # it was sound when it was looked at
                continue
            pixel, visible = pixels(scene, frame)
            depth = camera_points(scene.points, frame.world_from_camera)[2]
            seen = {
                index: region.points[visible[region.points]]
                for index, region in enumerate(shown, 1)
            }
            shares = {k: len(v) / len(shown[k - 1].points) for k, v in seen.items()}
            seen = {k: v for k, v in seen.items() if shares[k] >= 0.02 and len(v)}
            picture = photograph(
                frame,
                {k: pixel[v] for k, v in seen.items()},
                {k: depth[v] for k, v in seen.items()},
                apart,
                room,
            )
            pictures.append((picture, f"photograph {name}: {_sees(shares, seen)}"))
        return pictures


def _row(index: int, region: Region, scene: Scene) -> tuple[str, ...]:
    centre = "  ".join(f"{v:.2f}" for v in region.center_m + scene.origin)
    size = " x ".join(f"{v:.2f}" for v in region.size_m)
    count = f"{len(region.points):,}"
    return str(index), f"{region.score:.2f}", centre, size, count


def _sees(shares: Mapping[int, float], seen: Mapping[int, np.ndarray]) -> str:
    told = [f"{100 * shares[index]:.0f} % of {index}" for index in seen]
    return f"sees {', '.join(told)}" if told else "sees little of it"
