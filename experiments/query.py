r"""Ask a scene for something in words; get a heat map and the best regions.

  python experiments/query.py --flagfile=rooms.flags --scene=room0009_00 \
      --text="something to sit on"
  python experiments/query.py --flagfile=rooms.flags --scene=my/posed_frames \
      --text="a desk" --up=camera

The student answers from geometry alone. --source=fused asks the fused features of the
scene's images instead, where fuse_features.py has made them. --student=FILE asks the
student of a file that export_student.py wrote; then no run is needed. --run=RUN asks
the student of that run, whatever a flagfile's --student says.

A scene is a name in the data set, or the folder of a scan of any known layout:
ScanNet's, posed RGB-D frames (color/ depth/ pose/ intrinsic.txt). The cloud of such
frames (every --frame_stride-th) and the features are computed once and kept, so the
second question is answered at once. Writes, into <workspace>/queries/<scene>/, a PLY
with the relevancy as a scalar field and two pictures.
"""

import pathlib
import re
import time

import numpy as np
import settings
import stage_flags
from absl import flags
from PIL import Image
from student_names import chosen

from sas_jax.artefacts.features import Features, load_features, space_of
from sas_jax.artefacts.files import atomic_path, content_key
from sas_jax.artefacts.space import TextSpace
from sas_jax.datasets.contracts import Scan
from sas_jax.evaluation import query
from sas_jax.scenes.ply_write import write_ply
from sas_jax.scenes.scene import Scene
from sas_jax.superpoints.graph import vertex_normals
from sas_jax.view import pictures

_TEXT = flags.DEFINE_multi_string("text", None, "What to look for.", required=True)
_SCENE = flags.DEFINE_string("scene", None, "Scene name or folder.", required=True)
_SOURCE = flags.DEFINE_enum(
    "source", "student", ["student", "fused"], "Whose features answer."
)
_REGIONS = flags.DEFINE_integer("regions", 5, "Regions to print.", lower_bound=0)


def main() -> None:
    """Answer every --text on one scene."""
    began = time.monotonic()
    scan = settings.named_scan(_SCENE.value)
    space = _space(scan.name)
    settings.check_texts(space, _TEXT.value)
    scene = _open(scan)
    features = query.unit_features(_features(scene))
    config = query.config_for(scene.points)
    ready = time.monotonic() - began
    encode = settings.text_encoder(space)
    anything = encode(list(query.ANYTHING))
    output = settings.workspace().answers(scene.name)
    for text in _TEXT.value:
        began = time.monotonic()
        values = query.point_relevancy(features, encode([text]), anything)
        found = query.regions(scene.points, values, config)
        answered = time.monotonic() - began
        _write(output / _slug(text), scene, values)
        _print(text, found, scene.origin)
        print(f"answered in {1000 * answered:.0f} ms, scene ready in {ready:.1f} s")
    print(f"heat maps: {output}")


def _open(scan: Scan) -> Scene:
    """Open the scene; the cloud of posed frames is made at the first question only."""
    scene = scan.open(annotations=False)
    if scene.faces is None:
        names = scene.frame_source.names[:: stage_flags.EXTRACT.make().frame_stride]
        used = len(names) - len(scene.skipped_frames)
        frames = f"{used} frame{'s' * (used != 1)}"
        print(f"{scene.name}: {len(scene.points):,} points of {frames}")
    return scene


def _space(name: str) -> TextSpace:
    """Return the text space of the features that answer."""
    if _SOURCE.value == "student":
        return settings.student_space(chosen())
    return space_of(settings.fused_path(name))


def _features(scene: Scene) -> Features:
    """Return the features that answer; row -1 marks points that no frame saw."""
    if _SOURCE.value == "student":
        return settings.scene_features(chosen(), scene)
    return load_features(settings.fused_path(scene.name), scene.points)


def _print(text: str, found: list[query.Region], origin: np.ndarray) -> None:
    shown = text if len(text) <= 80 else f"{text[:80]}..."
    print(f'\n"{shown}": {len(found)} region{"s" * (len(found) != 1)}')
    if not found:
        print("  nothing answers better than any object would")
        return
    print(f"  {'relevancy':>9}  {'centre x y z [m]':^22}  {'size [m]':^20}  points")
    for region in found[: _REGIONS.value]:
        centre = " ".join(f"{v:7.2f}" for v in region.center_m + origin)
        size = " ".join(f"{v:6.2f}" for v in region.size_m)
        count = len(region.points)
        print(f"  {region.score:>9.2f}  {centre:^22}  {size:^20}  {count:,}")


def _write(path: pathlib.Path, scene: Scene, values: np.ndarray) -> None:
    values = np.nan_to_num(values, nan=0.0)
    heat = pictures.heat_colors(values, low=0.2, high=max(0.7, float(values.max())))
    write_ply(
        path.with_name(path.name + ".ply"),
        scene.points,
        colors=heat,
        faces=scene.faces,
        properties={"relevancy": values.astype(np.float32)},
        origin=scene.origin,
    )
    normals = scene.normals
    if normals is None and scene.faces is not None:
        normals = vertex_normals(scene.points, scene.faces)
    views = pictures.render_views(scene.points, heat, normals=normals)
    for index, view in enumerate(views):
        with atomic_path(path.with_name(f"{path.name}_view{index}.png")) as temporary:
            Image.fromarray(view).save(temporary, "PNG")


def _slug(text: str) -> str:
    """Return a file name of a question, another one for every question."""
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:60]
    if plain and plain.replace("_", " ") == text.lower():
        return plain
    return "_".join(part for part in (plain, content_key(text)[:8]) if part)


if __name__ == "__main__":
    settings.run(main)
