"""The two small 2-D models of the rooms and their training."""

VERSION = 2
"""Raised when numbers of the package change; see `artefacts.versions`."""
