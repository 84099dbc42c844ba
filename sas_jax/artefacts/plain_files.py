"""Files that may be opened: a pipe is waited for without end, a device never ends."""

import pathlib
import stat

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""


def plain(path: pathlib.Path) -> pathlib.Path:
    """Return the path of a regular file.

    Raises:
      OSError: for anything else, and where there is nothing.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"a folder instead of a file: {path.name}")
    if not stat.S_ISREG(mode):
        raise OSError(f"a pipe or a device instead of a file: {path.name}")
    return path
