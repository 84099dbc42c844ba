"""Sparse operations in plain XLA: the reference, for any platform."""
