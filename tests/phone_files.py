"""Write the analytic room as apps on phones do, ARKit's world with y up."""

import io
import json
import zipfile

import numpy as np
from one_room import pictures, turned
from PIL import Image
from rgbd_files import row, save, stated, units
from scipy.spatial.transform import Rotation

from sas_jax.scenes.poses import to_opencv

# z up to y up.
Y_UP = turned(0, -90)


def doubtful(frame, levels=(0, 1, 2)):
    """Return depth with readings that are wrong, and confidence that says so."""
    depth = frame.depth_m.copy()
    sure = np.full(depth.shape, levels[2], np.uint8)
    sure[:, ::5] = levels[1]
    sure[5::12, 5::12] = levels[0]
    depth[5::12, 5::12] *= 0.6
    return depth, sure


def opengl(pose, world=Y_UP):
    return to_opencv(world @ pose, "opengl")


def as_polycam(folder, frames=None, corrected="corrected_"):
    frames = frames or pictures()
    keyframes = folder / "keyframes"
    for i, frame in enumerate(frames):
        name = f"{1_000_000 + i * 40_000}"
        depth, sure = doubtful(frame, (0, 54, 255))
        save(keyframes / f"{corrected}images/{name}.jpg", frame.rgb)
        save(keyframes / f"depth/{name}.png", np.rint(depth * 1000).astype(np.uint16))
        save(keyframes / f"confidence/{name}.png", sure)
        pose = opengl(frame.pose)
        camera = {f"t_{r}{c}": pose[r, c] for r in range(3) for c in range(4)}
        of_file = stated(frame)
        size = {"width": of_file.pop("w"), "height": of_file.pop("h")}
        camera |= {**of_file, **size, "blur_score": 9.0, "timestamp": 5}
        path = keyframes / f"{corrected}cameras/{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(camera))
    return folder, frames


def as_nerfstudio(folder, seen=None, depth=True, **changes):
    """Write a transforms.json; `changes` are of its top level."""
    frames = seen or pictures()
    k = stated(frames[0])
    facts = {"fl_x": k["fx"], "fl_y": k["fy"], "cx": k["cx"] + 0.5, "cy": k["cy"] + 0.5}
    facts |= {"w": k["w"], "h": k["h"]}
    facts |= {"camera_model": "OPENCV", "k1": 0.0, "frames": []}
    for i, frame in enumerate(frames):
        save(folder / f"images/frame_{i:05}.png", frame.rgb)
        one = {"file_path": f"images/frame_{i:05}.png"}
        one["transform_matrix"] = opengl(frame.pose, np.eye(4)).tolist()
        if depth:
            save(folder / f"depth/frame_{i:05}.png", units(frame))
            one["depth_file_path"] = f"depth/frame_{i:05}.png"
        facts["frames"].append(one)
    facts |= changes
    facts = {key: value for key, value in facts.items() if value is not None}
    (folder / "transforms.json").write_text(json.dumps(facts))
    return folder, frames


def as_stray(folder, frames=None, first_version=False, images=True):
    frames = frames or pictures()
    rows = [] if first_version else ["timestamp, frame, x, y, z, qx, qy, qz, qw"]
    for i, frame in enumerate(frames):
        if images:
            save(folder / f"rgb/{i:06}.jpg", frame.rgb)
        depth, sure = doubtful(frame)
        depth = np.rint(depth * 1000).astype(np.uint16)
        (folder / "depth").mkdir(parents=True, exist_ok=True)
        if first_version:
            np.save(folder / f"depth/{i:06}.npy", depth)
        else:
            save(folder / f"depth/{i:06}.png", depth)
        save(folder / f"confidence/{i:06}.png", sure)
        pose = Y_UP @ frame.pose
        turn = Rotation.from_matrix(pose[:3, :3]).as_quat()
        numbers = [float(v) for v in (*pose[:3, 3], *turn)]
        head = [] if first_version else [str(i / 60), f"{i:06}"]
        rows.append(", ".join([*head, *map(repr, numbers)]))
    (folder / "odometry.csv").write_text("\n".join(rows))
    matrix = [row(line).replace(" ", ", ") for line in frames[0].intrinsics]
    (folder / "camera_matrix.csv").write_text("\n".join(matrix))
    return folder, frames


def write_video(path, images, rate=30, codec="libx264", keys=5):
    """Write frames as a video with a key frame every few ones."""
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt, stream.gop_size = "yuv444p", keys
        stream.options = {"crf": "8"}
        for image in images:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def record3d_metadata(frames, per_frame=True):
    k = stated(frames[0])
    facts = {"w": k["w"], "h": k["h"], "dw": k["w"], "dh": k["h"], "fps": 60}
    facts["K"] = frames[0].intrinsics.T.ravel().tolist()
    poses = [opengl(frame.pose) for frame in frames]
    turns = [Rotation.from_matrix(pose[:3, :3]).as_quat() for pose in poses]
    pairs = zip(turns, poses, strict=True)
    facts["poses"] = [[*turn.tolist(), *pose[:3, 3].tolist()] for turn, pose in pairs]
    if per_frame:
        camera = [k["fx"], k["fy"], k["cx"], k["cy"]]
        facts["perFrameIntrinsicCoeffs"] = [camera] * len(frames)
    return facts


def record3d_members(frames, compress):
    """Return the files of a recording by their names."""
    members = {"metadata": json.dumps(record3d_metadata(frames)).encode()}
    for i, frame in enumerate(frames):
        image = io.BytesIO()
        Image.fromarray(frame.rgb).save(image, "JPEG", quality=95)
        depth, sure = doubtful(frame)
        members[f"rgbd/{i}.jpg"] = image.getvalue()
        members[f"rgbd/{i}.depth"] = compress(depth.astype(np.float32).tobytes())
        members[f"rgbd/{i}.conf"] = compress(sure.tobytes())
    return members


def as_record3d(folder, compress, frames=None):
    """Write an archive beside a folder of that name."""
    frames = frames or pictures()
    path = folder.with_suffix(".r3d")
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in record3d_members(frames, compress).items():
            archive.writestr(name, data)
    return path, frames


def as_record3d_export(folder, frames=None):
    """Write an export with images for colour and depth; arrays stand for EXR files."""
    frames = frames or pictures()
    (folder / "depth").mkdir(parents=True)
    for i, frame in enumerate(frames):
        save(folder / f"rgb/{i}.jpg", frame.rgb)
        np.save(folder / f"depth/{i}.npy", frame.depth_m.astype(np.float32))
    facts = record3d_metadata(frames, per_frame=False)
    (folder / "metadata.json").write_text(json.dumps(facts))
    return folder, frames
