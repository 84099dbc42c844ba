"""Instances: masks of points with a class and a score, found, named and scored."""

VERSION = 1
"""Raised when numbers of the package change; see `artefacts.versions`."""
