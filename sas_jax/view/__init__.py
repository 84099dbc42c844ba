"""Pictures, coloured point clouds and the HTML report of a finished run."""

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""
