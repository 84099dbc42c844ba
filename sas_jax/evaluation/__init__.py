"""Protocols that turn point features into labels, scores and heat maps."""

VERSION = 2
"""Raised when numbers of the package change; see `artefacts.versions`."""
