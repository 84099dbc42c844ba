"""Student networks in flax.linen and the porting of their checkpoints."""

VERSION = 1
"""Raised when numbers of the package change; see `artefacts.versions`."""
