"""From point features of several teachers to one feature per point (numpy only)."""

VERSION = 2
"""Raised when numbers of the package change; see `artefacts.versions`."""
