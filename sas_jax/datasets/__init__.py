"""Data sets and scan formats: one module for each layout on disk."""

VERSION = 1
"""Raised when numbers of the package change; see `artefacts.versions`."""
