"""Sparse voxels: keys, plans with neighbour tables, and the convolution over them."""
