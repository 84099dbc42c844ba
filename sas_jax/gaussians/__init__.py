"""3-D Gaussians: their files, and how they are seen from a camera."""

VERSION = 2
"""Raised when numbers of the package change; see `artefacts.versions`."""
