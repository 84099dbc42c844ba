"""From pixels of several frames to features of points, in the shared text space."""

VERSION = 1
"""Raised when numbers of the package change; see `artefacts.versions`."""
