"""The embedded data set: procedural furnished rooms with exact labels."""

VERSION = 2
"""Raised when numbers of the package change; see `artefacts.versions`."""
