"""Write `.sens` files, good and bad."""

import io
import struct
import zlib

import numpy as np
from one_room import pictures
from PIL import Image

SAME = np.eye(4)


def four(intrinsics):
    result = np.eye(4)
    result[:3, :3] = intrinsics
    return result


def compressed(picture, color_codec, depth_codec, depth_scale):
    depth = np.rint(picture.depth_m * depth_scale).astype("<u2").tobytes()
    if depth_codec == 1:
        depth = zlib.compress(depth)
    if color_codec == 0:
        return picture.rgb.tobytes(), depth
    data = io.BytesIO()
    kind = {1: "PNG", 2: "JPEG"}[color_codec]
    Image.fromarray(picture.rgb).save(data, kind, quality=95)
    return data.getvalue(), depth


def sens_bytes(
    frames=None,
    *,
    version=4,
    intrinsics=None,
    extrinsics=(SAME, SAME),
    codecs=(2, 1),
    sizes=None,
    depth_scale=1000.0,
    count=None,
    images=None,
):
    """Return a file's bytes; `images` are the compressed ones, made where None."""
    frames = pictures() if frames is None else frames
    if frames:
        intrinsics = intrinsics or (frames[0].intrinsics,) * 2
        sizes = sizes or (frames[0].rgb.shape[1::-1],) * 2
    name = b"StructureSensor"
    matrices = [
        *four(intrinsics[0]).flat,
        *extrinsics[0].flat,
        *four(intrinsics[1]).flat,
        *extrinsics[1].flat,
    ]
    parts = [struct.pack("<IQ", version, len(name)), name]
    parts.append(struct.pack("<64f", *matrices))
    parts.append(struct.pack("<2i4I", *codecs, *sizes[0], *sizes[1]))
    count = len(frames) if count is None else count
    parts.append(struct.pack("<fQ", depth_scale, count))
    for i, frame in enumerate(frames):
        data = images[i] if images else compressed(frame, *codecs, depth_scale)
        parts.append(struct.pack("<16f", *frame.pose.flat))
        parts.append(struct.pack("<4Q", i, i, *map(len, data)))
        parts += data
    parts.append(struct.pack("<Q", 0))  # no IMU
    return b"".join(parts)
