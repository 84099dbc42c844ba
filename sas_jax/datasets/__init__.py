"""Data sets and scan formats: one module for each layout on disk."""
