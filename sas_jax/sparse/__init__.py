"""Sparse voxels: keys, plans with neighbour tables, and the convolution over them."""

VERSION = 1
"""Raised when numbers of the package change; see `artefacts.versions`."""
