"""Write one room in every format of meshes and clouds."""

import functools
import io
import struct

import numpy as np
import trimesh

from sas_jax.rooms.layout.make import make_room
from sas_jax.scenes.ply_write import write_ply
from sas_jax.scenes.split_edges import split_edges

SPACING_M = 0.16
MESHES = (".ply", ".obj", ".glb", ".gltf", ".off", ".stl")
TEXTS = (".xyz", ".pts", ".asc", ".csv", ".txt")
CLOUDS = (".pcd", ".las", *TEXTS)
Y_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # of z up


@functools.cache
def room(seed=9):
    """Return points, colours and faces of a room as a fine mesh, without a ceiling."""
    made = make_room(seed)
    mesh = made.joined.mesh
    low = mesh.vertices[mesh.faces].max(axis=1)[:, 2] < made.size_m[2] - 0.01
    faces = mesh.faces[low | (np.ptp(mesh.vertices[mesh.faces][..., 2], axis=1) > 0.01)]
    points, faces, _ = split_edges(mesh.vertices.astype(float), faces, SPACING_M)
    used, faces = np.unique(faces, return_inverse=True)
    # Planes between the borders of voxels, where rounding would decide.
    points = (points[used] + [0.0137, 0.0241, 0.0319]).astype(np.float32)
    share = (points - points.min(axis=0)) / np.ptp(points, axis=0)
    colors = np.round(share * 255).astype(np.uint8)
    return points, colors, faces.reshape(-1, 3).astype(np.int32)


def write_room(path, points, colors, faces=None, **options):
    """Write a file of the suffix's format; returns its path."""
    suffix = path.suffix
    if suffix == ".ply":
        write_ply(path, points, colors=colors, faces=faces)
    elif suffix in MESHES:
        mesh = trimesh.Trimesh(points, faces, vertex_colors=colors, process=False)
        if suffix == ".gltf":
            for name, data in trimesh.exchange.gltf.export_gltf(mesh.scene()).items():
                (path.parent / name.replace("model", path.stem)).write_bytes(data)
        else:
            digits = {"digits": 6} if suffix == ".off" else {}
            mesh.export(path, file_type=suffix[1:], **digits)
    elif suffix == ".pcd":
        path.write_bytes(pcd(points, colors, **options))
    elif suffix in (".las", ".laz"):
        path.write_bytes(las(points, colors, compressed=suffix == ".laz", **options))
    else:
        path.write_text(text(suffix, points, colors))
    return path


def text(suffix, points, colors):
    comma = "," if suffix == ".csv" else " "
    head = {".pts": f"{len(points)}\n", ".csv": "x,y,z,red,green,blue\n"}
    rows = [
        [f"{v:.6f}" for v in point] + [str(v) for v in color]
        for point, color in zip(points.tolist(), colors.tolist(), strict=True)
    ]
    if suffix == ".pts":
        rows = [
            [f"{v:.6f}" for v in point] + [str(v) for v in color]
            for point, color in zip(points.tolist(), colors.tolist(), strict=True)
        ]
    if suffix == ".pts":
        rows = [[*row[:3], "-1000", *row[3:]] for row in rows]
    return head.get(suffix, "") + "".join(comma.join(row) + "\n" for row in rows)


def pcd(points, colors, form="binary", packed_as="F"):
    rgb = colors.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    head = (
        "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z rgb\nSIZE 4 4 4 4\n"
        f"TYPE F F F {packed_as}\nCOUNT 1 1 1 1\nWIDTH {len(points)}\nHEIGHT 1\n"
        f"VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(points)}\nDATA {form}\n"
    ).encode()
    points = points.astype("<f4")
    if form == "ascii":
        shown = rgb.view(np.float32) if packed_as == "F" else rgb
        lines = [
            " ".join(f"{value:.9g}" for value in (*point, color))
            for point, color in zip(points.tolist(), shown.tolist(), strict=True)
        ]
        return head + "\n".join(lines).encode() + b"\n"
    if form == "binary":
        rows = np.empty(len(points), [("p", "<f4", 3), ("c", "<u4")])
        rows["p"], rows["c"] = points, rgb
        return head + rows.tobytes()
    data = points.T.tobytes() + rgb.astype("<u4").tobytes()
    packed = lzf(data)
    return head + struct.pack("<II", len(packed), len(data)) + packed


def lzf(data):
    """Pack runs of a byte, and all else as it is."""
    out, at = bytearray(), 0
    while at < len(data):
        run = 1
        while at + run < len(data) and data[at + run] == data[at] and run < 265:
            run += 1
        if run > 4:  # the byte itself, then a copy from one place back
            length = run - 1 - 2
            out += bytes([0, data[at]])
            out += bytes([length << 5, 0] if length < 7 else [7 << 5, length - 7, 0])
            at += run
            continue
        out += bytes([0, data[at]])
        at += 1
    return bytes(out)


def las(points, colors, *, compressed=False, notes=(), scale=1e-4, form=2, minor=2):
    """Write LAS 1.2 of format 2; `notes` are (user, number, content)."""
    import contextlib

    points = points.astype(np.float64)
    offset = np.floor(points.min(axis=0))
    rows = np.zeros(
        len(points),
        np.dtype(
            {
                "names": ["p", "c"],
                "formats": [("<i4", 3), ("<u2", 3)],
                "offsets": [0, 20],
                "itemsize": 26,
            }
        ),
    )
    rows["p"] = np.round((points - offset) / scale)
    rows["c"] = colors.astype(np.uint16) * 257
    body, notes = rows.tobytes(), list(notes)
    if compressed:
        import lazrs

        how = lazrs.LazVlr.new_for_compression(form, 0)
        notes.append((b"laszip encoded", 22204, bytes(how.record_data())))
        target = io.BytesIO()
        packer = lazrs.LasZipCompressor(target, how)
        packer.compress_many(np.frombuffer(body, np.uint8))
        packer.done()
        body = target.getvalue()
    extra = b"".join(
        struct.pack("<2x16sHH32x", user, number, len(content)) + content
        for user, number, content in notes
    )
    head = bytearray(227)
    head[:4], head[24:26] = b"LASF", bytes([1, minor])
    at = len(head) + len(extra)
    kind = form | (0x80 if compressed else 0)
    counts = len(head), at, len(notes), kind, rows.itemsize, len(points)
    struct.pack_into("<HIIBHI", head, 94, *counts)
    struct.pack_into("<6d", head, 131, *[scale] * 3, *offset)
    if compressed:  # the chunk table's place counts from the start of the file
        with contextlib.suppress(struct.error):
            body = struct.pack("<q", struct.unpack_from("<q", body)[0] + at) + body[8:]
    return bytes(head) + extra + body


def geo_keys(**codes):
    """Return a GeoTIFF directory of a LAS file."""
    numbers = {"model": 1024, "linear": 3076, "vertical": 4099}
    rows = [(numbers[name], 0, 1, code) for name, code in codes.items()]
    data = [1, 1, 0, len(rows), *(number for row in rows for number in row)]
    return b"LASF_Projection", 34735, struct.pack(f"<{len(data)}H", *data)


def wkt(content):
    return b"LASF_Projection", 2112, content.encode() + b"\0"
