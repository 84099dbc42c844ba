"""Write a capture as folders of RGB-D cameras hold one.

Each writer takes a folder and pictures of one camera, the analytic room's where none
are given; it returns the path of the scan and the pictures.
"""

import json

import numpy as np
import one_room
from one_room import matrix, pictures
from PIL import Image
from scipy.spatial.transform import Rotation
from sens_files import sens_bytes

# The cameras of formats that have one, at a tenth of its size.
PRIMESENSE = matrix(52.5, 52.5, 31.5, 23.5)
REPLICA = matrix(60, 60, 59.5, 33.5)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(array).save(path, quality=95)


def units(frame, per_m=1000.0):
    return np.rint(frame.depth_m * per_m).astype(np.uint16)


def text(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def row(numbers):
    return " ".join(repr(float(v)) for v in np.ravel(numbers))


def stated(frame):
    """Return a camera by the names that most files have for its numbers."""
    height, width = frame.depth_m.shape
    k = frame.intrinsics.tolist()
    values = {"fx": k[0][0], "fy": k[1][1], "cx": k[0][2], "cy": k[1][2]}
    return {**values, "w": width, "h": height}


def as_posed_rgbd(folder, frames=None):
    frames = frames or pictures()
    for i, frame in enumerate(frames):
        save(folder / f"color/{i}.webp", frame.rgb)
        save(folder / f"depth/{i}.npy", frame.depth_m.astype(np.float32))
        text(folder / f"pose/{i}.txt", *map(row, frame.pose))
    height, width = frames[0].depth_m.shape
    half = [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
    twice = np.diag([2, 2, 1]) @ frames[0].intrinsics + half
    lines = f"# {2 * width} x {2 * height}", *map(row, twice)
    text(folder / "intrinsic.txt", *lines)
    return folder, frames


def as_tum(folder, frames=None):
    frames = frames or pictures()
    images, poses = [], []
    for i, frame in enumerate(frames):
        save(folder / f"rgb/{i}.png", frame.rgb)
        save(folder / f"depth/{i}.png", units(frame, 5000))
        images.append(f"{i / 10} {{}}/{i}.png")
        turn = Rotation.from_matrix(frame.pose[:3, :3]).as_quat()
        poses.append(f"{i / 10} {row([*frame.pose[:3, 3], *turn])}")
    text(folder / "rgb.txt", "# colour", *(line.format("rgb") for line in images))
    text(folder / "depth.txt", *(line.format("depth") for line in images))
    text(folder / "groundtruth.txt", *poses)
    k = frames[0].intrinsics
    text(folder / "intrinsic.txt", row([k[0, 0], k[1, 1], k[0, 2], k[1, 2]]))
    return folder, frames


def as_sens(folder, frames=None):
    frames = frames or pictures()
    folder.mkdir(parents=True)
    (folder / "room.sens").write_bytes(sens_bytes(frames))
    return folder / "room.sens", frames


def as_seven_scenes(folder, frames=None, registered=False):
    """Depth of one camera, colour of another one beside it, poses of the first.

    Registered pictures are of a camera that stands in a file.
    """
    depth_k = matrix(58.5, 58.5, 320 * 63 / 639, 240 * 47 / 479)
    color_k = matrix(52.5, 52.5, 320 * 63 / 639, 240 * 47 / 479)
    beside = one_room.turned(0, 0, (0.025, 0, 0))
    registered, frames = registered or bool(frames), frames or pictures(depth_k)
    for i, frame in enumerate(frames):
        color = frame
        if not registered:
            color = one_room.picture(frame.pose @ beside, color_k)
        stem = f"frame-{i:06}"
        save(folder / f"{stem}.color.png", color.rgb)
        save(folder / f"{stem}.depth.png", units(frame))
        text(folder / f"{stem}.pose.txt", *map("\t".join, frame.pose.astype(str)))
    if registered:
        text(folder.parent / "intrinsic.txt", *map(row, frames[0].intrinsics))
    return folder, frames


def as_open3d(folder, frames=None, color="color"):
    """Without frames of a camera that stands in a file, a PrimeSense's."""
    if frames:
        k = frames[0].intrinsics.T.ravel().tolist()
        camera = {name: stated(frames[0])[name[0]] for name in ("width", "height")}
        camera["intrinsic_matrix"] = k
        text(folder / "camera_primesense.json", json.dumps(camera))
    frames = frames or pictures(PRIMESENSE)
    blocks = []
    for i, frame in enumerate(frames):
        save(folder / color / f"{i:05}.jpg", frame.rgb)
        save(folder / "depth" / f"{i:05}.png", units(frame))
        blocks += [f"{i} {i} {i + 1}", *map(row, frame.pose)]
    text(folder / "trajectory.log", *blocks)
    return folder, frames


def as_scenenn(folder):
    """Named from 1, fewer images than poses, a camera of their own."""
    k = matrix(54.447329, 54.447329, 32, 24)
    folder, frames = as_open3d(folder, pictures(k), color="image")
    for kind, end in (("image", "jpg"), ("depth", "png")):
        for i in reversed(range(len(frames))):
            old = folder / kind / f"{i:05}.{end}"
            old.rename(folder / kind / f"image{i + 1:05}.{end}")
        (folder / kind / f"image00005.{end}").unlink()
    return folder, frames[:4] + frames[5:]


def as_nice_slam(folder, frames=None):
    """Without frames of a camera that stands in a file, Replica's."""
    if frames:
        camera = json.dumps({"camera": {**stated(frames[0]), "scale": 6553.5}})
        text(folder / "cam_params.json", camera)
    frames = frames or pictures(REPLICA, (120, 68))
    for i, frame in enumerate(frames):
        save(folder / f"results/frame{i:06}.jpg", frame.rgb)
        save(folder / f"results/depth{i:06}.png", units(frame, 6553.5))
    text(folder / "traj.txt", *(row(frame.pose) for frame in frames))
    return folder, frames


def as_arkitscenes(folder, frames=None):
    """Times of one frame differ by a millisecond; the trajectory has other times."""
    frames = frames or pictures(count=15)
    inside = folder / f"{folder.name}_frames"
    of_file = stated(frames[0])
    camera = row([of_file[name] for name in ("w", "h", "fx", "fy", "cx", "cy")])
    lines = []
    for i, frame in enumerate(frames):
        time = 7.0 + i / 10
        save(inside / f"lowres_wide/1_{time:.3f}.png", frame.rgb)
        save(inside / f"lowres_depth/1_{time:.3f}.png", units(frame))
        sure = np.full(frame.depth_m.shape, 2, np.uint8)
        save(inside / f"confidence/1_{time:.3f}.png", sure)
        text(inside / f"lowres_wide_intrinsics/1_{time + 0.001:.3f}.pincam", camera)
        pose = np.linalg.inv(frame.pose)
        turn = Rotation.from_matrix(pose[:3, :3]).as_rotvec()
        lines.append(row([time, *turn, *pose[:3, 3]]))
    text(inside / "lowres_wide.traj", *lines)
    return folder, frames
