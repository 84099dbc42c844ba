"""What stages leave on disk: files, locks, features."""

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""
