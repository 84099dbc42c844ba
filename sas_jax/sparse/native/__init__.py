"""Sparse operations by the native library, as XLA custom calls."""
