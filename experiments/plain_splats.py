"""Files of Gaussians that no reader of scans takes, as plain ones that all of them do.

Compressed PLY, `.spz` and gsplat's files become a plain 3DGS PLY in the workspace:
points of a scan to a question, and something to cut an answer out of. It is made once
for each content; what an editor's own properties say is lost, so a plain PLY stays
where it is.
"""

import pathlib

import settings

from sas_jax.artefacts.files import sha256_file
from sas_jax.gaussians.files.formats import read_splats, write_splats
from sas_jax.gaussians.files.ply import is_compressed_ply

_FOREIGN = (".spz", ".npz", ".pt", ".ckpt")  # .pth are scans of OpenScene's


def plain(name: str) -> str:
    """Return the plain PLY of a file of Gaussians; any other name as it is.

    Args:
      name: that a user gave a scan: often a folder, or no path at all.

    Raises:
      InputError: for a damaged file of Gaussians.
    """
    path = pathlib.Path(name).expanduser()
    if not (path.is_file() and _is_foreign(path)):
        return name
    key = sha256_file(path)[:8]
    target = settings.workspace().splats(f"{path.stem}-{key}").absolute()
    if not target.exists():
        write_splats(target, read_splats(path))
        print(f"{path.name}: read as Gaussians, a plain PLY of them is {target}")
    return str(target)


def _is_foreign(path: pathlib.Path) -> bool:
    return path.suffix.lower() in _FOREIGN or is_compressed_ply(path)
