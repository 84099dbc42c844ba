"""What a scene is: points, frames, cameras, labels; images and PLY files in and out."""

VERSION = 1
"""Raised when numbers of the package change; see `artefacts.versions`."""
