"""The dense teacher `imagenet`: a classifier of photographs, asked at every place."""

VERSION = 1
"""Raised when numbers of the package change; see `artefacts.versions`."""
