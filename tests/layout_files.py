"""Write procedural rooms as data sets hold theirs.

Each writer takes the root of a data set and returns a training and a test room.
"""

import json
import pathlib
import shutil

import furnished_room
import numpy as np
import rgbd_files
from sens_files import sens_bytes

from sas_jax.datasets import registry
from sas_jax.rooms.scan.config import RoomsConfig, SurfaceConfig, WriteConfig
from sas_jax.rooms.scan.write import write_rooms
from sas_jax.scenes.labels import IGNORE, LabelSet, label_set
from sas_jax.scenes.poses import to_opencv
from sas_jax.scenes.scene import Scene

# Matterport3D's shape of an image, and its size.
SIZE_WH, MATTERPORT_WH = (120, 96), (1280, 1024)


def write_scannet(root: pathlib.Path) -> list[Scene]:
    """Write a training and a test room as ScanNet does; returns them."""
    surface = SurfaceConfig(spacing_m=0.1)
    write = WriteConfig(6, SIZE_WH, surface=surface)
    write_rooms(root, RoomsConfig(1, 0, 1, write=write), progress=False)
    return [registry.scan_at(path).open() for path in sorted(root.glob("scans/*"))]


def as_sens(root: pathlib.Path) -> list[Scene]:
    """Write ScanNet's own layout: a `.sens` file in place of exported images."""
    scenes = write_scannet(root)
    for scene in scenes:
        folder = root / "scans" / scene.name
        data = sens_bytes(furnished_room.pictures(scene))
        (folder / f"{scene.name}.sens").write_bytes(data)
        for part in ("color", "depth", "pose", "intrinsic"):
            shutil.rmtree(folder / part)
        (folder / "manifest.json").unlink()
    return scenes


def as_matterport(root: pathlib.Path) -> list[Scene]:
    """Write each room as a house of one region."""
    (root / "splits").mkdir(parents=True)
    scenes = write_scannet(root.parent / "rooms")
    for split, scene in zip(("train", "test"), scenes, strict=True):
        house = root / scene.name
        _write_faces(
            house / "region_segmentations" / "region0.ply",
            scene,
            "category_id",
            _ids(scene, label_set("matterport21"), "matterport", 0)[scene.labels],
        )
        lines = []
        for i, frame in enumerate(furnished_room.pictures(scene)):
            rgbd_files.save(
                house / f"undistorted_color_images/f{i}_i0_0.jpg", frame.rgb
            )
            rgbd_files.save(
                house / f"undistorted_depth_images/f{i}_d0_0.png",
                rgbd_files.units(frame, 4000),
            )
            larger = MATTERPORT_WH[0] / SIZE_WH[0]
            k = np.diag([larger, larger, 1]) @ frame.intrinsics
            k[:2, 2] += (larger - 1) / 2
            pose = rgbd_files.row(to_opencv(frame.pose, "opengl"))
            lines += [
                f"intrinsics_matrix {rgbd_files.row(k)}",
                f"scan f{i}_d0_0.png f{i}_i0_0.jpg {pose}",
            ]
        conf = house / "undistorted_camera_parameters" / f"{house.name}.conf"
        rgbd_files.text(conf, *lines)
        rgbd_files.text(root / "splits" / f"{split}.txt", house.name)
    return scenes


def as_replica(root: pathlib.Path) -> list[Scene]:
    """Write each room as a scene, and NICE-SLAM's renderings inside."""
    (root / "splits").mkdir(parents=True)
    scenes = write_scannet(root.parent / "rooms")
    for split, scene in zip(("train", "test"), scenes, strict=True):
        folder = root / scene.name
        ids = _ids(scene, label_set("replica51"), "replica", -1)
        of_object = {
            int(i): int(ids[scene.labels[scene.instances == i][0]])
            for i in np.unique(scene.instances)
        }
        path = folder / "habitat" / "mesh_semantic.ply"
        _write_faces(path, scene, "object_id", scene.instances)
        objects = [{"id": i, "class_id": c} for i, c in of_object.items()]
        info = json.dumps({"objects": objects})
        rgbd_files.text(folder / "habitat" / "info_semantic.json", info)
        rgbd_files.as_nice_slam(folder, furnished_room.pictures(scene))
        rgbd_files.text(root / "splits" / f"{split}.txt", scene.name)
    return scenes


def _ids(scene: Scene, known: LabelSet, numbering: str, none: int) -> np.ndarray:
    """Return the data set's id of each of the scene's classes; the last is of none."""
    ids = np.full(IGNORE + 1, none)
    for i, name in enumerate(scene.label_set.classes.names):
        if name in known.classes.names:
            raw = known.raw_ids[numbering][known.classes.names.index(name)]
            ids[i] = raw if isinstance(raw, int) else raw[0]
    return ids


def _write_faces(path: pathlib.Path, scene: Scene, name: str, of_vertex) -> None:
    """Write a mesh whose faces have a number, that of their first vertex."""
    of_face = of_vertex[scene.faces[:, 0]]
    vertices = np.concatenate([scene.points, scene.colors], axis=1)
    header = ["ply", "format ascii 1.0", f"element vertex {len(vertices)}"]
    header += [f"property float {axis}" for axis in "xyz"]
    header += [f"property uchar {color}" for color in ("red", "green", "blue")]
    header += [f"element face {len(of_face)}"]
    header += ["property list uchar int vertex_indices", f"property int {name}"]
    rows = [" ".join(f"{v:.6g}" for v in row) for row in vertices.tolist()]
    rows += [
        f"3 {a} {b} {c} {number}"
        for (a, b, c), number in zip(
            scene.faces.tolist(), of_face.tolist(), strict=True
        )
    ]
    rgbd_files.text(path, *header, "end_header", *rows)
