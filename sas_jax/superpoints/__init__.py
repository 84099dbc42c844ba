"""Superpoints: connected pieces of a surface over which normals change little."""

VERSION = 1
"""Raised when numbers of the package change; see `artefacts.versions`."""
