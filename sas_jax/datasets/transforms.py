"""What `transforms.json` says of a capture that could also be read by its COLMAP model.

nerfstudio's converters leave the model beside it. Where the transforms name depth or a
cloud they are the capture: poses of the model may stand in another world than these.
"""

import contextlib
import pathlib

from sas_jax.errors import InputError
from sas_jax.scenes.image_files import read_json

TRANSFORMS = "transforms.json"


def names_geometry(path: pathlib.Path) -> bool:
    """Tell whether the transforms of a folder, if any, name depth or a cloud."""
    file = path / TRANSFORMS
    if not file.is_file():
        return False
    with contextlib.suppress(InputError):
        stated = read_json(file, "nerfstudio")
        frames = stated.get("frames")
        each = [stated, *(frames if isinstance(frames, list) else ())]
        return isinstance(stated.get("ply_file_path"), str) or any(
            isinstance(frame, dict) and bool(frame.get("depth_file_path"))
            for frame in each
        )
    return False
