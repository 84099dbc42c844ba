"""Write tiny scenes in the layouts that the readers know."""

import json
import pathlib

import numpy as np
from PIL import Image

from sas_jax.datasets import registry
from sas_jax.datasets.contracts import Scan
from sas_jax.datasets.posed_rgbd import PosedRgbd
from sas_jax.scenes import ply_write

INTRINSICS = np.array([[40.0, 0, 31.5], [0, 40.0, 23.5], [0, 0, 1]])
SIZE_WH = (64, 48)


def write_ply(path, points, faces=None, label=None, colors=None):
    properties = {} if label is None else {"label": np.asarray(label, np.uint16)}
    faces = None if faces is None else np.asarray(faces)
    ply_write.write_ply(
        path, np.asarray(points), colors=colors, faces=faces, properties=properties
    )


def write_frame(folder, name, pose, size_wh=SIZE_WH, depth_wh=None, depth_mm=2000):
    for part in ("color", "depth", "pose"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    width, height = size_wh
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[..., 0] = np.linspace(0, 255, width).astype(np.uint8)
    rgb[..., 1] = np.linspace(0, 255, height).astype(np.uint8)[:, None]
    Image.fromarray(rgb).save(folder / "color" / f"{name}.jpg", quality=95)
    depth_width, depth_height = depth_wh or size_wh
    depth = np.full((depth_height, depth_width), depth_mm, np.uint16)
    Image.fromarray(depth).save(folder / "depth" / f"{name}.png")
    np.savetxt(folder / "pose" / f"{name}.txt", pose)


def exif(orientation) -> Image.Exif:
    """Return EXIF data that says how stored pixels are turned to be shown."""
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def write_scannet(
    root, name="scene0000_00", num_frames=3, intrinsics=INTRINSICS, **frame
) -> pathlib.Path:
    """Write a square of four vertices (two objects) with frames; returns its folder."""
    folder = root / "scans" / name
    folder.mkdir(parents=True)
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    colors = np.arange(12, dtype=np.uint8).reshape(4, 3)
    stem = folder / f"{name}_vh_clean_2"
    write_ply(f"{stem}.ply", points, faces, colors=colors)
    write_ply(f"{stem}.labels.ply", points, faces, label=np.array([1, 39, 13, 0]))
    segments = {"segIndices": [7, 7, 100, 3]}
    pathlib.Path(f"{stem}.0.010000.segs.json").write_text(json.dumps(segments))
    groups = [
        {"objectId": 0, "segments": [7], "label": "trash can"},
        {"objectId": 1, "segments": [100], "label": "trashcan"},
    ]
    path = folder / f"{name}.aggregation.json"
    path.write_text(json.dumps({"segGroups": groups}))
    for i in range(num_frames):
        pose = np.eye(4)
        pose[0, 3] = i
        write_frame(folder, i * 5, pose, **frame)
    (folder / "intrinsic").mkdir()
    matrix = np.eye(4)
    matrix[:3, :3] = intrinsics
    for camera in ("depth", "color"):
        np.savetxt(folder / "intrinsic" / f"intrinsic_{camera}.txt", matrix)
    return folder


def open_capture(folder, depth_scale=1000.0, *, image_size_wh=None, **settings):
    """Open a folder of posed frames with settings of its data set."""
    dataset = PosedRgbd(depth_scale=depth_scale, **settings)
    return dataset.open(folder, image_size_wh=image_size_wh)


def scan_of(folder, **settings) -> Scan:
    """Return the scan of a folder of any layout."""
    return registry.scan_at(folder, settings)
