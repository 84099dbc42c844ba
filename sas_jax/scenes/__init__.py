"""What a scene is: points, frames, cameras, labels; images and PLY files in and out."""

VERSION = 2
"""Raised when numbers of the package change; see `artefacts.versions`."""
