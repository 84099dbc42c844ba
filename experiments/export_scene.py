r"""Write the features of scenes for the code of others.

  python experiments/export_scene.py --flagfile=scannet.flags --form=openscene \
      --source=fused --splits=val --out=data/scannet_multiview_ours
  python experiments/export_scene.py --flagfile=scannet.flags --form=openlex3d \
      --scene=my/scan --out=predictions/sas_jax

--form=openscene: <out>/<scene>_0.pt (nuScenes <scene>.pt), a dict of `feat`, f16 [n, C]
of the n points that have a feature, and `mask_full`, bool [P]; OpenScene's loaders read
it as their own.

--form=openlex3d: <out>/<scene>/ with `embeddings.npy`, f32 [objects, C], `index.npy`,
i64 [points], so that embeddings[index[i]] is the feature of point i, and
`point_cloud.pcd`, those points in metres with their colours. Objects are what rows
stand for here: points, superpoints, or a student's voxels. An index of -1 would be
read as the last row, so points without a feature are left out. The benchmark compares
features with the texts of its own tower (config/model/*.yaml, a CLIP): give it the
tower of these features' text space. It reads one folder a method and scene.

--source=student asks --student or --run from geometry alone, --source=fused takes the
fused features of the workspace. Scenes are --scene, or all of --splits.
"""

import pathlib

import numpy as np
import settings
import stage_flags
import students
from absl import flags
from student_names import chosen
from tqdm import tqdm

from sas_jax.artefacts.features import Features, load_features
from sas_jax.artefacts.files import atomic_path
from sas_jax.artefacts.released import write_features
from sas_jax.datasets.contracts import Scan
from sas_jax.scenes.pcd_write import write_pcd
from sas_jax.scenes.scene import Scene

_FORM = flags.DEFINE_enum("form", None, ["openscene", "openlex3d"], "Whose files.")
_OUT = flags.DEFINE_string("out", None, "Folder to write into.", required=True)
_SCENE = flags.DEFINE_string("scene", None, "Scene name or folder; default: --splits.")
_SOURCE = flags.DEFINE_enum(
    "source", "student", ["student", "fused"], "Whose features are written."
)
_GREY = 160
flags.mark_flag_as_required("form")


def main() -> None:
    """Write every scene, and print what was written."""
    named = [settings.named_scan(_SCENE.value)] if _SCENE.value else None
    scans = named or settings.scans(stage_flags.SPLITS.value)
    rows = [_export(scan) for scan in tqdm(scans, desc=_FORM.value, unit="scene")]
    print(settings.table(rows))


def _export(scan: Scan) -> dict[str, object]:
    scene = scan.open(annotations=False)
    if _SOURCE.value == "student":
        features = students.scene_features(chosen(), scene)
    else:
        features = load_features(settings.fused_path(scan.name), scene.points)
    if _FORM.value == "openscene":
        end = "" if "nuscenes" in scan.dataset.name else "_0"
        write_features(pathlib.Path(_OUT.value) / f"{scan.name}{end}.pt", features)
    else:
        _write_openlex3d(pathlib.Path(_OUT.value) / scan.name, scene, features)
    return {
        "scene": scan.name,
        "points": features.num_points,
        "with features": int(features.seen.sum()),
        "rows": len(features.feat),
        "text space": features.space.name,
    }


def _write_openlex3d(folder: pathlib.Path, scene: Scene, features: Features) -> None:
    seen = features.seen
    # Rows of no point would be objects that nobody can find.
    used, index = np.unique(features.row[seen], return_inverse=True)
    _save(folder / "embeddings.npy", features.feat[used].astype(np.float32))
    _save(folder / "index.npy", index.astype(np.int64))
    colors = scene.colors
    if colors is None:
        colors = np.full((len(seen), 3), _GREY, np.uint8)
    points = scene.points + scene.origin
    write_pcd(folder / "point_cloud.pcd", points[seen], colors[seen])


def _save(path: pathlib.Path, array: np.ndarray) -> None:
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.save(file, array, allow_pickle=False)


if __name__ == "__main__":
    settings.run(main)
