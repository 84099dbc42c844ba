"""Write the analytic room as COLMAP writes a model."""

import pathlib
import struct

import numpy as np
from one_room import pictures
from PIL import Image
from scipy.spatial.transform import Rotation

from sas_jax.scenes import poses


def tracked_points(frames, intrinsics, step=3):
    """Return points on what the frames see, colours, and who sees each where."""
    points, colors, tracks = [], [], []
    cameras = [poses.inverse(frame.pose) for frame in frames]
    for frame in frames:
        v, u = np.nonzero(frame.depth_m[1::step, 1::step])
        v, u = 1 + step * v, 1 + step * u
        rays = np.stack([u, v, np.ones(u.size)])
        local = np.linalg.solve(intrinsics, rays) * frame.depth_m[v, u]
        world = (frame.pose[:3, :3] @ local).T + frame.pose[:3, 3]
        points.append(world)
        colors.append(frame.rgb[v, u])
        seen = np.zeros((len(world), len(frames)), bool)
        for i, (camera, other) in enumerate(zip(cameras, frames, strict=True)):
            x, y, z = camera[:3, :3] @ world.T + camera[:3, 3:]
            z = np.where(z > 0.1, z, np.inf)
            column, row = (
                np.rint(a * intrinsics[k, k] / z + intrinsics[k, 2]).astype(int)
                for k, a in enumerate((x, y))
            )
            height, width = other.depth_m.shape
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            depth = other.depth_m[row.clip(0, height - 1), column.clip(0, width - 1)]
            seen[:, i] = inside & (np.abs(depth - z) < 0.05 * depth)
        tracks += [[(i + 1, 7) for i in np.flatnonzero(row)] for row in seen]
    return np.concatenate(points), np.concatenate(colors), tracks


def write_images(folder, frames, name="{}.png"):
    folder.mkdir(parents=True, exist_ok=True)
    for i, frame in enumerate(frames):
        Image.fromarray(frame.rgb).save(folder / name.format(i))


def write_colmap(
    folder: pathlib.Path,
    binary: bool = True,
    model=None,
    frames=None,
    world=None,
    scale: float = 1.0,
    place: str = "sparse/0",
    points=None,
):
    """Write a model and its images; `world` and `scale` are what the model is in.

    `model` is the camera's: number, name and values; a pinhole where it is None.
    """
    frames = frames or pictures()
    k = frames[0].intrinsics
    pinhole = (1, "PINHOLE", k[[0, 1, 0, 1], [0, 1, 2, 2]] + [0, 0, 0.5, 0.5])
    write_images(folder / "images", frames)
    world = np.eye(4) if world is None else world
    xyz, rgb, tracks = points or tracked_points(frames, k)
    xyz = scale * (xyz @ world[:3, :3].T + world[:3, 3])
    images = []
    for i, frame in enumerate(frames):
        pose = poses.inverse(world @ frame.pose)
        quaternion = np.roll(Rotation.from_matrix(pose[:3, :3]).as_quat(), 1)
        images.append((i + 1, [*quaternion, *scale * pose[:3, 3]], f"{i}.png"))
    write = _binary if binary else _text
    to = folder / place
    to.mkdir(parents=True, exist_ok=True)
    camera = (*(model or pinhole), frames[0].rgb.shape[1::-1])
    write(to, camera, images, list(zip(xyz, rgb, tracks, strict=True)))
    return folder


def _binary(folder, model, images, points):
    number, _, values, size_wh = model
    camera = struct.pack("<QiiQQ", 1, 5, number, *size_wh)
    (folder / "cameras.bin").write_bytes(
        camera + struct.pack(f"<{len(values)}d", *values)
    )
    data = [struct.pack("<Q", len(images))]
    for i, pose, name in images:
        data.append(struct.pack("<i7di", i, *pose, 5) + name.encode() + b"\0")
        data.append(struct.pack("<Qddq", 1, 3.0, 4.0, -1))
    (folder / "images.bin").write_bytes(b"".join(data))
    data = [struct.pack("<Q", len(points))]
    for i, (xyz, rgb, track) in enumerate(points):
        data.append(struct.pack("<Q3d3BdQ", i, *xyz, *rgb.tolist(), 0.5, len(track)))
        data += [struct.pack("<ii", *entry) for entry in track]
    (folder / "points3D.bin").write_bytes(b"".join(data))


def _text(folder, model, images, points):
    _, name, values, (width, height) = model
    numbers = " ".join(map(repr, map(float, values)))
    camera = f"5 {name} {width} {height} {numbers}"
    (folder / "cameras.txt").write_text(f"# Camera list\n{camera}\n")
    lines = ["# Image list"]
    for i, pose, image in images:
        numbers = " ".join(repr(float(v)) for v in pose)
        lines += [f"{i} {numbers} 5 {image}", "" if i == 1 else "3.0 4.0 -1"]
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    lines = ["# 3D point list"]
    for i, (xyz, rgb, track) in enumerate(points):
        numbers = " ".join(repr(float(v)) for v in xyz)
        flat = " ".join(f"{a} {b}" for a, b in track)
        lines.append(f"{i} {numbers} {rgb[0]} {rgb[1]} {rgb[2]} 0.5 {flat}")
    (folder / "points3D.txt").write_text("\n".join(lines) + "\n")
