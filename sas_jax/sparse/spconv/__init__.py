"""Sparse convolution by the package spconv."""
