"""A coloured mesh as glTF in one binary piece, colours as they are: no light falls."""

import functools
import json
import struct

import numpy as np
from jaxtyping import Float, Int, UInt8, UInt16

_FLOAT, _UINT, _USHORT = 5126, 5125, 5123
_VERTICES, _INDICES = 34962, 34963


def mesh_glb(
    points: Float[np.ndarray, "P 3"],
    colors: UInt8[np.ndarray, "P 3"],
    faces: Int[np.ndarray, "F 3"],
) -> bytes:
    """Return a binary glTF 2.0 of a mesh with a colour for each vertex.

    Args:
      points: metres, axes as they are.
      colors: sRGB. In glTF they are linear, of which 16 bits keep all that 8 say here.
      faces: of the points; shown from both sides.
    """
    linear = np.full((len(points), 4), 65535, "<u2")
    linear[:, :3] = _linear()[colors]
    parts = points.astype("<f4"), linear, faces.astype("<u4")
    data = [part.tobytes() for part in parts]
    starts = np.cumsum([0, *map(len, data)]).tolist()
    low, high = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    count = len(points)
    accessors = [
        {
            "componentType": _FLOAT,
            "count": count,
            "type": "VEC3",
            "min": low,
            "max": high,
        },
        {"componentType": _USHORT, "count": count, "type": "VEC4", "normalized": True},
        {"componentType": _UINT, "count": faces.size, "type": "SCALAR"},
    ]
    header = {
        "asset": {"version": "2.0"},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "materials": [{"doubleSided": True, "extensions": {"KHR_materials_unlit": {}}}],
        "meshes": [
            {
                "primitives": [
                    {
                        "attributes": {"POSITION": 0, "COLOR_0": 1},
                        "indices": 2,
                        "material": 0,
                    }
                ]
            }
        ],
        "accessors": [a | {"bufferView": i} for i, a in enumerate(accessors)],
        "bufferViews": [
            {
                "buffer": 0,
                "byteOffset": start,
                "byteLength": len(part),
                "target": target,
            }
            for start, part, target in zip(
                starts, data, (_VERTICES, _VERTICES, _INDICES), strict=False
            )
        ],
        "buffers": [{"byteLength": starts[-1]}],
    }
    text = json.dumps(header).encode()
    chunks = [
        _chunk(b"JSON", text + b" " * (-len(text) % 4)),
        _chunk(b"BIN\0", b"".join(data)),
    ]
    return struct.pack("<4sII", b"glTF", 2, 12 + sum(map(len, chunks))) + b"".join(
        chunks
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack("<I4s", len(data), kind) + data


@functools.cache
def _linear() -> UInt16[np.ndarray, " 256"]:
    """Return the linear light of each sRGB level (IEC 61966-2-1)."""
    level = np.arange(256) / 255
    bright = ((level + 0.055) / 1.055) ** 2.4
    return np.round(65535 * np.where(level <= 0.04045, level / 12.92, bright)).astype(
        np.uint16
    )
