"""LSeg: a vector in CLIP's text space for every pixel of a picture."""

VERSION = 1
"""Raised when numbers of the package change; see `artefacts.versions`."""
