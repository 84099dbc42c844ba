"""The dense teacher `imagenet`: a classifier of photographs, asked at every place."""

VERSION = 2
"""Raised when numbers of the package change; see `artefacts.versions`."""
