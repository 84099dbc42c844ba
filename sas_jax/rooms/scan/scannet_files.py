"""The files of one scan in the layout that ScanNet v2 is exported to.

<id>_vh_clean_2.ply                     coloured mesh
<id>_vh_clean_2.labels.ply              the same with a NYU40 id per vertex
<id>_vh_clean_2.0.010000.segs.json      segment per vertex
<id>.aggregation.json                   segments of each instance
<id>.txt                                sizes and intrinsics
color/N.jpg  depth/N.png (u16 mm)  pose/N.txt (world_from_camera)  intrinsic/*.txt
"""

import json
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from sas_jax.rooms.catalogue import NYU40_IDS
from sas_jax.rooms.layout import Room
from sas_jax.rooms.scan.surface import ScanMesh
from sas_jax.scenes.ply_write import write_ply

# ScanNet writes this class as one word.
_RAW_NAMES = {"other furniture": "otherfurniture"}
IMAGE_FOLDERS = ("color", "depth", "pose", "intrinsic")


def write_frame(
    folder: pathlib.Path,
    number: int,
    rgb: UInt8[np.ndarray, "H W 3"],
    depth_m: Float[np.ndarray, "H W"],
    world_from_camera: Float[np.ndarray, "4 4"],
    jpeg_quality: int,
) -> None:
    """Write colour, depth and pose of one frame; depth is rounded to millimetres."""
    Image.fromarray(rgb).save(
        folder / "color" / f"{number}.jpg", quality=jpeg_quality, subsampling=0
    )
    millimetres = np.round(depth_m * 1000.0).astype(np.uint16)
    # Level 1 is three times faster than the default and a fifth larger.
    path = folder / "depth" / f"{number}.png"
    Image.fromarray(millimetres).save(path, compress_level=1)
    np.savetxt(folder / "pose" / f"{number}.txt", world_from_camera, fmt="%.9f")


def write_cameras(
    folder: pathlib.Path,
    name: str,
    intrinsics: Float[np.ndarray, "3 3"],
    size_wh: tuple[int, int],
    num_frames: int,
) -> None:
    """Make the frame folders; write intrinsics, extrinsics and `<id>.txt`."""
    for part in IMAGE_FOLDERS:
        (folder / part).mkdir()
    matrix = np.eye(4)
    matrix[:3, :3] = intrinsics
    width, height = size_wh
    lines = ["axisAlignment = " + " ".join(f"{v:.6f}" for v in np.eye(4).ravel())]
    for camera in ("color", "depth"):
        path = folder / "intrinsic" / f"intrinsic_{camera}.txt"
        np.savetxt(path, matrix, fmt="%.6f")
        np.savetxt(folder / "intrinsic" / f"extrinsic_{camera}.txt", np.eye(4), "%.6f")
        lines += [f"{camera}Height = {height}", f"{camera}Width = {width}"]
    for camera in ("color", "depth"):
        lines += [
            f"fx_{camera} = {intrinsics[0, 0]:.6f}",
            f"fy_{camera} = {intrinsics[1, 1]:.6f}",
            f"mx_{camera} = {intrinsics[0, 2]:.6f}",
            f"my_{camera} = {intrinsics[1, 2]:.6f}",
        ]
    lines += [f"numColorFrames = {num_frames}", "sceneType = procedural room"]
    (folder / f"{name}.txt").write_text("\n".join(sorted(lines)) + "\n")


def write_mesh(mesh: ScanMesh, folder: pathlib.Path, name: str) -> None:
    """Write the coloured mesh, and the same mesh with a NYU40 label per vertex."""
    alpha = np.full(len(mesh.vertices), 255, np.uint8)
    labels = np.asarray(NYU40_IDS)[mesh.labels].astype(np.uint16)
    for suffix, extra in (("", {}), (".labels", {"label": labels})):
        write_ply(
            folder / f"{name}_vh_clean_2{suffix}.ply",
            mesh.vertices,
            colors=mesh.colors,
            faces=mesh.faces,
            properties={"alpha": alpha, **extra},
        )


def write_annotations(
    room: Room, mesh: ScanMesh, folder: pathlib.Path, name: str
) -> None:
    """Write segments and which of them make up each object; ids count from 0."""
    segments = {
        "params": {},
        "sceneId": name,
        "segIndices": mesh.segments.tolist(),
    }
    path = folder / f"{name}_vh_clean_2.0.010000.segs.json"
    path.write_text(json.dumps(segments))
    groups: list[dict[str, Any]] = []
    for placed in room.objects:
        own = np.unique(mesh.segments[mesh.instances == placed.instance_id])
        if not len(own):
            continue
        groups.append(
            {
                "id": len(groups),
                "objectId": len(groups),
                "segments": own.tolist(),
                "label": _RAW_NAMES.get(placed.class_name, placed.class_name),
            }
        )
    aggregation = {
        "sceneId": name,
        "appId": "sas_jax.rooms",
        "segGroups": groups,
        "segmentsFile": path.name,
    }
    (folder / f"{name}.aggregation.json").write_text(json.dumps(aggregation))
