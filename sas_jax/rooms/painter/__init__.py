"""The small diffusion model of the rooms: training, sampling, quality."""

VERSION = 3
"""Raised when numbers of the package change; see `artefacts.versions`."""
