"""Where things are kept that belong to a user, not to a workspace."""

import os
import pathlib

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""


def cache_folder() -> pathlib.Path:
    """Return the user's cache folder: `$SAS_JAX_CACHE`, else `~/.cache/sas_jax`."""
    if own := os.environ.get("SAS_JAX_CACHE"):
        return pathlib.Path(own)
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "sas_jax"
