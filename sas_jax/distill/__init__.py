"""Distillation: batches, losses, temporal ensembling, training (paper section 3.4)."""

VERSION = 2
"""Raised when numbers of the package change; see `artefacts.versions`."""
