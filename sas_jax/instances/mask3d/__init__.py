"""Mask3D: masks of instances as queries on a sparse U-Net, from published weights."""
